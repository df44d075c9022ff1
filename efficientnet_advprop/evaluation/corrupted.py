"""Images corrupted on the fly."""

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import whole_pixels
from efficientnet_advprop.evaluation.corruptions import corrupt
from efficientnet_advprop.evaluation.predictions import Batch
from efficientnet_advprop.recipes import IMAGES_VIEW


def corrupted_dataset(
    batches: tf.data.Dataset, context: tf.distribute.InputContext, name: str, severity: int
) -> tf.data.Dataset:
    """Evaluation batches of this host with every image corrupted, after it was cropped and resized for the network.

    Images are rounded to whole pixel values first. The seed of an image is its position in the pass: the number of
    hosts and the batch size change nothing.

    Args:
        batches: of `data.eval_dataset` or `kept_in_memory`.
        context: of this host.
        name: of the corruption.
        severity: 1 to 5.
    """
    hosts, host = context.num_input_pipelines, context.input_pipeline_id

    def corrupt_all(number: np.ndarray, images: np.ndarray) -> np.ndarray:
        places = (number * len(images) + np.arange(len(images))) * hosts + host
        placed = zip(whole_pixels(images), places, strict=True)
        return np.stack([corrupt(image, name, severity, int(place)) for image, place in placed]).astype(np.float32)

    def corrupted(number: tf.Tensor, batch: Batch) -> Batch:
        images = batch[IMAGES_VIEW]
        changed = tf.numpy_function(corrupt_all, [number, images], tf.float32)
        return {**batch, IMAGES_VIEW: tf.ensure_shape(changed, images.shape)}

    # No parallel calls: some corruptions draw from NumPy's global state.
    return batches.enumerate().map(corrupted).prefetch(tf.data.AUTOTUNE)


def kept_in_memory(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Batches of `data.eval_dataset` in whole pixel values, a byte each, cached for many passes."""

    def rounded(batch: Batch) -> Batch:
        pixels = tf.clip_by_value(tf.round(batch[IMAGES_VIEW]), 0.0, 255.0)
        return {**batch, IMAGES_VIEW: tf.cast(pixels, tf.uint8)}

    return batches.map(rounded).cache()

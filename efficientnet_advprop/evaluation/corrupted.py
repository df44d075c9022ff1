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
    """Evaluation batches of this host with every image corrupted, as the network would have got it.

    An image is rounded to whole pixel values first. Its seed is its place among those of the pass, so that hosts and
    batches change nothing.

    Args:
        batches: of `data.eval_dataset`, or what `kept_in_memory` made of them.
        context: that they were made for.
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

    # One call at a time: some corruptions draw from NumPy's global state. The next batch is made meanwhile.
    return batches.enumerate().map(corrupted).prefetch(tf.data.AUTOTUNE)


def kept_in_memory(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Evaluation batches for many passes of `corrupted_dataset`, read once; in whole pixels, a byte each.

    Args:
        batches: of `data.eval_dataset`.
    """

    def rounded(batch: Batch) -> Batch:
        pixels = tf.clip_by_value(tf.round(batch[IMAGES_VIEW]), 0.0, 255.0)
        return {**batch, IMAGES_VIEW: tf.cast(pixels, tf.uint8)}

    return batches.map(rounded).cache()

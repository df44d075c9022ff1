"""Training images of single classes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.bad_images import read_or_mark, report, stop_at
from efficientnet_advprop.data.pipeline import whole_pixels
from efficientnet_advprop.data.preprocessing import preprocess_eval
from efficientnet_advprop.data.source import Source
from efficientnet_advprop.recipes import InputOptions, Recipe

MOST_PER_CLASS = 1000  # as many as Santurkar et al. take of CIFAR-10
_MOST_READ = 50_000
_AT_A_TIME = 32


def class_images(
    source: Source, recipe: Recipe, classes: Sequence[int], options: InputOptions
) -> dict[int, np.ndarray]:
    """Training images of some classes, preprocessed as for evaluation, uint8 [N, H, W, 3] by class.

    They are the first in the order of training: `MOST_PER_CLASS` of each class, or fewer where the data or the first
    50,000 images hold fewer; a class without any is left out.

    Args:
        source: with training images.
        recipe: seed of the order, image size, crop and resize.
        classes: labels.
        options: how images are read.
    """
    data, size = recipe.data, recipe.network.input_image_size

    def load(record: Any, seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        del seed
        encoded, label = source.read(record)
        is_wanted = tf.reduce_any(tf.cast(label, tf.int64) == tf.constant(classes, tf.int64))
        image = tf.cond(  # images of other classes are not decoded
            is_wanted,
            lambda: preprocess_eval(encoded, size, data.eval_crop, data.resize),
            lambda: tf.zeros([size, size, 3]),
        )
        return {"image": image}, label

    find_bad = stop_at if options.bad_images == "error" else report
    number = min(_MOST_READ, source.facts.num_train_images or data.num_train_images)
    few_at_a_time = dataclasses.replace(recipe, train_batch_size=_AT_A_TIME)  # the order is the same for any batch size
    records = source.train_records(few_at_a_time, tf.distribute.InputContext(), 0, options).unbatch().take(number)
    loaded = {"image": tf.TensorSpec([size, size, 3])}
    batches = read_or_mark(records.batch(_AT_A_TIME), load, loaded, data.num_label_classes, _AT_A_TIME)
    examples = batches.unbatch().map(  # one by one: images behind the last one needed do not matter
        lambda values, label, problem: (values["image"], label, ~find_bad(problem[tf.newaxis])[0])
    )
    found: dict[int, list[np.ndarray]] = {label: [] for label in classes}
    for image, label, is_good in examples.as_numpy_iterator():
        if is_good and label in found and len(found[label]) < MOST_PER_CLASS:
            found[label].append(whole_pixels(image))
        if all(len(images) == MOST_PER_CLASS for images in found.values()):
            break
    return {label: np.stack(images) for label, images in found.items() if images}

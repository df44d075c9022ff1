"""Statistics of a data set and the problems found in it, from reading every image."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.bad_images import read_or_mark
from efficientnet_advprop.data.class_names import class_names
from efficientnet_advprop.data.pipeline import training_views
from efficientnet_advprop.data.preprocessing import decode
from efficientnet_advprop.data.records import RecordSource
from efficientnet_advprop.data.shards import damaged_records
from efficientnet_advprop.data.source import TRAIN, Source
from efficientnet_advprop.recipes import InputOptions, Recipe

# (images, their number, their name, the name of the split) -> the same images, with a progress bar.
Watch = Callable[[Iterable, int, str, str], Iterable]


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """Statistics and problems of one split.

    Attributes:
        split: `TRAIN` or `EVALUATION`.
        num_files: number of TFRecord files; None for other sources.
        num_images: number of images, bad ones included.
        class_counts: number of good images of each class, int [K].
        heights: smallest, median and largest height of the good images, in pixels.
        widths: the same of their widths.
        problems: one line for each bad image, for each file that cannot be read to its end, for a wrong number of
            images and for classes without a good image.
        num_bad_images: how many of the problems are bad images.
    """

    split: str
    num_files: int | None
    num_images: int
    class_counts: np.ndarray
    heights: tuple[int, int, int]
    widths: tuple[int, int, int]
    problems: tuple[str, ...]
    num_bad_images: int


def inspect_split(source: Source, recipe: Recipe, split: str, watch: Watch) -> SplitReport:
    """Read and decode every image of a split.

    Args:
        source: of the images.
        recipe: gives the numbers of classes and images.
        split: `TRAIN` or `EVALUATION`.
        watch: shows progress.
    """
    num_classes = recipe.data.num_label_classes
    expected = recipe.data.num_train_images if split == TRAIN else recipe.data.num_eval_images
    counts, sizes, problems = np.zeros(num_classes, np.int64), collections.Counter(), []
    number = 0
    shards = source.shards(split) if isinstance(source, RecordSource) else None
    images = watch(_sizes(source, recipe, split), expected, "image", split)
    try:
        for size, label, problem in images:
            number += 1
            if problem:
                problems.append(problem.decode())
            else:
                counts[label] += 1
                sizes[tuple(int(side) for side in size)] += 1
        num_bad_images = len(problems)
        is_whole = True
    except tf.errors.DataLossError:
        is_whole = False
        # Several files are read at the same time: which of them is damaged takes a second pass.
        num_bad_images = len(problems)
        problems += damaged_records(shards.paths)
    if is_whole and number != expected:
        problems.append(f"{number} {split} images, but the recipe says {expected}")
    empty = np.flatnonzero(counts == 0).tolist()
    if is_whole and empty:
        names = source.class_names or class_names(num_classes)
        named = ", ".join(names[label] for label in empty[:5])
        problems.append(f"{split}: {len(empty)} classes without a good image ({named}{', ...' if empty[5:] else ''})")
    heights, widths = (_spread(sizes, side) for side in (0, 1))
    num_files = len(shards.paths) if shards else None
    return SplitReport(split, num_files, number, counts, heights, widths, tuple(problems), num_bad_images)


def training_samples(source: Source, recipe: Recipe, number: int) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """The first good training images of a run, each before and after preprocessing and augmentation.

    Returns:
        At most `number` of (stored image uint8 [H, W, 3], training image float32 [S, S, 3] in [0, 255], label).
    """
    context = tf.distribute.InputContext()
    size, num_label_classes = recipe.network.input_image_size, recipe.data.num_label_classes
    few_at_a_time = dataclasses.replace(recipe, train_batch_size=number)  # the order is the same for any batch size
    records = source.train_records(few_at_a_time, context, 0, InputOptions()).unbatch().take(4 * number).batch(1)

    def stored(record: Any, seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        del seed
        pixels, label = _pixels(source, record)
        return {"image": pixels}, label

    def transformed(record: Any, seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        image, label = source.read(record)
        return {"image": list(training_views(image, seed, recipe).values())[-1]}, label

    before = read_or_mark(records, stored, {"image": tf.TensorSpec([None, None, 3])}, num_label_classes, 1)
    after = read_or_mark(records, transformed, {"image": tf.TensorSpec([size, size, 3])}, num_label_classes, 1)
    samples = [
        (original["image"].astype(np.uint8), changed["image"], int(label))
        for (original, label, problem), (changed, _, _) in zip(
            before.unbatch().as_numpy_iterator(), after.unbatch().as_numpy_iterator(), strict=True
        )
        if not problem
    ]
    return samples[:number]


def _pixels(source: Source, record: Any) -> tuple[tf.Tensor, tf.Tensor]:
    image, label = source.read(record)
    return tf.cast(decode(image), tf.float32), label


def _sizes(source: Source, recipe: Recipe, split: str) -> Iterator[tuple[np.ndarray, int, bytes]]:
    """(height and width, label, problem) of each image."""

    def load(record: Any) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        pixels, label = _pixels(source, record)
        return {"size": tf.shape(pixels)[:2]}, label

    loaded = {"size": tf.TensorSpec([2], tf.int32)}
    # One by one: where a TFRecord file is damaged, the images before it are counted.
    records = source.records(recipe, split).batch(1)
    images = read_or_mark(records, load, loaded, recipe.data.num_label_classes, 1).unbatch()
    for values, label, problem in images.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        yield values["size"], label, problem


def _spread(sizes: collections.Counter, side: int) -> tuple[int, int, int]:
    """Smallest, median and largest height (0) or width (1)."""
    if not sizes:
        return 0, 0, 0
    values = sorted((size[side], count) for size, count in sizes.items())
    ends = np.cumsum([count for _, count in values])
    median = values[int(np.searchsorted(ends, (ends[-1] + 1) // 2))][0]
    return values[0][0], median, values[-1][0]

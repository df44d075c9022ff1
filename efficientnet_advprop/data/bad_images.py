"""Images that cannot be read: they are found without ending the stream, named and counted.

tf.data ends at the first error or, with `ignore_errors`, silently drops the element, whichever of the preceding
transformations failed. Here the records of a batch are read in a dataset of their own, which drops those that fail;
what was read then moves to its place in the batch. No Python runs, so this works wherever the pipeline does, on the
host of a TPU too. Setting up such a dataset takes half a millisecond, which a batch shares (docs/input_pipeline.md).
"""

import math
import re
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import first_line

_BAD_IMAGE = "bad image: "
# A batch that is larger is read in parts, which costs a copy: of each of those that are read at a time, the process
# holds the images, and then the batch. 128 images of 224 px, as a TPU core gets in the official recipes, fit.
_MOST_BYTES_OF_A_PART = 80 * 2**20

# (record, seed if any) -> tensors by name, such as an image [S, S, 3], and a label of any integer type.
Load = Callable[..., tuple[dict[str, tf.Tensor], tf.Tensor]]
Read = tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]  # tensors, labels, problems


def read_or_mark(
    batches: tf.data.Dataset, load: Load, loaded: dict[str, tf.TensorSpec], num_label_classes: int, batch_size: int
) -> tf.data.Dataset:
    """Load every record, in order.

    Args:
        batches: of (location, record, further arguments of `load`), [B, ...] each.
        load: makes the tensors and the label of one record; may raise.
        loaded: shape and type of each tensor. Dimensions that differ between records need batches of one.
        num_label_classes: K; an image whose label is outside [0, K) is bad too.
        batch_size: B; only the last batch may be smaller.

    Returns:
        Batches of (tensors, labels int32, problems). A problem is a string that begins with the location; empty for a
        good image. A bad image has label 0, and its tensors are zeros if it could not be decoded.
    """
    image_bytes = sum(spec.dtype.size * math.prod(size or 1 for size in spec.shape) for spec in loaded.values())
    part_size = max(1, min(batch_size, _MOST_BYTES_OF_A_PART // image_bytes))
    outside = f" outside [0, {num_label_classes}), from 0"

    def read(place: tf.Tensor, *record: Any) -> tuple[Read, tf.Tensor]:
        tensors, label = load(*record)
        in_range = tf.logical_and(label >= 0, label < num_label_classes)
        problem = tf.where(in_range, "", tf.strings.join([": label ", tf.strings.as_string(label), outside]))
        tensors = {name: tf.ensure_shape(tensor, loaded[name].shape) for name, tensor in tensors.items()}
        label = tf.cast(tf.where(in_range, label, 0), tf.int32)  # after the choice: a cast wraps what is out of range
        return (tensors, label, problem), place

    def read_all(locations: tf.Tensor, *records: Any) -> Read:
        size = tf.size(locations, tf.int64)
        # A location may be the name of a file, whose bytes need not be UTF-8.
        locations = tf.strings.unicode_transcode(locations, "UTF-8", "UTF-8")

        read_ones = tf.data.Dataset.from_tensor_slices((tf.range(size), *records)).map(read).ignore_errors()
        read_ones, places = read_ones.batch(part_size).concatenate(_none_read(loaded)).take(1).get_single_element()
        whole = tf.size(places, tf.int64) == size
        tensors, labels, problems = tf.cond(whole, lambda: read_ones, lambda: _in_place(read_ones, places, size))
        return tensors, labels, tf.where(problems == "", "", locations + problems)

    if part_size == batch_size:
        return batches.map(read_all, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.rebatch(part_size).map(read_all, num_parallel_calls=tf.data.AUTOTUNE).rebatch(batch_size)


def _none_read(loaded: dict[str, tf.TensorSpec]) -> tf.data.Dataset:
    """What is read of a batch of which all images fail."""
    tensors = {name: tf.zeros([0, *(size or 1 for size in spec.shape)], spec.dtype) for name, spec in loaded.items()}
    nothing = tensors, tf.zeros([0], tf.int32), tf.zeros([0], tf.string)
    return tf.data.Dataset.from_tensors((nothing, tf.zeros([0], tf.int64)))


def _in_place(read_ones: Read, places: tf.Tensor, size: tf.Tensor) -> Read:
    """A batch of this size with what was read at its places, int64 [R], and zeros and a problem elsewhere."""

    def spread(values: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([size[tf.newaxis], tf.shape(values, tf.int64)[1:]], axis=0)
        return tf.ensure_shape(tf.scatter_nd(places[:, tf.newaxis], values, shape), [None, *values.shape[1:]])

    tensors, labels, problems = read_ones
    unread = tf.fill([size], ": cannot be read or decoded")
    problems = tf.tensor_scatter_nd_update(unread, places[:, tf.newaxis], problems)
    return {name: spread(values) for name, values in tensors.items()}, spread(labels), problems


def stop_at(problems: tf.Tensor) -> tf.Tensor:
    """Which images of a batch are bad, bool [B]: none, or the stream ends with an error, which `bad_image_in` reads."""
    is_bad = problems != ""
    first = problems[tf.argmax(tf.cast(is_bad, tf.int32))]
    with tf.control_dependencies([tf.debugging.Assert(first == "", [_BAD_IMAGE + first])]):
        return tf.identity(is_bad)


def report(problems: tf.Tensor) -> tf.Tensor:
    """Which images of a batch are bad, bool [B]; prints each on standard error of the host that reads."""
    is_bad = problems != ""

    def name() -> tf.Tensor:
        lines = tf.strings.reduce_join(f"{_BAD_IMAGE}skipped " + problems[is_bad], separator="\n")
        with tf.control_dependencies([tf.print(lines, output_stream=sys.stderr)]):
            return tf.identity(is_bad)

    return tf.cond(tf.reduce_any(is_bad), name, lambda: tf.identity(is_bad))


def bad_image_in(error: tf.errors.OpError) -> str | None:
    """The problem with which `stop_at` ended a stream; None for other errors."""
    # A path may hold newlines.
    found = re.search(rf"\[({_BAD_IMAGE}.*?)\]$", error.message, re.MULTILINE | re.DOTALL)
    return found[1] if found else None


def reason_without_ops(error: tf.errors.OpError) -> str:
    """The first line of TensorFlow's message, without the names of the operations that raised it."""
    reason = first_line(error).rpartition("}} ")[2].partition(" [Op:")[0]
    return reason.removeprefix("assertion failed: [").removesuffix("]")


def replace_bad_images(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """A training batch whose bad images are replaced by copies of its good ones.

    By its own images, so that a batch stays a function of the step. Images taken from further on in the stream would
    shift all later batches, and a resumed run would differ from an uninterrupted one.

    Args:
        batch: [B, ...] each; `bad` float32 [B] is 1 for an image to replace.

    Raises:
        tf.errors.InvalidArgumentError: when iterated, for a batch without a good image.
    """
    bad = batch["bad"] > 0
    good = tf.where(~bad)[:, 0]  # [G]

    def replaced() -> dict[str, tf.Tensor]:
        message = [f"{_BAD_IMAGE}all images of a training batch of one replica"]
        with tf.control_dependencies([tf.debugging.Assert(tf.size(good) > 0, message)]):
            indices = tf.range(tf.size(bad, tf.int64), dtype=tf.int64)
            chosen = tf.where(bad, tf.gather(good, indices % tf.size(good, tf.int64)), indices)
        return {name: values if name == "bad" else tf.gather(values, chosen) for name, values in batch.items()}

    return tf.cond(tf.reduce_any(bad), replaced, lambda: {name: tf.identity(value) for name, value in batch.items()})

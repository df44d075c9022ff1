"""Images that cannot be read: they are found without ending the stream, named and counted.

tf.data ends at the first error or, with `ignore_errors`, silently drops the element, whichever of the preceding
transformations failed. Here each record is read in a dataset of its own, with a placeholder behind it that is taken
when reading fails. No Python runs, so this works wherever the pipeline does, on the host of a TPU too. An ImageNet
image at 224 px takes 1.8 ms of one core instead of 1.4 ms.
"""

import re
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import first_line

_BAD_IMAGE = "bad image: "
_AT_A_TIME = 16

# (record, seed if any) -> tensors by name, such as an image [S, S, 3], and a label of any integer type.
Load = Callable[..., tuple[dict[str, tf.Tensor], tf.Tensor]]


def read_or_mark(
    records: tf.data.Dataset, load: Load, loaded: dict[str, tf.TensorSpec], num_label_classes: int
) -> tf.data.Dataset:
    """Load every record, in order.

    Args:
        records: (location, record, further arguments of `load`).
        load: makes the tensors and the label; may raise.
        loaded: shape and type of each tensor.
        num_label_classes: K; an image whose label is outside [0, K) is bad too.

    Returns:
        (tensors, int32 label, problem). The problem is a string that begins with the location; empty for a good image.
        A bad image has label 0, and its tensors are zeros if it could not be decoded.
    """
    zeros = {name: tf.zeros([size or 1 for size in spec.shape], spec.dtype) for name, spec in loaded.items()}

    def attempt(location: tf.Tensor, *record: Any) -> tf.data.Dataset:
        def read(*record: Any) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
            tensors, label = load(*record)
            outside = f" outside [0, {num_label_classes}), from 0"
            wrong_label = [location, ": label ", tf.strings.as_string(label), outside]
            in_range = tf.logical_and(label >= 0, label < num_label_classes)
            problem = tf.where(in_range, "", tf.strings.join(wrong_label))
            tensors = {name: tf.ensure_shape(tensor, loaded[name].shape) for name, tensor in tensors.items()}
            return tensors, tf.cast(tf.where(in_range, label, 0), tf.int32), problem  # cast in range: it would wrap

        problem = tf.strings.join([location, ": cannot be read or decoded"])
        placeholder = tf.data.Dataset.from_tensors((zeros, tf.constant(0), problem))
        return tf.data.Dataset.from_tensors(record).map(read).ignore_errors().concatenate(placeholder).take(1)

    # A location may be the name of a file, whose bytes need not be UTF-8.
    records = records.map(lambda where, *record: (tf.strings.unicode_transcode(where, "UTF-8", "UTF-8"), *record))
    return records.interleave(attempt, cycle_length=_AT_A_TIME, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def stop_at(problem: tf.Tensor) -> tf.Tensor:
    """Return an empty problem; end the stream with an error for any other, which `bad_image_in` reads."""
    with tf.control_dependencies([tf.debugging.Assert(problem == "", [tf.strings.join([_BAD_IMAGE, problem])])]):
        return tf.identity(problem)


def report(problem: tf.Tensor) -> tf.Tensor:
    """Return the problem, and print one that is not empty on standard error of the host that reads."""

    def name() -> tf.Operation:
        with tf.control_dependencies([tf.print(f"{_BAD_IMAGE}skipped", problem, output_stream=sys.stderr)]):
            return tf.identity(problem)

    return tf.cond(problem == "", lambda: tf.identity(problem), name)


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

"""The interface of every source of images."""

from typing import Any, Protocol

import tensorflow as tf

from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe

TRAIN, EVALUATION = "train", "evaluation"


class Source(Protocol):
    """Training and evaluation images of one data set.

    A source yields records of its own format, each with its location: a scalar string for messages, such as a file
    name. `read` turns a record into an image. It is a separate step because it may fail, which must not end the stream.
    Neither runs through autograph: tensors decide with `tf.cond`.

    Attributes:
        facts: numbers of images and classes that were found.
        class_names: K names in label order; None if unknown.
    """

    facts: DataFacts
    class_names: tuple[str, ...] | None

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """Batches of (location, record, seed int32 [2]), [B, ...] each, from `start_step`, without end.

        B is the per-replica batch size; the batches of this host's replicas follow each other, step by step.

        All hosts together see every training image once per epoch. The seed belongs to this image in this epoch; crops,
        flips and augmentation draw from it.
        """

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(location, record) of every image of a split (`TRAIN` or `EVALUATION`) once, always in the same order."""

    def read(self, record: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """A record's image and label.

        The image is encoded (a scalar string: JPEG, PNG, GIF or BMP) or decoded (pixels [H, W, 3] in [0, 255]). The
        label is an integer scalar, of the type that it is stored as: a cast could bring it into the range. For a bad
        record this may raise, or return bytes that cannot be decoded or a label outside [0, K): the pipeline detects
        all three.
        """

"""What every source of images offers."""

from typing import Any, Protocol

import tensorflow as tf

from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe

TRAIN, EVALUATION = "train", "evaluation"


class Source(Protocol):
    """Training and evaluation images of one data set.

    A source yields records, whatever they are, each with its place: a scalar string for people, such as a file's name.
    `read` makes an image of a record. The two are apart because reading may fail, which must not end the stream.

    Attributes:
        facts: what was found.
        class_names: K names in label order; None where there are none.
    """

    facts: DataFacts
    class_names: tuple[str, ...] | None

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """(place, record, seed int32 [2]) of this host's replicas, step after step, from `start_step` on, for ever.

        Hosts together see every training image once per epoch. The seed belongs to this image in this epoch: all
        that augmentation draws comes from it.
        """

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(place, record) of every image of a split (`TRAIN` or `EVALUATION`), once, in the same order each time."""

    def read(self, record: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """A record's image and label.

        The image is encoded (a scalar string: JPEG, PNG, GIF or BMP) or decoded (pixels [H, W, 3] in [0, 255]), the
        label an int32 scalar that should lie in [0, K). A record that cannot be read raises or gives what cannot be
        decoded; telling is not the source's work.
        """

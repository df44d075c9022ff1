"""What every source of pictures offers."""

from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.recipes import Recipe


class Source(Protocol):
    """Training and evaluation pictures of one data set.

    A picture is either encoded (a scalar string: JPEG, PNG, GIF or BMP) or decoded (pixels [H, W, 3] in [0, 255]), a
    label an int32 scalar in [0, K).

    Attributes:
        class_names: K names in label order.
        num_train_images: pictures in one epoch.
        num_eval_images: pictures that an evaluation counts.
    """

    class_names: tuple[str, ...]
    num_train_images: int
    num_eval_images: int

    def train_examples(self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int) -> tf.data.Dataset:
        """(picture, label, seed int32 [2]) of this host's replicas, step after step, from `start_step` on, for ever.

        Hosts together see every training picture once per epoch. The seed belongs to this picture in this epoch: all
        that augmentation draws comes from it.
        """

    def eval_examples(self, recipe: Recipe) -> tf.data.Dataset:
        """(picture, label) of every evaluation picture, once, in an order that is the same on every host."""

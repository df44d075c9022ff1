"""What every data set offers to the pipeline."""

from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.recipes import Recipe


class Source(Protocol):
    """A data set: pictures with labels, as streams that depend on their arguments alone.

    Attributes:
        class_names: in label order.
        num_train_images: pictures in one epoch.
        num_eval_images: pictures to evaluate on.
    """

    class_names: tuple[str, ...]
    num_train_images: int
    num_eval_images: int

    def train_examples(self, recipe: Recipe, num_shards: int, shard_index: int, start_image: int) -> tf.data.Dataset:
        """Endless `images` float32 [S, S, 3] in [0, 255] and `labels` int32 [], augmented.

        Args:
            recipe: image size, augmentation, seed.
            num_shards: hosts that share the stream; together they see every picture once per epoch.
            shard_index: this host.
            start_image: position in the stream of all hosts at which to start.
        """

    def eval_examples(self, recipe: Recipe, num_shards: int, shard_index: int) -> tf.data.Dataset:
        """This host's share of the evaluation pictures, each once; elements as above."""

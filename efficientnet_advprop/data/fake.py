"""Random images made on the fly: a smoke test of any network at any size on any device, without data."""

import tensorflow as tf

from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import TRAIN
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe

_SEED = 0  # not the run's: the images are the same for every seed, as those of a folder are
_SPLITS = {"train": 0, "evaluation": 1}


class FakeSource:
    """Noise with random labels; the recipe gives the numbers of images and classes.

    Image i of a split is a function of i alone. Labels do not depend on pixels, so there is nothing to learn.
    """

    def __init__(self) -> None:
        self.facts = DataFacts("fake")
        self.class_names = None

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """Batches of (location, (image, label), seed)."""
        del options
        order = training_order(recipe.data.num_train_images, recipe, context, start_step)
        examples = order.unbatch().map(lambda index, seed: (*_example(recipe, TRAIN, index), seed))
        return examples.batch(context.get_per_replica_batch_size(recipe.train_batch_size), drop_remainder=True)

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(location, (image, label)) in the order of their numbers."""
        number = recipe.data.num_train_images if split == TRAIN else recipe.data.num_eval_images
        return tf.data.Dataset.range(number).map(lambda index: _example(recipe, split, index))

    def read(self, record: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The record is the image and its label."""
        return record


def _example(recipe: Recipe, split: str, index: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
    seed = fold(tf.constant([_SEED, _SPLITS[split]]), index)
    size = recipe.network.input_image_size
    image = tf.random.stateless_uniform([size, size, 3], fold(seed, 0), 0.0, 255.0)
    label = tf.random.stateless_uniform([], fold(seed, 1), 0, recipe.data.num_label_classes, tf.int32)
    return tf.strings.join([f"fake {split} image ", tf.strings.as_string(index)]), (image, label)

"""scikit-learn's handwritten digits: 1,797 real images that need no download."""

import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from efficientnet_advprop.data.few_images import first_of_each_class
from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import EVALUATION, TRAIN
from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe

# The data set has no official split. This stratified one does not depend on a run's seed, so that runs can be compared:
# 1,437 training images and 360 evaluation images.
_EVAL_FRACTION = 0.2
_SPLIT_SEED = 0


class DigitsSource:
    """The digits, in memory, as greyscale images of the network's input size.

    Source: the test part of the UCI optical digits (Alpaydin and Kaynak, 1998), 8x8 px with values 0 to 16.

    Args:
        train_images_per_class: as in `DataSpec`.

    Raises:
        RecipeError: when a class has fewer.
    """

    def __init__(self, train_images_per_class: int | None = None) -> None:
        digits = load_digits()
        images = (digits.images * (255 / 16)).astype("float32")[..., None]  # [1797, 8, 8, 1]
        train_images, eval_images, train_labels, eval_labels = train_test_split(
            images,
            digits.target.astype("int32"),
            test_size=_EVAL_FRACTION,
            stratify=digits.target,
            random_state=_SPLIT_SEED,
        )
        kept = first_of_each_class(train_labels, train_images_per_class)
        self._splits = {TRAIN: (train_images[kept], train_labels[kept]), EVALUATION: (eval_images, eval_labels)}
        self.class_names = tuple(str(name) for name in digits.target_names)
        self.facts = DataFacts("digits", len(self.class_names), len(kept), len(eval_labels))

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """Batches of (location, (image, label), seed), a function of the recipe and the step."""
        del options
        order = training_order(self.facts.num_train_images, recipe, context, start_step)
        return order.map(lambda indices, seeds: (*self._examples(recipe, TRAIN, indices), seeds))

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(location, (image, label)) in the split's order."""
        indices = tf.data.Dataset.range(len(self._splits[split][1]))
        return indices.map(lambda index: self._examples(recipe, split, index))

    def read(self, record: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The record is the image and its label."""
        return record

    def _examples(self, recipe: Recipe, split: str, indices: tf.Tensor) -> tuple:
        """One example or a batch, as `indices` is."""
        images, labels = (tf.gather(values, indices) for values in self._splits[split])
        locations = tf.strings.join([f"digits {split} image ", tf.strings.as_string(indices)])
        return locations, (_enlarge(images, recipe.network.input_image_size), labels)


def _enlarge(images: tf.Tensor, image_size: int) -> tf.Tensor:
    """Digits of 8x8 px, resized, in three equal channels.

    Bilinear, because bicubic overshoots [0, 255] at every stroke. With half-pixel centres, because TF1's resizing would
    shift the digit by 1.5 px at 32 px.
    """
    images = tf.image.resize(images, [image_size, image_size], method="bilinear")
    return tf.image.grayscale_to_rgb(images)  # [..., H, W, 3]

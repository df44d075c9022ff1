"""scikit-learn's handwritten digits: 1,797 real images that need no download."""

import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from efficientnet_advprop.data.few_images import first_of_each_class
from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import TRAIN
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
        self._train_images, self._eval_images, self._train_labels, self._eval_labels = train_test_split(
            images,
            digits.target.astype("int32"),
            test_size=_EVAL_FRACTION,
            stratify=digits.target,
            random_state=_SPLIT_SEED,
        )
        kept = first_of_each_class(self._train_labels, train_images_per_class)
        self._train_images, self._train_labels = self._train_images[kept], self._train_labels[kept]
        self.class_names = tuple(str(name) for name in digits.target_names)
        self.facts = DataFacts("digits", len(self.class_names), len(self._train_images), len(self._eval_images))

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """(location, (image, label), seed), a function of the recipe and the step."""
        del options
        order = training_order(len(self._train_images), recipe, context, start_step)
        return order.map(lambda index, seed: (*self._example(recipe, TRAIN, index), seed))

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(location, (image, label)) in the split's order."""
        number = len(self._train_images if split == TRAIN else self._eval_images)
        return tf.data.Dataset.range(number).map(lambda index: self._example(recipe, split, index))

    def read(self, record: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The record is the image and its label."""
        return record

    def _example(self, recipe: Recipe, split: str, index: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        images, labels = (
            (self._train_images, self._train_labels) if split == TRAIN else (self._eval_images, self._eval_labels)
        )
        image = _enlarge(tf.gather(images, index), recipe.network.input_image_size)
        return tf.strings.join([f"digits {split} image ", tf.strings.as_string(index)]), (
            image,
            tf.gather(labels, index),
        )


def _enlarge(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """An 8x8 digit, resized, in three equal channels.

    Bilinear, because bicubic overshoots [0, 255] at every stroke. With half-pixel centres, because TF1's resizing would
    shift the digit by 1.5 px at 32 px.
    """
    image = tf.image.resize(image, [image_size, image_size], method="bilinear")
    return tf.image.grayscale_to_rgb(image)  # [H, W, 3]

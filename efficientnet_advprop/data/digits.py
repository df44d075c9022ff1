"""scikit-learn's handwritten digits: 1,797 real images that need no download."""

import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from efficientnet_advprop.data.few_images import first_of_each_class
from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import TRAIN
from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe

# The data set has no official split. This one is drawn once and for all, whatever a run's seed, so that runs can be
# compared: 1,437 images to train on and 360 to evaluate, every class in the same share.
_EVAL_SHARE = 0.2
_SPLIT_SEED = 0


class DigitsSource:
    """The digits, in memory, as grey images of the network's input size.

    Source: the test part of the UCI optical digits (Alpaydin and Kaynak, 1998), 8x8 px with values 0 to 16.

    Args:
        train_images_per_class: as in `DataSpec`.

    Raises:
        RecipeError: when there are fewer of some class.
    """

    def __init__(self, train_images_per_class: int | None = None) -> None:
        digits = load_digits()
        images = (digits.images * (255 / 16)).astype("float32")[..., None]  # [1797, 8, 8, 1]
        self._train_images, self._eval_images, self._train_labels, self._eval_labels = train_test_split(
            images,
            digits.target.astype("int32"),
            test_size=_EVAL_SHARE,
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
        """(place, image and label, seed); what a step sees depends on the recipe and the step alone."""
        del options
        order = training_order(len(self._train_images), recipe, context, start_step)
        return order.map(lambda index, seed: (*self._example(recipe, TRAIN, index), seed))

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(place, image and label) in the split's order."""
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
    """An 8x8 digit in three equal channels.

    Bilinear, since bicubic overshoots the range at every stroke; with half-pixel centres, which keep the digit in the
    middle: TF1's resize would shift it by 1.5 of 32 px.
    """
    image = tf.image.resize(image, [image_size, image_size], method="bilinear")
    return tf.image.grayscale_to_rgb(image)  # [H, W, 3]

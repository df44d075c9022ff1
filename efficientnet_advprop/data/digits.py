"""scikit-learn's handwritten digits: 1,797 real pictures that need no download."""

import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from efficientnet_advprop.data.few_images import first_of_each_class
from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import TRAIN
from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe

# The data set has no official split. This one is drawn once and for all, whatever a run's seed, so that runs can be
# compared: 1,437 pictures to train on and 360 to evaluate, every class in the same share.
_EVAL_SHARE = 0.2
_SPLIT_SEED = 0


class DigitsSource:
    """The digits, in memory, as grey pictures of the network's input size.

    Source: the test part of the UCI optical digits (Alpaydin and Kaynak, 1998), 8x8 px with values 0 to 16.

    Args:
        train_images_per_class: as in `DataSpec`.

    Raises:
        RecipeError: when there are fewer of some class.
    """

    def __init__(self, train_images_per_class: int | None = None) -> None:
        digits = load_digits()
        pictures = (digits.images * (255 / 16)).astype("float32")[..., None]  # [1797, 8, 8, 1]
        self._train_pictures, self._eval_pictures, self._train_labels, self._eval_labels = train_test_split(
            pictures,
            digits.target.astype("int32"),
            test_size=_EVAL_SHARE,
            stratify=digits.target,
            random_state=_SPLIT_SEED,
        )
        kept = first_of_each_class(self._train_labels, train_images_per_class)
        self._train_pictures, self._train_labels = self._train_pictures[kept], self._train_labels[kept]
        self.class_names = tuple(str(name) for name in digits.target_names)
        self.facts = DataFacts("digits", len(self.class_names), len(self._train_pictures), len(self._eval_pictures))

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """(place, picture and label, seed); what a step sees depends on the recipe and the step alone."""
        del options
        order = training_order(len(self._train_pictures), recipe, context, start_step)
        return order.map(lambda index, seed: (*self._example(recipe, TRAIN, index), seed))

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(place, picture and label) in the split's order."""
        number = len(self._train_pictures if split == TRAIN else self._eval_pictures)
        return tf.data.Dataset.range(number).map(lambda index: self._example(recipe, split, index))

    def read(self, record: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The record is the picture and its label."""
        return record

    def _example(self, recipe: Recipe, split: str, index: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        pictures, labels = (
            (self._train_pictures, self._train_labels) if split == TRAIN else (self._eval_pictures, self._eval_labels)
        )
        picture = _enlarge(tf.gather(pictures, index), recipe.network.input_image_size)
        return tf.strings.join([f"digits {split} picture ", tf.strings.as_string(index)]), (
            picture,
            tf.gather(labels, index),
        )


def _enlarge(picture: tf.Tensor, image_size: int) -> tf.Tensor:
    """An 8x8 digit in three equal channels.

    Bilinear, since bicubic overshoots the range at every stroke; with half-pixel centres, which keep the digit in the
    middle: TF1's resize would shift it by 1.5 of 32 px.
    """
    picture = tf.image.resize(picture, [image_size, image_size], method="bilinear")
    return tf.image.grayscale_to_rgb(picture)  # [H, W, 3]

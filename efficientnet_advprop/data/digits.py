"""scikit-learn's handwritten digits: 1,797 real pictures that need no download."""

import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.recipes import DataSpec, Recipe, RecipeError

# The data set has no official split. This one is drawn once and for all, whatever a run's seed, so that runs can be
# compared: 1,437 pictures to train on and 360 to evaluate, every class in the same share.
_EVAL_SHARE = 0.2
_SPLIT_SEED = 0


class DigitsSource:
    """The digits, in memory, as grey pictures of the network's input size.

    Source: the test part of the UCI optical digits (Alpaydin and Kaynak, 1998), 8x8 px with values 0 to 16.

    Args:
        spec: unused; every source is opened with one.
        data_dir: has to be None.

    Raises:
        RecipeError: when a folder is given.
    """

    def __init__(self, spec: DataSpec, data_dir: str | None) -> None:
        del spec
        if data_dir is not None:
            raise RecipeError(f"--data_dir={data_dir} would have no effect: digits are inside scikit-learn")
        digits = load_digits()
        pictures = (digits.images * (255 / 16)).astype("float32")[..., None]  # [1797, 8, 8, 1]
        self._train_pictures, self._eval_pictures, self._train_labels, self._eval_labels = train_test_split(
            pictures,
            digits.target.astype("int32"),
            test_size=_EVAL_SHARE,
            stratify=digits.target,
            random_state=_SPLIT_SEED,
        )
        self.class_names = tuple(str(name) for name in digits.target_names)
        self.num_train_images = len(self._train_pictures)
        self.num_eval_images = len(self._eval_pictures)

    def train_examples(self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int) -> tf.data.Dataset:
        """(picture, label, seed); what a step sees depends on the recipe and the step alone."""

        def example(index: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
            picture = _enlarge(tf.gather(self._train_pictures, index), recipe.network.input_image_size)
            return picture, tf.gather(self._train_labels, index), seed

        return training_order(self.num_train_images, recipe, context, start_step).map(example)

    def eval_examples(self, recipe: Recipe) -> tf.data.Dataset:
        """(picture, label) in the split's order."""
        pictures = tf.data.Dataset.from_tensor_slices((self._eval_pictures, self._eval_labels))
        return pictures.map(lambda picture, label: (_enlarge(picture, recipe.network.input_image_size), label))


def _enlarge(picture: tf.Tensor, image_size: int) -> tf.Tensor:
    """An 8x8 digit in three equal channels.

    Bilinear, since bicubic overshoots the range at every stroke; with half-pixel centres, which keep the digit in the
    middle: TF1's resize would shift it by 1.5 of 32 px.
    """
    picture = tf.image.resize(picture, [image_size, image_size], method="bilinear")
    return tf.image.grayscale_to_rgb(picture)  # [H, W, 3]

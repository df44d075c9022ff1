"""The 1,797 handwritten digits inside scikit-learn: real pictures that need no download."""

import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow as tf

from efficientnet_advprop.data.augmentation import flip, pad_and_crop
from efficientnet_advprop.recipes import Recipe

_HELD_OUT = 0.2
_SPLIT_SEED = 0  # one split for every run: results of different seeds are on the same held-out pictures
_LARGEST_VALUE = 16.0


class Digits:
    """Digits at the network's input size, held in memory; a fifth of them, stratified by class, is held out."""

    class_names = tuple("0123456789")

    def __init__(self) -> None:
        digits = sklearn.datasets.load_digits()
        pictures = (digits.images * (255.0 / _LARGEST_VALUE)).astype(np.float32)[..., np.newaxis]  # [N, 8, 8, 1]
        split = sklearn.model_selection.train_test_split(
            pictures,
            digits.target.astype(np.int32),
            test_size=_HELD_OUT,
            stratify=digits.target,
            random_state=_SPLIT_SEED,
        )
        self._train_pictures, self._eval_pictures, self._train_labels, self._eval_labels = split
        self.num_train_images = len(self._train_labels)
        self.num_eval_images = len(self._eval_labels)

    def train_examples(self, recipe: Recipe, num_shards: int, shard_index: int, start_image: int) -> tf.data.Dataset:
        """Epoch after epoch in an order and with an augmentation that (seed, epoch, index) decide.

        So a stream that starts at an image is the rest of the stream that starts at 0, pixel for pixel.
        """
        images = tf.constant(self._enlarge(self._train_pictures, recipe))
        labels = tf.constant(self._train_labels)
        count = self.num_train_images
        base_seed = tf.constant([recipe.seed, 0], tf.int32)

        def positions(epoch: tf.Tensor) -> tf.data.Dataset:
            epoch_seed = tf.random.experimental.stateless_fold_in(base_seed, epoch)
            order = tf.random.experimental.stateless_shuffle(tf.range(count), epoch_seed)
            return tf.data.Dataset.from_tensor_slices(order).map(lambda index: (epoch_seed, index))

        def example(epoch_seed: tf.Tensor, index: tf.Tensor) -> dict[str, tf.Tensor]:
            seed = tf.random.experimental.stateless_fold_in(epoch_seed, index + 1)
            return {"images": _augment(images[index], recipe, seed), "labels": labels[index]}

        first_epoch, skipped = divmod(start_image, count)
        epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max, output_type=tf.int32)
        stream = epochs.flat_map(positions).skip(skipped)
        return stream.shard(num_shards, shard_index).map(example, num_parallel_calls=tf.data.AUTOTUNE)

    def eval_examples(self, recipe: Recipe, num_shards: int, shard_index: int) -> tf.data.Dataset:
        """The held-out pictures as they are."""
        images = self._enlarge(self._eval_pictures, recipe)
        examples = tf.data.Dataset.from_tensor_slices({"images": images, "labels": self._eval_labels})
        return examples.shard(num_shards, shard_index)

    @staticmethod
    def _enlarge(pictures: np.ndarray, recipe: Recipe) -> np.ndarray:
        """[N, 8, 8, 1] -> float32 [N, S, S, 3]; bilinear, since bicubic overshoots the range at every stroke."""
        size = recipe.network.input_image_size
        enlarged = tf.image.resize(pictures, (size, size), "bilinear")
        return tf.repeat(enlarged, 3, axis=-1).numpy()


def _augment(image: tf.Tensor, recipe: Recipe, seed: tf.Tensor) -> tf.Tensor:
    crop_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    if recipe.data.train_crop == "pad_and_crop":
        image = pad_and_crop(image, crop_seed)
    if recipe.data.flip:
        image = flip(image, flip_seed)
    return image

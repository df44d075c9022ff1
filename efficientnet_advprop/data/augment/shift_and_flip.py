"""Random shifts and mirroring of training images, as pure functions of a seed."""

import tensorflow as tf

_PAD_SHARE = 8  # a side is padded by an eighth of it: 4 pixels of 32, as usual for CIFAR


def pad_and_crop(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shift an image by up to an eighth of its side; what comes in from outside repeats the border.

    Repeating the border suits digits, whose border is background, and photographs alike; zeros would add black bars.

    Args:
        image: float32 [S, S, 3].
        seed: int32 [2].
    """
    side = image.shape[0]
    pad = side // _PAD_SHARE
    if not pad:
        return image
    rows, columns = tf.unstack(tf.random.stateless_uniform([2], seed, 0, 2 * pad + 1, tf.int32))
    indices = tf.range(side) - pad
    image = tf.gather(image, tf.clip_by_value(indices + rows, 0, side - 1), axis=0)
    return tf.gather(image, tf.clip_by_value(indices + columns, 0, side - 1), axis=1)


def flip(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirror half of the images left to right."""
    return tf.image.stateless_random_flip_left_right(image, seed)

"""Random shifts and horizontal flips of training images, as pure functions of a seed."""

import tensorflow as tf

_SIDE_PER_PAD = 8  # padding is an eighth of the side: 4 px at 32 px, as usual for CIFAR


def pad_and_crop(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Pad an image by repeating its border, then crop it at random: a shift of up to an eighth of its side.

    Repeating the border suits digits, whose border is background, and photographs; zeros would add black bars.

    Args:
        image: float32 [S, S, 3].
        seed: int32 [2].
    """
    side = image.shape[0]
    pad = side // _SIDE_PER_PAD
    if not pad:
        return image
    rows, columns = tf.unstack(tf.random.stateless_uniform([2], seed, 0, 2 * pad + 1, tf.int32))
    indices = tf.range(side) - pad
    rows = tf.clip_by_value(indices + rows, 0, side - 1)[:, tf.newaxis]
    columns = tf.clip_by_value(indices + columns, 0, side - 1)
    # One gather of pixels takes less time than one of rows and one of columns.
    return tf.gather_nd(tf.reshape(image, [-1, 3]), (rows * side + columns)[..., tf.newaxis])


def flip(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Flip an image left to right with probability 0.5."""
    return tf.image.stateless_random_flip_left_right(image, seed)

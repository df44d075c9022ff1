"""Random bits that are the same on every device: Threefry-2x32 with 20 rounds (Salmon et al., SC 2011).

TensorFlow's own stateless generators give other numbers on other devices, and their kernel for Philox makes arrays that
a TPU pads 32 times. Here the bits come from additions, shifts and exclusive ors of uint32 alone: they are equal in
plain TensorFlow, under XLA and in JAX, and XLA computes them where they are used.
"""

from collections.abc import Sequence

import tensorflow as tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def block(key: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The cipher: two words for each pair of counters.

    Args:
        key: uint32 [2].
        first: uint32 of any shape.
        second: uint32 of a shape that broadcasts with that of `first`.
    """
    words = _rounds(key, first, second)
    for word in words:
        word.set_shape(tf.broadcast_static_shape(first.shape, second.shape))
    return words


# Traced once: a hundred operations for each seed, of which a step of a deep network has hundreds.
@tf.function(autograph=False, input_signature=[tf.TensorSpec([2], tf.uint32), *[tf.TensorSpec(None, tf.uint32)] * 2])
def _rounds(key: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    keys = (key[0], key[1], key[0] ^ key[1] ^ tf.constant(_PARITY, tf.uint32))
    first, second = first + keys[0], second + keys[1]
    for injection in range(1, 6):
        for bits in _ROTATIONS[(injection - 1) % 2]:
            first = first + second
            second = first ^ _rotated(second, bits)
        first = first + keys[injection % 3]
        second = second + keys[(injection + 1) % 3] + tf.constant(injection, tf.uint32)
    return first, second


def fold_in(key: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """The key, uint32 [2], of a place, an int32 scalar; as `jax.random.fold_in`."""
    return tf.stack(block(key, tf.zeros([], tf.uint32), tf.bitcast(place, tf.uint32)))


def random_bits(shape: Sequence[int] | tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Random uint32 of this shape.

    The counters are the row and the column of a matrix: of [B * H, W * C] for images, since a TPU would pad their three
    channels to 128. The second word of each counter gives the right half of the matrix.

    Args:
        shape: at least one dimension.
        key: uint32 [2].
    """
    shape = tf.convert_to_tensor(shape, tf.int32)
    half = shape.shape[0] // 2
    rows, columns = tf.reduce_prod(shape[:half]), tf.reduce_prod(shape[half:])
    row = tf.cast(tf.range(rows), tf.uint32)[:, tf.newaxis]
    column = tf.cast(tf.range((columns + 1) // 2), tf.uint32)[tf.newaxis]
    matrix = tf.concat(block(key, row, column), axis=1)[:, :columns]
    return tf.reshape(matrix, shape)


def _rotated(words: tf.Tensor, bits: int) -> tf.Tensor:
    left = tf.bitwise.left_shift(words, tf.constant(bits, tf.uint32))
    return left | tf.bitwise.right_shift(words, tf.constant(32 - bits, tf.uint32))

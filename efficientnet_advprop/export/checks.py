"""Input checks of exported functions.

They are in the graph, because TensorFlow Serving and other programs run no Python. The message is all that a client
sees.
"""

import tensorflow as tf

# Bicubic resizing overshoots [0, 1] by at most 0.45 on each side (the absolute values of its weights sum to 1.375 per
# dimension), and evaluation does not clip it.
_OVERSHOOT = 0.5


def checked_pixels(images: tf.Tensor) -> tf.Tensor:
    """The images, after a check that they are pixels in [0, 255].

    Args:
        images: float32 [N, H, W, 3].
    """
    images = of_shape(images, "[N, H, W, 3]", channels=3)
    problem = "holds NaN or values far outside [0, 255]; pixels in [0, 255] are expected"
    images = refuse_elements(tf.logical_not(_inside(images, 255.0)), problem, images)
    # Pixels of images this dark are 0 or 1, unless they were scaled to [0, 1] or normalised.
    scaled = tf.cond(
        tf.reduce_max(images) <= 1.0,
        lambda: tf.reduce_any(tf.not_equal(images, tf.round(images))),
        lambda: tf.constant(False),
    )
    message = "no value of images is above 1: they look scaled or normalised; pixels in [0, 255] are expected"
    return require(tf.logical_not(scaled), tf.constant(message), images)


def checked_unit_range(images: tf.Tensor) -> tf.Tensor:
    """The images, after a check that they are pixels in [0, 1].

    The message names no element, because XLA, with which a Hub module may be compiled, cannot format strings. Shapes
    are checked by the caller of a restored function.

    Args:
        images: float32 [N, H, W, 3].
    """
    images = require(tf.size(images) > 0, tf.constant("images are empty"), images)
    message = "images hold NaN or values far outside [0, 1]; pixels in [0, 1] are expected (uint8 images / 255)"
    return require(tf.reduce_all(_inside(images, 1.0)), tf.constant(message), images)


def of_shape(images: tf.Tensor, wanted: str, channels: int | None = None) -> tf.Tensor:
    """The images, after a check of their rank, their channels, and that no dimension is 0.

    A program that loads the graph need not check the declared shape, and a convolution treats six channels as two
    groups of three.
    """
    rank = images.shape.rank
    # Without the declared shape, from which graph optimizers would conclude that the condition holds.
    shape = tf.shape(tf.compat.v1.placeholder_with_default(images, shape=None))
    good = tf.equal(tf.size(shape), rank) & tf.reduce_all(shape > 0)
    if channels is not None:
        good &= tf.reduce_all(tf.equal(shape[-1:], channels))
    message = tf.strings.format("images have shape {}: " + wanted + ", without a dimension of 0, is expected", shape)
    return require(good, message, images)


def _inside(images: tf.Tensor, high: float) -> tf.Tensor:
    """Whether each image is in [0, high], up to overshoot, bool [N]; false for NaN."""
    middle = high / 2
    return tf.reduce_all(tf.abs(images - middle) <= middle + _OVERSHOOT * high, axis=(1, 2, 3))


def refuse_elements(bad: tf.Tensor, problem: str, images: tf.Tensor) -> tf.Tensor:
    """The images, after a check that none of the elements is bad, bool [N]; the message names the first that is."""
    first = tf.argmax(tf.cast(bad, tf.int32))
    message = tf.strings.format("element {} of images " + problem, first)
    return require(tf.logical_not(tf.reduce_any(bad)), message, images)


def require(condition: tf.Tensor, message: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """The images, with a control dependency on the condition."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(images)

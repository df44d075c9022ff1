"""Input checks of exported functions.

They are in the graph, because TensorFlow Serving and other programs run no Python. The message is all that a client
sees.
"""

import tensorflow as tf

# Bicubic resizing overshoots [0, 1] by at most 0.45 on each side (the absolute values of its weights sum to 1.375 per
# dimension), and evaluation does not clip it.
_OVERSHOOT = 0.5

_JPEG, _PNG, _GIF, _BMP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM"
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND"


def checked_pixels(images: tf.Tensor) -> tf.Tensor:
    """The images, after a check that they are pixels in [0, 255].

    Args:
        images: float32 [N, H, W, 3].
    """
    images = _of_shape(images, "[N, H, W, 3]", channels=3)
    bad = tf.logical_not(_inside(images, 255.0))  # [N]
    images = _require(
        tf.logical_not(tf.reduce_any(bad)),
        tf.strings.format(
            "element {} of images holds NaN or values far outside [0, 255]; pixels in [0, 255] are expected",
            _first(bad),
        ),
        images,
    )
    # Pixels of images this dark are 0 or 1, unless they were scaled to [0, 1] or normalised.
    scaled = tf.cond(
        tf.reduce_max(images) <= 1.0,
        lambda: tf.reduce_any(tf.not_equal(images, tf.round(images))),
        lambda: tf.constant(False),
    )
    message = "no value of images is above 1: they look scaled or normalised; pixels in [0, 255] are expected"
    return _require(tf.logical_not(scaled), tf.constant(message), images)


def checked_unit_range(images: tf.Tensor) -> tf.Tensor:
    """The images, after a check that they are pixels in [0, 1].

    The message names no element, because XLA, with which a Hub module may be compiled, cannot format strings. Shapes
    are checked by the caller of a restored function.

    Args:
        images: float32 [N, H, W, 3].
    """
    images = _require(tf.size(images) > 0, tf.constant("images are empty"), images)
    message = "images hold NaN or values far outside [0, 1]; pixels in [0, 1] are expected (uint8 images / 255)"
    return _require(tf.reduce_all(_inside(images, 1.0)), tf.constant(message), images)


def checked_images(images: tf.Tensor) -> tf.Tensor:
    """The encoded images, after a check of their format and their end.

    A decoder's error names no element, and a graph cannot catch it. So magic number and end marker are checked before.

    Args:
        images: string [N].
    """
    images = _of_shape(images, "[N]")
    is_jpeg, is_png, is_gif, is_bmp = (
        tf.equal(tf.strings.substr(images, 0, len(magic)), magic) for magic in (_JPEG, _PNG, _GIF, _BMP)
    )
    unknown = tf.logical_not(is_jpeg | is_png | is_gif | is_bmp)  # [N]
    images = _require(
        tf.logical_not(tf.reduce_any(unknown)),
        tf.strings.format("element {} of images is not a JPEG, PNG, GIF or BMP", _first(unknown)),
        images,
    )
    truncated = (is_jpeg & ~_contains(images, _JPEG_END)) | (is_png & ~_contains(images, _PNG_END))
    return _require(
        tf.logical_not(tf.reduce_any(truncated)),
        tf.strings.format("element {} of images is truncated: it has no end marker", _first(truncated)),
        images,
    )


def _of_shape(images: tf.Tensor, wanted: str, channels: int | None = None) -> tf.Tensor:
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
    return _require(good, message, images)


def _inside(images: tf.Tensor, high: float) -> tf.Tensor:
    """Whether each image is in [0, high], up to overshoot, bool [N]; false for NaN."""
    middle = high / 2
    return tf.reduce_all(tf.abs(images - middle) <= middle + _OVERSHOOT * high, axis=(1, 2, 3))


def _contains(images: tf.Tensor, marker: bytes) -> tf.Tensor:
    """Whether each string contains the marker; regular expressions would need UTF-8."""
    return tf.strings.split(images, sep=marker).row_lengths() > 1


def _first(bad: tf.Tensor) -> tf.Tensor:
    return tf.argmax(tf.cast(bad, tf.int32))


def _require(condition: tf.Tensor, message: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """The images, with a control dependency on the condition."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(images)

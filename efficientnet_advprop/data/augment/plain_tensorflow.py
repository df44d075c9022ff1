"""The three operations of TensorFlow Addons, with the same results to the bit, for where Addons is not installed."""

import tensorflow as tf


def transform(image: tf.Tensor, transforms: tf.Tensor, fill_value: float = 0.0) -> tf.Tensor:
    """Move pixels by a projective transform, taking the nearest pixel.

    Args:
        image: uint8 [H, W, C].
        transforms: float32 [8], a0, a1, a2, b0, b1, b2, c0, c1: the output's pixel (x, y) is the input's at
            ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) with k = c0 x + c1 y + 1.
        fill_value: the value of pixels from outside the image.

    Returns:
        uint8 [H, W, C].
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=transforms[tf.newaxis],
        output_shape=tf.shape(image)[:2],
        fill_value=fill_value,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )[0]


def rotate(image: tf.Tensor, angle: tf.Tensor, fill_value: float = 0.0) -> tf.Tensor:
    """Rotate uint8 [H, W, C] counterclockwise about its centre by `angle` in radians, taking the nearest pixel."""
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2] - 1, tf.float32))  # from the first pixel to the last
    cos, sin = tf.cos(angle), tf.sin(angle)
    x_offset = (width - (cos * width - sin * height)) / 2.0
    y_offset = (height - (sin * width + cos * height)) / 2.0
    return transform(image, tf.stack([cos, -sin, x_offset, sin, cos, y_offset, 0.0, 0.0]), fill_value)


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Flatten each channel's histogram as `PIL.ImageOps.equalize` does, through a table of 256 values per channel.

    Args:
        image: uint8 [H, W, C].

    Returns:
        uint8 [H, W, C].
    """
    channels = tf.transpose(tf.cast(image, tf.int32), [2, 0, 1])  # [C, H, W]
    pixels = tf.reshape(channels, [tf.shape(channels)[0], -1])  # [C, H W]
    counts = tf.math.bincount(pixels, minlength=256, maxlength=256, axis=-1)  # [C, 256]
    at_maximum = tf.gather(counts, tf.reduce_max(pixels, axis=1), batch_dims=1)  # [C]
    step = ((tf.shape(pixels)[1] - at_maximum) // 255)[:, tf.newaxis]  # [C, 1]
    table = (tf.cumsum(counts, axis=1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    table = tf.where(step == 0, tf.range(256), tf.minimum(table, 255))  # too few pixels or values: unchanged
    return tf.cast(tf.transpose(tf.gather(table, channels, batch_dims=1), [1, 2, 0]), tf.uint8)

"""The function of TensorFlow Addons, with the same results to the bit, for where Addons is not installed."""

import tensorflow as tf


def rotation(angle: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """The projective transform of a counterclockwise rotation by `angle` in radians about the centre of an image.

    Args:
        angle: float32 scalar.
        height: of the image in pixels, float32 scalar.
        width: likewise.

    Returns:
        float32 [1, 8], a0, a1, a2, b0, b1, b2, 0, 0: the result's pixel (x, y) is the image's at
            (a0 x + a1 y + a2, b0 x + b1 y + b2).
    """
    height, width = height - 1.0, width - 1.0  # from the first pixel to the last
    cos, sin = tf.cos(angle), tf.sin(angle)
    x_offset = (width - (cos * width - sin * height)) / 2.0
    y_offset = (height - (sin * width + cos * height)) / 2.0
    return tf.stack([cos, -sin, x_offset, sin, cos, y_offset, 0.0, 0.0])[tf.newaxis]

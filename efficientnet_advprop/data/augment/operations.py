"""The sixteen operations of AutoAugment and RandAugment, as the official EfficientNet code defines them.

Source: `autoaugment.py` of tensorflow/tpu, models/official/efficientnet, with its bugs: the published networks were
trained with them. Images are uint8 [H, W, 3]. Geometric operations use the nearest pixel, and grey outside the image.

What is slow on a CPU is avoided: `tf.where` on pixels, broadcasts along the three channels (along rows of 3 W values
they are fast), and gathers of single values where arithmetic does the same.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.augment import addons

_FILL = 128  # grey, in every channel
_BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0.0))


def apply(
    name: str, image: tf.Tensor, argument: float | tf.Tensor | None = None, seed: tf.Tensor | Sequence[int] = (0, 0)
) -> tf.Tensor:
    """Apply one operation to one image.

    Args:
        name: one of `OPERATIONS`.
        image: uint8 [H, W, 3].
        argument: in the operation's own unit: degrees (Rotate), pixels (TranslateX, TranslateY; Cutout: half the
            square's side), bits kept (Posterize), threshold (Solarize), number added to values below 128 (SolarizeAdd),
            factor (Color, Contrast, Brightness, Sharpness), pixels per pixel (ShearX, ShearY). AutoContrast, Equalize
            and Invert have none.
        seed: int32 [2]. Only Cutout is random: the centre of its square is uniform over the image.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: for an unknown name, an image that is not uint8, or a missing argument.
    """
    if name not in OPERATIONS:
        raise ValueError(f"unknown operation {name!r}; known: {', '.join(OPERATIONS)}")
    image = tf.convert_to_tensor(image)
    if image.dtype != tf.uint8:
        raise ValueError(f"{name} takes a uint8 image, not {image.dtype.name}")
    if name in _WITHOUT_ARGUMENT:
        return _WITHOUT_ARGUMENT[name](image)
    if argument is None:
        raise ValueError(f"{name} needs an argument")
    argument = tf.cast(argument, tf.float32)
    if name == "Cutout":
        return _cutout(image, argument, tf.convert_to_tensor(seed))
    return _WITH_ARGUMENT[name](image, argument)


def _auto_contrast(image: tf.Tensor) -> tf.Tensor:
    """Stretch each channel to [0, 255]; a constant channel is unchanged."""
    shape = tf.shape(image)
    rows = tf.cast(tf.reshape(image, [shape[0], -1]), tf.float32)  # [H, 3 W]
    low = tf.reduce_min(tf.reshape(tf.reduce_min(rows, axis=0), [-1, 3]), axis=0)  # [3]
    high = tf.reduce_max(tf.reshape(tf.reduce_max(rows, axis=0), [-1, 3]), axis=0)
    varies = high > low
    scale = tf.where(varies, 255.0 / tf.where(varies, high - low, 1.0), 1.0)
    offset = tf.where(varies, -low * scale, 0.0)
    return tf.reshape(_to_uint8(rows * tf.tile(scale, shape[1:2]) + tf.tile(offset, shape[1:2])), shape)


def _equalize(image: tf.Tensor) -> tf.Tensor:
    """Flatten each channel's histogram as `PIL.ImageOps.equalize` does, through a table of 256 values per channel."""
    shape = tf.shape(image)
    rows = tf.cast(tf.reshape(image, [shape[0], -1]), tf.int32)  # [H, 3 W]
    bins = rows + tf.tile([0, 256, 512], shape[1:2])  # the three histograms are one
    counts = tf.math.bincount(tf.reshape(bins, [-1]), minlength=768, maxlength=768)
    below = tf.cumsum(tf.reshape(counts, [3, 256]), axis=1, exclusive=True)  # pixels darker than each value
    below_maximum = tf.reduce_max(tf.where(below < shape[0] * shape[1], below, 0), axis=1, keepdims=True)
    step = below_maximum // 255  # [3, 1]
    table = (below + step // 2) // tf.maximum(step, 1)
    table = tf.where(step == 0, tf.range(256), tf.minimum(table, 255))  # too few pixels or values: unchanged
    table = tf.cast(tf.reshape(table, [-1]), tf.uint8)
    return tf.reshape(tf.gather_nd(table, bins[..., tf.newaxis]), shape)  # `tf.gather` takes half as long again


def _invert(image: tf.Tensor) -> tf.Tensor:
    return 255 - image


def _posterize(image: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keep the highest bits.

    In the original the shift is a uint8, and more than 7 acts as 7: for no bits, and for more than 8 bits (levels above
    20), one bit is kept.
    """
    shift = 8 - tf.cast(bits, tf.int32)
    shift = tf.cast(tf.where((shift < 0) | (shift > 7), 7, shift), tf.uint8)
    return tf.bitwise.bitwise_and(image, tf.bitwise.left_shift(tf.constant(255, tf.uint8), shift))


def _solarize(image: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Invert the values at or above the threshold.

    In the original the threshold is a uint8: 256 at level 10 wraps to 0, which inverts all, and 716 at level 28 to 204.
    """
    threshold = tf.cast(tf.cast(threshold, tf.int32) % 256, tf.uint8)
    return tf.bitwise.bitwise_xor(image, 255 * tf.cast(image >= threshold, tf.uint8))


def _solarize_add(image: tf.Tensor, addition: tf.Tensor) -> tf.Tensor:
    """Add to the values below 128."""
    dark = tf.cast(image < 128, tf.float32)
    return _to_uint8(tf.cast(image, tf.float32) + dark * tf.cast(tf.cast(addition, tf.int32), tf.float32))


def _color(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    grey = tf.cast(tf.reshape(tf.image.rgb_to_grayscale(image), [-1, 1]), tf.float32)
    grey = tf.matmul(grey, tf.ones([1, 3]))  # faster than a broadcast along the channels
    return _blend(tf.reshape(grey, tf.shape(image)), image, factor)


def _contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Extrapolate from a constant: not the mean grey level, as in PIL, but the mean count of the histogram's bins.

    The original averages the histogram instead of the image. That gives 196 at 224 px, and white from 256 px on.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    count = tf.cast(tf.minimum(height * width // 256, 255), tf.float32)
    return _blend(count, image, factor)


def _brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _blend(tf.constant(0.0), image, factor)


def _sharpness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Extrapolate from PIL's smooth filter; the border of one pixel is unchanged.

    Not Addons' `sharpness`, which rounds where the original truncates, and takes twice the time.
    """
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32) / 13.0
    kernel = tf.tile(kernel[..., tf.newaxis, tf.newaxis], [1, 1, 3, 1])
    pixels = tf.cast(image, tf.float32)[tf.newaxis]
    smooth = tf.nn.depthwise_conv2d(pixels, kernel, strides=[1, 1, 1, 1], padding="VALID")[0]  # [H - 2, W - 2, 3]
    inner = _blend(tf.floor(smooth), pixels[0, 1:-1, 1:-1], factor)
    rows = tf.concat([image[1:-1, :1], inner, image[1:-1, -1:]], axis=1)
    return tf.concat([image[:1], rows, image[-1:]], axis=0)


def _rotate(image: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    """Rotate counterclockwise about the centre."""
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    a0, a1, a2, b0, b1, b2, _, _ = tf.unstack(addons.rotation(degrees * (math.pi / 180.0), height, width)[0])
    x, y = _coordinates(image)
    # Differences, because Grappler reorders the sum of three terms, which then rounds differently.
    return _taken_from(image, a0 * x - -a1 * y + a2, b0 * x - -b1 * y + b2)


def _shear_x(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Move each row left by the factor times its distance from the top."""
    x, y = _coordinates(image)
    return _taken_from(image, x + factor * y, y)


def _shear_y(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Move each column up by the factor times its distance from the left."""
    x, y = _coordinates(image)
    return _taken_from(image, x, factor * x + y)


def _translate_x(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Move left: the original translates by minus the argument."""
    x, y = _coordinates(image)
    return _taken_from(image, x + pixels, y)


def _translate_y(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Move up: the original translates by minus the argument."""
    x, y = _coordinates(image)
    return _taken_from(image, x, y + pixels)


def _coordinates(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """x, float32 [W], and y, float32 [H, 1], of an image's pixels."""
    height, width = tf.unstack(tf.shape(image)[:2])
    return tf.cast(tf.range(width), tf.float32), tf.cast(tf.range(height), tf.float32)[:, tf.newaxis]


def _taken_from(image: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The pixel nearest to each (x, y), grey outside the image.

    The same to the bit as the projective transform of Addons and TensorFlow, in a quarter of the time: the place in the
    image is computed once for the three channels, and only along the axes along which it varies.

    Args:
        image: uint8 [H, W, 3].
        x: float32 that broadcasts with `y` to [H, W].
        y: float32.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    framed = tf.pad(tf.reshape(image, [height, 3 * width]), [[1, 1], [3, 3]], constant_values=_FILL)
    index = (_nearest(y, height) + 1) * (width + 2) + (_nearest(x, width) + 1)
    return tf.gather_nd(tf.reshape(framed, [-1, 3]), index[..., tf.newaxis])


def _nearest(position: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Positions rounded half away from zero, -1 or `length` where that is outside [0, length)."""
    inside = tf.clip_by_value(position, -1.0, tf.cast(length, tf.float32))
    return tf.cast(tf.floor(inside + _BELOW_HALF), tf.int32)


def _cutout(image: tf.Tensor, half_side: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Fill a square around a random pixel with grey; the square is clipped at the border."""
    size = tf.shape(image)[:2]
    center = tf.cast(tf.random.stateless_uniform([2], seed) * tf.cast(size, tf.float32), tf.int32)
    half_side = tf.maximum(tf.cast(half_side, tf.int32), 0)
    top, left = tf.unstack(tf.clip_by_value(center - half_side, 0, size))
    bottom, right = tf.unstack(tf.clip_by_value(center + half_side, 0, size))
    square = tf.fill([bottom - top, right - left, 3], tf.constant(_FILL, tf.uint8))
    rows = tf.concat([image[top:bottom, :left], square, image[top:bottom, right:]], axis=1)
    return tf.ensure_shape(tf.concat([image[:top], rows, image[bottom:]], axis=0), image.shape)


def _blend(other: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Interpolate from `other` (factor 0) to the image (factor 1), or extrapolate; truncated to whole pixel values."""
    other, image = tf.cast(other, tf.float32), tf.cast(image, tf.float32)
    return _to_uint8(other + factor * (image - other))


def _to_uint8(pixels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(pixels, 0.0, 255.0), tf.uint8)


_WITHOUT_ARGUMENT: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": _invert,
}
_WITH_ARGUMENT: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
    "SolarizeAdd": _solarize_add,
}
OPERATIONS = (*_WITHOUT_ARGUMENT, *_WITH_ARGUMENT, "Cutout")

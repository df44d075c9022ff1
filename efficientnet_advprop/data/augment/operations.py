"""The sixteen operations of AutoAugment and RandAugment, as the official EfficientNet code defines them.

Source: `autoaugment.py` of tensorflow/tpu, models/official/efficientnet, with its bugs: the published networks were
trained with them. Images are uint8 [H, W, 3]. Geometric operations use the nearest pixel, and grey outside the image.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from efficientnet_advprop.data.augment import addons

_FILL = 128  # grey, in every channel


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
    low = tf.cast(tf.reduce_min(image, axis=[0, 1]), tf.float32)  # [3]
    high = tf.cast(tf.reduce_max(image, axis=[0, 1]), tf.float32)
    varies = high > low
    scale = tf.where(varies, 255.0 / tf.where(varies, high - low, 1.0), 1.0)
    offset = tf.where(varies, -low * scale, 0.0)
    return _to_uint8(tf.cast(image, tf.float32) * scale + offset)


def _equalize(image: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(addons.equalize(image), image.shape)


def _invert(image: tf.Tensor) -> tf.Tensor:
    return 255 - image


def _posterize(image: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keep the highest bits.

    In the original the shift is a uint8, and more than 7 acts as 7: for no bits, and for more than 8 bits (levels above
    20), one bit is kept.
    """
    shift = 8 - tf.cast(bits, tf.int32)
    shift = tf.cast(tf.where((shift < 0) | (shift > 7), 7, shift), tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(image, shift), shift)


def _solarize(image: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Invert the values at or above the threshold.

    In the original the threshold is a uint8: 256 at level 10 wraps to 0, which inverts all, and 716 at level 28 to 204.
    """
    threshold = tf.cast(tf.cast(threshold, tf.int32) % 256, tf.uint8)
    return tf.where(image < threshold, image, 255 - image)


def _solarize_add(image: tf.Tensor, addition: tf.Tensor) -> tf.Tensor:
    """Add to the values below 128."""
    added = tf.clip_by_value(tf.cast(image, tf.int32) + tf.cast(addition, tf.int32), 0, 255)
    return tf.where(image < 128, tf.cast(added, tf.uint8), image)


def _color(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _blend(tf.image.rgb_to_grayscale(image), image, factor)  # [H, W, 1] and [H, W, 3]


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
    inner = _blend(_to_uint8(smooth), image[1:-1, 1:-1], factor)
    rows = tf.concat([image[1:-1, :1], inner, image[1:-1, -1:]], axis=1)
    return tf.concat([image[:1], rows, image[-1:]], axis=0)


def _rotate(image: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    """Rotate counterclockwise about the centre."""
    return addons.rotate(image, degrees * (math.pi / 180.0), fill_value=float(_FILL))


def _shear_x(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Move each row left by the factor times its distance from the top."""
    return _warp(image, [1.0, factor, 0.0, 0.0, 1.0, 0.0])


def _shear_y(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Move each column up by the factor times its distance from the left."""
    return _warp(image, [1.0, 0.0, 0.0, factor, 1.0, 0.0])


def _translate_x(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Move left: the original translates by minus the argument."""
    return _warp(image, [1.0, 0.0, pixels, 0.0, 1.0, 0.0])


def _translate_y(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Move up: the original translates by minus the argument."""
    return _warp(image, [1.0, 0.0, 0.0, 0.0, 1.0, pixels])


def _warp(image: tf.Tensor, source_of: Sequence[float | tf.Tensor]) -> tf.Tensor:
    """Take the pixel at (x, y) from (a0 x + a1 y + a2, b0 x + b1 y + b2); `source_of` is a0, a1, a2, b0, b1, b2."""
    return addons.transform(image, tf.stack([*source_of, 0.0, 0.0]), fill_value=float(_FILL))


def _cutout(image: tf.Tensor, half_side: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Fill a square around a random pixel with grey; the square is clipped at the border."""
    half_side = tf.cast(half_side, tf.int32)
    size = tf.shape(image)[:2]
    center = tf.cast(tf.random.stateless_uniform([2], seed) * tf.cast(size, tf.float32), tf.int32)

    def covered(axis: int) -> tf.Tensor:
        distance = tf.range(size[axis]) - center[axis]
        return (distance >= -half_side) & (distance < half_side)

    square = covered(0)[:, tf.newaxis, tf.newaxis] & covered(1)[tf.newaxis, :, tf.newaxis]  # [H, W, 1]
    return tf.where(square, tf.constant(_FILL, tf.uint8), image)


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

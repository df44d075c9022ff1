"""Preprocessing of one image: the official EfficientNet one, crops for small images, PIL's resizing.

Source: `preprocessing.py` of tensorflow/tpu, models/official/efficientnet. The input is an encoded image (scalar
string) or a decoded one ([H, W, 3]); the output is float32 [image_size, image_size, 3] in [0, 255].
"""

from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.data import bmp
from efficientnet_advprop.data.augment import Augmentation, shift_and_flip
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import RecipeError

# The official constant until November 2021, when the code changed to a central fraction of 0.875 at every size. The
# released weights, AdvProp's among them, are older.
_CROP_PADDING_PX = 32

# Height and width of an image -> its window (top, left, height, width), all int32 pixels.
_WindowOf = Callable[[tf.Tensor], tf.Tensor]

_CAST_BELOW = 3_000_000  # values of an image of a megapixel, see `_resize_bicubic`
_FLIP, _CROP, _AUGMENT = range(3)  # places in an image's seed


def preprocess_eval(
    image_bytes: tf.Tensor, image_size: int, eval_crop: str = "pad32", resize: str = "bicubic"
) -> tf.Tensor:
    """Preprocess an image for evaluation and serving.

    Bicubic resizing overshoots [0, 255] slightly at edges. Evaluation does not clip it, like the official code.

    Args:
        image_bytes: encoded or decoded image.
        image_size: side of the result in pixels.
        eval_crop: "pad32" or "0.875" (a central square, see `crop_padding_px`), or "none" (the whole image).
        resize: "bicubic" or "bilinear", as in `DataSpec`.

    Returns:
        float32 [image_size, image_size, 3].

    Raises:
        RecipeError: for an unknown crop or resize.
    """
    image_bytes = tf.convert_to_tensor(image_bytes)
    if eval_crop == "none":
        return _resize(decode(image_bytes), image_size, resize)
    padding_px = crop_padding_px(image_size, eval_crop)
    pixels = _decode_window(image_bytes, lambda shape: center_window(shape, image_size, padding_px))
    return _resize(pixels, image_size, resize)


def preprocess_train(
    image_bytes: tf.Tensor,
    image_size: int,
    seed: tf.Tensor,
    train_crop: str = "distorted_box",
    flip: bool = True,
    resize: str = "bicubic",
) -> tf.Tensor:
    """Preprocess an image for one training step, as a function of the arguments alone.

    Values are clipped to [0, 255], where an attack's ball must lie. The official code clips only before AutoAugment.

    Args:
        image_bytes: encoded or decoded image.
        image_size: side of the result in pixels.
        seed: int [2], of this image in this epoch.
        train_crop: "distorted_box", "pad_and_crop" or "none", as in `DataSpec`.
        flip: flip it horizontally with probability 0.5.
        resize: "bicubic" or "bilinear", as in `DataSpec`.

    Returns:
        float32 [image_size, image_size, 3] in [0, 255].

    Raises:
        RecipeError: for an unknown crop or resize.
    """
    image_bytes = tf.convert_to_tensor(image_bytes)
    crop_seed = fold(seed, _CROP)
    if train_crop == "distorted_box":
        image = _decode_window(image_bytes, lambda shape: distorted_window(shape, image_size, crop_seed))
        image = _resize(image, image_size, resize)
    elif train_crop == "pad_and_crop":
        image = shift_and_flip.pad_and_crop(_resize(decode(image_bytes), image_size, resize), crop_seed)
    elif train_crop == "none":
        image = _resize(decode(image_bytes), image_size, resize)
    else:
        raise RecipeError(f"unknown train_crop {train_crop!r}; known: distorted_box, pad_and_crop, none")
    if flip:
        image = shift_and_flip.flip(image, fold(seed, _FLIP))
    return tf.clip_by_value(image, 0.0, 255.0)


def augmented(image: tf.Tensor, seed: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """The result of `preprocess_train`, augmented.

    Args:
        image: float32 [H, W, 3] in [0, 255], truncated to whole pixel values.
        seed: int [2], the same as for `preprocess_train`.
        augmentation: from `augment.augmentation_of`.

    Returns:
        float32 [H, W, 3], whole numbers in [0, 255].
    """
    return tf.cast(augmentation(tf.cast(image, tf.uint8), fold(seed, _AUGMENT)), tf.float32)


def crop_padding_px(image_size: int, eval_crop: str) -> int:
    """The padding of a central crop, whose side is image_size / (image_size + padding) of the image's short side.

    Raises:
        RecipeError: for an unknown crop.
    """
    if eval_crop == "pad32":
        return _CROP_PADDING_PX
    if eval_crop == "0.875":
        return round(image_size * (1 / 0.875 - 1))
    raise RecipeError(f"unknown eval_crop {eval_crop!r}; known: pad32, 0.875, none")


def center_window(shape: tf.Tensor, image_size: int, padding_px: int) -> tf.Tensor:
    """The central square of an image of this height and width, int32 [4] (top, left, height, width).

    The product is float32, as in the official code: in exact arithmetic some sides would be one pixel smaller.
    """
    fraction = image_size / (image_size + padding_px)
    side = tf.cast(fraction * tf.cast(tf.reduce_min(shape), tf.float32), tf.int32)
    side = tf.maximum(side, 1)  # for an image of one pixel the official code gets 0 and fails
    begin = (shape - side + 1) // 2
    return tf.stack([begin[0], begin[1], side, side])


def distorted_window(shape: tf.Tensor, image_size: int, seed: tf.Tensor) -> tf.Tensor:
    """A random window of an image of this height and width, int32 [4] (top, left, height, width).

    8 to 100 % of the area, with an aspect ratio of 3/4 to 4/3. When ten attempts find none, the sampler returns the
    whole image. The official code takes every whole image for such a failure, and uses the evaluation's crop instead.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape, [3]], axis=0),
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=0.1,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    window = tf.concat([begin[:2], size[:2]], axis=0)
    failed = tf.reduce_all(tf.equal(size[:2], shape))
    return tf.where(failed, center_window(shape, image_size, _CROP_PADDING_PX), window)


def decode(image: tf.Tensor) -> tf.Tensor:
    """Pixels [H, W, 3] of an encoded or decoded image.

    Greyscale images get three channels, CMYK becomes RGB, 16 bits become 8, and an animation gives its first frame.
    """
    if image.dtype != tf.string:
        return image
    return tf.cond(
        bmp.is_bmp(image),
        lambda: bmp.decode_bmp(image),
        lambda: tf.io.decode_image(image, channels=3, expand_animations=False),
    )


def _decode_window(image: tf.Tensor, window_of: _WindowOf) -> tf.Tensor:
    """Pixels [h, w, 3] of a window; of a JPEG only the blocks under the window are decoded."""

    def of_jpeg() -> tf.Tensor:
        window = window_of(tf.io.extract_jpeg_shape(image)[:2])
        return tf.io.decode_and_crop_jpeg(image, window, channels=3)

    def of_pixels() -> tf.Tensor:
        pixels = decode(image)
        top, left, height, width = tf.unstack(window_of(tf.shape(pixels)[:2]))
        return pixels[top : top + height, left : left + width]

    if image.dtype != tf.string:
        return of_pixels()
    return tf.cond(tf.io.is_jpeg(image), of_jpeg, of_pixels)


def _resize(pixels: tf.Tensor, image_size: int, resize: str) -> tf.Tensor:
    """Resize to float32 [image_size, image_size, 3], bicubic as in TF1 or bilinear as in PIL.

    TF1's has no half-pixel centres, unlike `tf.image.resize`; the released weights were trained and evaluated with it.
    The raw op, because its wrapper in tf.compat.v1 logs a deprecation that does not apply here.
    """
    size = [image_size, image_size]
    if resize == "bicubic":
        resized = _resize_bicubic(pixels, size)
    elif resize == "bilinear":
        resized = tf.image.resize(pixels, size, method="bilinear", antialias=True)
    else:
        raise RecipeError(f"unknown resize {resize!r}; known: bicubic, bilinear")
    return tf.ensure_shape(resized, [*size, 3])


def _resize_bicubic(pixels: tf.Tensor, size: list[int]) -> tf.Tensor:
    def resized(images: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.ResizeBicubic(
            images=images[tf.newaxis], size=size, align_corners=False, half_pixel_centers=False
        )[0]

    if pixels.dtype != tf.uint8:
        return resized(pixels)
    # The op's kernel for float32 has the same results in two thirds of the time, until the cast, which touches every
    # pixel, takes longer than that.
    is_small = tf.size(pixels) < _CAST_BELOW
    return tf.cond(is_small, lambda: resized(tf.cast(pixels, tf.float32)), lambda: resized(pixels))

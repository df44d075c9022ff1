"""What is done to one picture: the official EfficientNet preprocessing, and crops for small pictures.

Source: `preprocessing.py` of tensorflow/tpu, models/official/efficientnet. A picture is encoded (scalar string) or
decoded ([H, W, 3]); results are float32 [image_size, image_size, 3] in pixels of [0, 255].
"""

from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.data import augmentation
from efficientnet_advprop.recipes import RecipeError

# The official constant until November 2021, when the code changed to a central share of 0.875 at every size. The
# released weights, AdvProp's among them, are older.
_CROP_PADDING_PX = 32

# Height and width of a picture -> its window (top, left, height, width), all int32 pixels.
_WindowOf = Callable[[tf.Tensor], tf.Tensor]

_FLIP, _CROP = 0, 1  # places in a picture's seed


def preprocess_eval(image_bytes: tf.Tensor, image_size: int, eval_crop: str = "pad32") -> tf.Tensor:
    """The picture as evaluation and serving see it.

    Bicubic resizing overshoots [0, 255] a little at edges; evaluation keeps that, as the official code does.

    Args:
        image_bytes: encoded or decoded picture.
        image_size: side of the result in pixels.
        eval_crop: "pad32" or "0.875" (the central square, see `crop_padding_px`), or "none" (the whole picture).

    Returns:
        float32 [image_size, image_size, 3].

    Raises:
        RecipeError: for an unknown crop.
    """
    if eval_crop == "none":
        return _resize(decode(image_bytes), image_size)
    padding_px = crop_padding_px(image_size, eval_crop)
    return _resize(_decode_window(image_bytes, lambda shape: center_window(shape, image_size, padding_px)), image_size)


def preprocess_train(
    image_bytes: tf.Tensor, image_size: int, seed: tf.Tensor, train_crop: str = "distorted_box", flip: bool = True
) -> tf.Tensor:
    """The picture as one training step sees it, a function of the arguments alone.

    Values are clipped to [0, 255], which the official code does only ahead of AutoAugment: an attack's ball has to lie
    in that range.

    Args:
        image_bytes: encoded or decoded picture.
        image_size: side of the result in pixels.
        seed: int [2], of this picture at this time.
        train_crop: "distorted_box", "pad_and_crop" or "none", as in `DataSpec`.
        flip: mirror it with probability 0.5.

    Returns:
        float32 [image_size, image_size, 3] in [0, 255].

    Raises:
        RecipeError: for an unknown crop.
    """
    fold_in = tf.random.experimental.stateless_fold_in
    crop_seed = fold_in(seed, _CROP)
    if train_crop == "distorted_box":
        image = _decode_window(image_bytes, lambda shape: distorted_window(shape, image_size, crop_seed))
        image = _resize(image, image_size)
    elif train_crop == "pad_and_crop":
        image = augmentation.pad_and_crop(_resize(decode(image_bytes), image_size), crop_seed)
    elif train_crop == "none":
        image = _resize(decode(image_bytes), image_size)
    else:
        raise RecipeError(f"unknown train_crop {train_crop!r}; known: distorted_box, pad_and_crop, none")
    if flip:
        image = augmentation.flip(image, fold_in(seed, _FLIP))
    return tf.clip_by_value(image, 0.0, 255.0)


def crop_padding_px(image_size: int, eval_crop: str) -> int:
    """What a central crop leaves out: its side is image_size / (image_size + padding) of the picture's short side.

    Raises:
        RecipeError: for a crop without one.
    """
    if eval_crop == "pad32":
        return _CROP_PADDING_PX
    if eval_crop == "0.875":
        return round(image_size * (1 / 0.875 - 1))
    raise RecipeError(f"unknown eval_crop {eval_crop!r}; known: pad32, 0.875, none")


def center_window(shape: tf.Tensor, image_size: int, padding_px: int) -> tf.Tensor:
    """The central square of a picture of this height and width, int32 [4] (top, left, height, width).

    The product is float32, as in the official code: in exact arithmetic some sides would come out one pixel smaller.
    """
    share = image_size / (image_size + padding_px)
    side = tf.maximum(1, tf.cast(share * tf.cast(tf.reduce_min(shape), tf.float32), tf.int32))
    begin = (shape - side + 1) // 2
    return tf.stack([begin[0], begin[1], side, side])


def distorted_window(shape: tf.Tensor, image_size: int, seed: tf.Tensor) -> tf.Tensor:
    """A random window of a picture of this height and width, int32 [4] (top, left, height, width).

    8 to 100 % of the area at an aspect of 3/4 to 4/3. When none is found in ten attempts the sampler returns the whole
    picture; the official code takes any such window for a bad sample, and the evaluation's crop instead.
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
    bad = tf.reduce_all(tf.equal(size[:2], shape))
    return tf.where(bad, center_window(shape, image_size, _CROP_PADDING_PX), window)


def decode(picture: tf.Tensor) -> tf.Tensor:
    """Pixels [H, W, 3] of an encoded or decoded picture.

    Grey pictures get three channels, CMYK becomes RGB, 16 bits become 8, animations give their first frame.
    """
    if picture.dtype != tf.string:
        return picture
    return tf.io.decode_image(picture, channels=3, expand_animations=False)


def _decode_window(picture: tf.Tensor, window_of: _WindowOf) -> tf.Tensor:
    """Pixels [h, w, 3] of a window; of a JPEG only the blocks that the window touches are decoded."""

    def of_jpeg() -> tf.Tensor:
        window = window_of(tf.io.extract_jpeg_shape(picture)[:2])
        return tf.io.decode_and_crop_jpeg(picture, window, channels=3)

    def of_pixels() -> tf.Tensor:
        pixels = decode(picture)
        top, left, height, width = tf.unstack(window_of(tf.shape(pixels)[:2]))
        return pixels[top : top + height, left : left + width]

    if picture.dtype != tf.string:
        return of_pixels()
    return tf.cond(tf.io.is_jpeg(picture), of_jpeg, of_pixels)


def _resize(pixels: tf.Tensor, image_size: int) -> tf.Tensor:
    """TF1's bicubic, float32 [image_size, image_size, 3].

    Without half-pixel centres, unlike `tf.image.resize`: the released weights were trained and are scored this way.
    The op itself, because its wrapper in tf.compat.v1 logs a deprecation that does not concern it.
    """
    resized = tf.raw_ops.ResizeBicubic(
        images=pixels[tf.newaxis], size=[image_size, image_size], align_corners=False, half_pixel_centers=False
    )
    return tf.ensure_shape(resized[0], [image_size, image_size, 3])

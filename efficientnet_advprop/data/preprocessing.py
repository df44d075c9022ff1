"""What is done to one image: the official EfficientNet preprocessing, crops for small images, PIL's resize.

Source: `preprocessing.py` of tensorflow/tpu, models/official/efficientnet. An image is encoded (scalar string) or
decoded ([H, W, 3]); results are float32 [image_size, image_size, 3] in pixels of [0, 255].
"""

from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.data.augment import Augmentation, shift_and_flip
from efficientnet_advprop.recipes import RecipeError

# The official constant until November 2021, when the code changed to a central share of 0.875 at every size. The
# released weights, AdvProp's among them, are older.
_CROP_PADDING_PX = 32

# Height and width of an image -> its window (top, left, height, width), all int32 pixels.
_WindowOf = Callable[[tf.Tensor], tf.Tensor]

_FLIP, _CROP, _AUGMENT = range(3)  # places in an image's seed


def preprocess_eval(
    image_bytes: tf.Tensor, image_size: int, eval_crop: str = "pad32", resize: str = "bicubic"
) -> tf.Tensor:
    """The image as evaluation and serving see it.

    Bicubic resizing overshoots [0, 255] a little at edges; evaluation keeps that, as the official code does.

    Args:
        image_bytes: encoded or decoded image.
        image_size: side of the result in pixels.
        eval_crop: "pad32" or "0.875" (the central square, see `crop_padding_px`), or "none" (the whole image).
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
    augmentation: Augmentation | None = None,
) -> tf.Tensor:
    """The image as one training step sees it, a function of the arguments alone.

    Values are clipped to [0, 255], which the official code does only ahead of AutoAugment: an attack's ball has to lie
    in that range.

    Args:
        image_bytes: encoded or decoded image.
        image_size: side of the result in pixels.
        seed: int [2], of this image at this time.
        train_crop: "distorted_box", "pad_and_crop" or "none", as in `DataSpec`.
        flip: mirror it with probability 0.5.
        resize: "bicubic" or "bilinear", as in `DataSpec`.
        augmentation: what `augmented` does to it afterwards.

    Returns:
        float32 [image_size, image_size, 3] in [0, 255].

    Raises:
        RecipeError: for an unknown crop or resize.
    """
    image_bytes = tf.convert_to_tensor(image_bytes)
    fold_in = tf.random.experimental.stateless_fold_in
    crop_seed = fold_in(seed, _CROP)
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
        image = shift_and_flip.flip(image, fold_in(seed, _FLIP))
    image = tf.clip_by_value(image, 0.0, 255.0)
    return image if augmentation is None else augmented(image, seed, augmentation)


def augmented(image: tf.Tensor, seed: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """What `preprocess_train` makes with an augmentation, from what it makes without.

    Args:
        image: float32 [H, W, 3] in [0, 255]; fractions of a grey level are dropped.
        seed: int [2], as `preprocess_train` got it.
        augmentation: from `augment.augmentation_of`.

    Returns:
        float32 [H, W, 3], whole numbers in [0, 255].
    """
    seed = tf.random.experimental.stateless_fold_in(seed, _AUGMENT)
    return tf.cast(augmentation(tf.cast(image, tf.uint8), seed), tf.float32)


def crop_padding_px(image_size: int, eval_crop: str) -> int:
    """What a central crop leaves out: its side is image_size / (image_size + padding) of the image's short side.

    Raises:
        RecipeError: for a crop without one.
    """
    if eval_crop == "pad32":
        return _CROP_PADDING_PX
    if eval_crop == "0.875":
        return round(image_size * (1 / 0.875 - 1))
    raise RecipeError(f"unknown eval_crop {eval_crop!r}; known: pad32, 0.875, none")


def center_window(shape: tf.Tensor, image_size: int, padding_px: int) -> tf.Tensor:
    """The central square of an image of this height and width, int32 [4] (top, left, height, width).

    The product is float32, as in the official code: in exact arithmetic some sides would come out one pixel smaller.
    """
    share = image_size / (image_size + padding_px)
    side = tf.cast(share * tf.cast(tf.reduce_min(shape), tf.float32), tf.int32)
    side = tf.maximum(side, 1)  # of an image of one pixel the official code takes none and fails
    begin = (shape - side + 1) // 2
    return tf.stack([begin[0], begin[1], side, side])


def distorted_window(shape: tf.Tensor, image_size: int, seed: tf.Tensor) -> tf.Tensor:
    """A random window of an image of this height and width, int32 [4] (top, left, height, width).

    8 to 100 % of the area at an aspect of 3/4 to 4/3. When none is found in ten attempts the sampler returns the whole
    image; the official code takes any such window for a bad sample, and the evaluation's crop instead.
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


def decode(image: tf.Tensor) -> tf.Tensor:
    """Pixels [H, W, 3] of an encoded or decoded image.

    Grey images get three channels, CMYK becomes RGB, 16 bits become 8, animations give their first frame.
    """
    if image.dtype != tf.string:
        return image
    return tf.io.decode_image(image, channels=3, expand_animations=False)


def _decode_window(image: tf.Tensor, window_of: _WindowOf) -> tf.Tensor:
    """Pixels [h, w, 3] of a window; of a JPEG only the blocks that the window touches are decoded."""

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
    """float32 [image_size, image_size, 3] in TF1's bicubic way or PIL's bilinear one.

    TF1's is without half-pixel centres, unlike `tf.image.resize`: the released weights were trained and are scored this
    way. The op itself, because its wrapper in tf.compat.v1 logs a deprecation that does not concern it.
    """
    size = [image_size, image_size]
    if resize == "bicubic":
        resized = tf.raw_ops.ResizeBicubic(
            images=pixels[tf.newaxis], size=size, align_corners=False, half_pixel_centers=False
        )[0]
    elif resize == "bilinear":
        resized = tf.image.resize(pixels, size, method="bilinear", antialias=True)
    else:
        raise RecipeError(f"unknown resize {resize!r}; known: bicubic, bilinear")
    return tf.ensure_shape(resized, [*size, 3])

"""MixUp and CutMix: each image of a batch is mixed with its counterpart in the reversed batch, and so are the labels.

A batch is a mapping of views, each float [B, H, W, 3]. All views are mixed in the same way, because they have the same
labels [B, K]. One-hot labels become soft labels, which still sum to 1. `tf.reverse`, because a CPU takes many times as
long for the slice [::-1].
"""

from collections.abc import Mapping

import tensorflow as tf

from efficientnet_advprop.randomness import fold

_LAMBDA, _CENTER = 0, 1  # places in the seed

Views = dict[str, tf.Tensor]


def mixup(views: Mapping[str, tf.Tensor], labels: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[Views, tf.Tensor]:
    """MixUp: convex combinations of two images, with a coefficient for each image of the batch.

    The coefficient of the image itself is max(l, 1 - l) with l from Beta(alpha, alpha), so that it prevails. Source:
    Zhang et al., ICLR 2018; pairs and coefficients as in the official EfficientNet trainer (`imagenet_input.py`).

    Args:
        views: float [B, H, W, 3] each.
        labels: float32 [B, K].
        alpha: above 0; 1 is uniform, smaller values mix less.
        seed: int32 [2].

    Returns:
        The mixed views and labels.
    """
    coefficient = _beta(labels.shape[0], alpha, fold(seed, _LAMBDA))
    coefficient = tf.maximum(coefficient, 1.0 - coefficient)  # [B]
    per_image = coefficient[:, tf.newaxis, tf.newaxis, tf.newaxis]
    mixed = {name: _interpolate(images, per_image) for name, images in views.items()}
    return mixed, _interpolate(labels, coefficient[:, tf.newaxis])


def cutmix(views: Mapping[str, tf.Tensor], labels: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[Views, tf.Tensor]:
    """CutMix: paste a box of the other image, with a box for each image of the batch.

    The box has a fraction 1 - l of the image's area, with l from Beta(alpha, alpha), and the image's aspect ratio. Its
    centre is uniform over the image, and it is clipped at the border; the labels are weighted by the area after
    clipping. Source: Yun et al., ICCV 2019.

    Args:
        views: float [B, H, W, 3] each, all of one size.
        labels: float32 [B, K].
        alpha: above 0; 1, as in the paper, is uniform.
        seed: int32 [2].

    Returns:
        The mixed views and labels.
    """
    batch_size, height, width, channels = next(iter(views.values())).shape
    side = tf.sqrt(1.0 - _beta(batch_size, alpha, fold(seed, _LAMBDA)))  # [B], fraction of the image's side
    centers = tf.random.stateless_uniform([2, batch_size], fold(seed, _CENTER))
    rows = _interval(side, centers[0], height)  # [B, H]
    columns = _interval(side, centers[1], width)  # [B, W]
    area = tf.cast(rows[:, :, tf.newaxis] & columns[:, tf.newaxis], tf.float32)  # [B, H, W]
    kept = 1.0 - tf.reduce_mean(area, axis=[1, 2])[:, tf.newaxis]  # [B, 1]
    box = rows[:, :, tf.newaxis] & tf.repeat(columns, channels, axis=1)[:, tf.newaxis]  # [B, H, 3 W]
    return {name: _pasted(images, box) for name, images in views.items()}, _interpolate(labels, kept)


def _interpolate(values: tf.Tensor, coefficient: tf.Tensor) -> tf.Tensor:
    return values * coefficient + tf.reverse(values, axis=[0]) * (1.0 - coefficient)


def _pasted(images: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """The other image within the box, bool [B, H, 3 W]: a mask that broadcasts along the channels takes longer."""
    rows = tf.reshape(images, box.shape)
    return tf.reshape(tf.where(box, tf.reverse(rows, axis=[0]), rows), images.shape)


def _interval(side: tf.Tensor, center: tf.Tensor, length: int) -> tf.Tensor:
    """Masks, bool [B, length], of intervals: `side` and `center` in [0, 1) are fractions of the length."""
    size = tf.cast(side * length, tf.int32)
    begin = tf.cast(center * length, tf.int32) - size // 2
    position = tf.range(length)
    return (position >= begin[:, tf.newaxis]) & (position < (begin + size)[:, tf.newaxis])


def _beta(batch_size: int, alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Samples of Beta(alpha, alpha), float32 [B]: x / (x + y) of two samples of Gamma(alpha).

    A sample of Gamma(alpha) is one of Gamma(alpha + 1) times u^(1 / alpha), u uniform. Computed in logarithms, because
    for a small alpha the samples themselves underflow.
    """
    gammas = tf.random.stateless_gamma([2, batch_size], fold(seed, 0), alpha + 1.0)
    uniforms = 1.0 - tf.random.stateless_uniform([2, batch_size], fold(seed, 1))  # in (0, 1]
    one, other = tf.unstack(tf.math.log(gammas) + tf.math.log(uniforms) / alpha)
    return tf.sigmoid(one - other)

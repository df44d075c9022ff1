"""MixUp and CutMix: each image of a batch with its counterpart in the reversed batch, and labels to match.

A batch is a mapping of views, each float [B, H, W, 3]; all of them are mixed alike, since they share the labels
[B, K]. Labels that were one-hot become soft, and still sum to 1.
"""

from collections.abc import Mapping

import tensorflow as tf

from efficientnet_advprop.randomness import fold

_LAMBDA, _CENTER = 0, 1  # places in the seed

Views = dict[str, tf.Tensor]


def mixup(views: Mapping[str, tf.Tensor], labels: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[Views, tf.Tensor]:
    """Weighted means of two images; a weight for each of the batch.

    The weight is max(l, 1 - l) with l from Beta(alpha, alpha): the image at hand prevails. Source: Zhang et al., ICLR
    2018; pairs and weights as the official EfficientNet trainer (`imagenet_input.py`).

    Args:
        views: float [B, H, W, 3] each.
        labels: float32 [B, K].
        alpha: above 0; 1 is uniform, smaller mixes less.
        seed: int32 [2].

    Returns:
        The views and the labels, mixed.
    """
    share = _beta(labels.shape[0], alpha, fold(seed, _LAMBDA))
    share = tf.maximum(share, 1.0 - share)  # [B]
    per_image = share[:, tf.newaxis, tf.newaxis, tf.newaxis]
    mixed = {name: _interpolate(images, per_image) for name, images in views.items()}
    return mixed, _interpolate(labels, share[:, tf.newaxis])


def cutmix(views: Mapping[str, tf.Tensor], labels: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[Views, tf.Tensor]:
    """A box of the other image pasted in; a box for each of the batch.

    It has a share 1 - l of the area, with l from Beta(alpha, alpha), and the image's aspect; its centre is uniform
    over the image, and what would lie outside is cut off. The labels weigh what is really left. Source: Yun et al.,
    ICCV 2019.

    Args:
        views: float [B, H, W, 3] each, all of one size.
        labels: float32 [B, K].
        alpha: above 0; 1, the paper's, is uniform.
        seed: int32 [2].

    Returns:
        The views and the labels, mixed.
    """
    batch_size, height, width, _ = next(iter(views.values())).shape
    side = tf.sqrt(1.0 - _beta(batch_size, alpha, fold(seed, _LAMBDA)))  # [B], as a share
    centers = tf.random.stateless_uniform([2, batch_size], fold(seed, _CENTER))
    rows = _interval(side, centers[0], height)  # [B, H]
    columns = _interval(side, centers[1], width)  # [B, W]
    box = (rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :])[..., tf.newaxis]  # [B, H, W, 1]
    kept = 1.0 - tf.reduce_mean(tf.cast(box, tf.float32), axis=[1, 2])  # [B, 1]
    mixed = {name: tf.where(box, images[::-1], images) for name, images in views.items()}
    return mixed, _interpolate(labels, kept)


def _interpolate(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    return values * share + values[::-1] * (1.0 - share)


def _interval(side: tf.Tensor, center: tf.Tensor, length: int) -> tf.Tensor:
    """Masks, bool [B, length], of intervals of these shares of the length around centres in [0, 1)."""
    size = tf.cast(side * length, tf.int32)
    begin = tf.cast(center * length, tf.int32) - size // 2
    position = tf.range(length)
    return (position >= begin[:, tf.newaxis]) & (position < (begin + size)[:, tf.newaxis])


def _beta(batch_size: int, alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Samples of Beta(alpha, alpha), float32 [B]: the share of one of two samples of Gamma(alpha) in their sum.

    A sample of Gamma(alpha) is one of Gamma(alpha + 1) times u^(1 / alpha), u uniform. In logarithms, since under a
    small alpha the samples themselves are too small for a float.
    """
    gammas = tf.random.stateless_gamma([2, batch_size], fold(seed, 0), alpha + 1.0)
    uniforms = 1.0 - tf.random.stateless_uniform([2, batch_size], fold(seed, 1))  # in (0, 1]
    one, other = tf.unstack(tf.math.log(gammas) + tf.math.log(uniforms) / alpha)
    return tf.sigmoid(one - other)

"""The losses that the terms of a scheme name, and what their attacks raise."""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from efficientnet_advprop.attacks import LogitsFunction, LossFunction, attack_loss
from efficientnet_advprop.recipes import CLEAN, CROSS_ENTROPY, KL_FROM_CLEAN, AttackSpec


@dataclasses.dataclass(frozen=True)
class TermLoss:
    """A loss of a term.

    Attributes:
        mean: (name of the term; logits [B, K] by term, of all terms that share its pass; labels [B, K]; label
            smoothing) -> the term's mean loss, a scalar.
        attacked: (logits_fn; images [B, H, W, 3] that the attack starts from; labels [B, K]; the attack; seed [2];
            label smoothing) -> the loss [B] that the attack raises, as a function of the images.
    """

    mean: Callable[[str, Mapping[str, tf.Tensor], tf.Tensor, float], tf.Tensor]
    attacked: Callable[[LogitsFunction, tf.Tensor, tf.Tensor, AttackSpec, tf.Tensor, float], LossFunction]


def mean_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, label_smoothing: float) -> tf.Tensor:
    """[B, K], [B, K] -> scalar."""
    return tf.reduce_mean(
        tf.keras.losses.categorical_crossentropy(labels, logits, from_logits=True, label_smoothing=label_smoothing)
    )


def kl_divergence(reference: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """KL(reference || other) of the predictions of two sets of logits, sum_k p_k (log p_k - log q_k).

    Args:
        reference: logits [B, K] of p.
        logits: [B, K] of q.

    Returns:
        [B]; gradients flow into both.
    """
    log_p, log_q = tf.nn.log_softmax(reference), tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)


def _mean_kl_from_clean(
    name: str, logits: Mapping[str, tf.Tensor], labels: tf.Tensor, label_smoothing: float
) -> tf.Tensor:
    """Labels and their smoothing have no part in it."""
    del labels, label_smoothing
    return tf.reduce_mean(kl_divergence(logits[CLEAN], logits[name]))


def _attacked_kl_from_clean(
    logits_fn: LogitsFunction,
    images: tf.Tensor,
    labels: tf.Tensor,
    spec: AttackSpec,
    seed: tf.Tensor,
    label_smoothing: float,
) -> LossFunction:
    """The divergence from the predictions on the images as they are, which stay fixed."""
    del labels, spec, seed, label_smoothing
    reference = tf.stop_gradient(logits_fn(images))
    return lambda moved: kl_divergence(reference, logits_fn(moved))


TERM_LOSSES = {
    CROSS_ENTROPY: TermLoss(
        mean=lambda name, logits, labels, label_smoothing: mean_cross_entropy(labels, logits[name], label_smoothing),
        attacked=lambda logits_fn, images, labels, spec, seed, label_smoothing: attack_loss(
            logits_fn, labels, spec, seed, label_smoothing
        ),
    ),
    KL_FROM_CLEAN: TermLoss(mean=_mean_kl_from_clean, attacked=_attacked_kl_from_clean),
}

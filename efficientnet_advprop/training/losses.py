"""The losses of a scheme's terms by name, and the losses that their attacks maximise."""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from efficientnet_advprop.attacks import LogitsFunction, LossFunction, attack_loss
from efficientnet_advprop.recipes import CLEAN, CROSS_ENTROPY, KL_FROM_CLEAN, AttackSpec


@dataclasses.dataclass(frozen=True)
class TermLoss:
    """The loss of a term, and that of its attack.

    Attributes:
        mean: (name of the term; logits [B, K] by term, of all terms in the same pass; labels [B, K]; label smoothing)
            -> the term's mean loss, a scalar.
        attacked: (logits_fn; images [B, H, W, 3] before the attack; labels [B, K]; the attack; seed [2]; label
            smoothing) -> the loss [B] that the attack maximises, as a function of the images.
    """

    mean: Callable[[str, Mapping[str, tf.Tensor], tf.Tensor, float], tf.Tensor]
    attacked: Callable[[LogitsFunction, tf.Tensor, tf.Tensor, AttackSpec, tf.Tensor, float], LossFunction]


def mean_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, label_smoothing: float) -> tf.Tensor:
    """The mean over the batch: [B, K], [B, K] -> scalar."""
    return tf.reduce_mean(
        tf.keras.losses.categorical_crossentropy(labels, logits, from_logits=True, label_smoothing=label_smoothing)
    )


def kl_divergence(reference: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """KL(p || q) = sum_k p_k (log p_k - log q_k) of each image, where p and q are the softmax of two sets of logits.

    Args:
        reference: logits [B, K] of p.
        logits: logits [B, K] of q.

    Returns:
        [B], differentiable with respect to both.
    """
    log_p, log_q = tf.nn.log_softmax(reference), tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)


def _mean_kl_from_clean(
    name: str, logits: Mapping[str, tf.Tensor], labels: tf.Tensor, label_smoothing: float
) -> tf.Tensor:
    """The labels and their smoothing are not used."""
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
    """The divergence from the predictions on the unperturbed images, which are constant during the attack."""
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

"""The losses of a scheme's terms by name, and the losses that their attacks maximise."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from efficientnet_advprop.attacks import LogitsFunction, LossFunction, attack_loss
from efficientnet_advprop.recipes import CLEAN, CROSS_ENTROPY, KL_FROM_CLEAN, AttackSpec, Term

Batch = Mapping[str, Any]


class PassLosses(Protocol):
    """What the passes of an objective optimise, and what their attacks maximise."""

    def metric_names(self, terms: Iterable[Term]) -> tuple[str, ...]:
        """Names of the scalars that `of_pass` returns for these terms."""

    def of_pass(self, terms: Sequence[Term], outputs: Any, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The weighted sum of the mean losses of the terms of one pass, and scalars by metric name.

        Args:
            terms: of the pass, B images each.
            outputs: of the network, [terms * B, ...], the terms one after another.
            batch: `labels` and whatever else the losses need, [B, ...] each.
        """

    def attacked(
        self, term: Term, predict: Callable[[tf.Tensor], Any], images: tf.Tensor, batch: Batch, seed: tf.Tensor
    ) -> LossFunction:
        """The loss [B] that the term's attack maximises, as a function of the images.

        Args:
            term: has an attack.
            predict: images [B, H, W, 3] -> outputs.
            images: [B, H, W, 3] before the attack.
            batch: as for `of_pass`.
            seed: [2].
        """


@dataclasses.dataclass(frozen=True)
class TermLoss:
    """The loss of a term, and that of its attack.

    Attributes:
        values: (name of the term; logits [B, K] by term, of all terms in the same pass; labels [B, K]; label smoothing)
            -> the term's loss of each image, [B].
        attacked: (logits_fn; images [B, H, W, 3] before the attack; labels [B, K]; the attack; seed [2]; label
            smoothing) -> the loss [B] that the attack maximises, as a function of the images.
    """

    values: Callable[[str, Mapping[str, tf.Tensor], tf.Tensor, float], tf.Tensor]
    attacked: Callable[[LogitsFunction, tf.Tensor, tf.Tensor, AttackSpec, tf.Tensor, float], LossFunction]


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


def _kl_from_clean(name: str, logits: Mapping[str, tf.Tensor], labels: tf.Tensor, label_smoothing: float) -> tf.Tensor:
    """The labels and their smoothing are not used."""
    del labels, label_smoothing
    return kl_divergence(logits[CLEAN], logits[name])


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
        values=lambda name, logits, labels, label_smoothing: tf.keras.losses.categorical_crossentropy(
            labels, logits[name], from_logits=True, label_smoothing=label_smoothing
        ),
        attacked=lambda logits_fn, images, labels, spec, seed, label_smoothing: attack_loss(
            logits_fn, labels, spec, seed, label_smoothing
        ),
    ),
    KL_FROM_CLEAN: TermLoss(values=_kl_from_clean, attacked=_attacked_kl_from_clean),
}


def metric_names(terms: Iterable[Term]) -> tuple[str, ...]:
    """Names of the logged scalars of these terms."""
    return tuple(f"{quantity}/{term.name}" for term in terms for quantity in ("loss", "top1"))


class LabelLosses:
    """The losses of `TERM_LOSSES`, of logits [B, K] on `labels` [B, K], each row a distribution.

    Args:
        label_smoothing: of every cross-entropy, in the loss and in the attack.
    """

    def __init__(self, label_smoothing: float) -> None:
        self._label_smoothing = label_smoothing

    def metric_names(self, terms: Iterable[Term]) -> tuple[str, ...]:
        """A mean loss and a top-1 accuracy of each term."""
        return metric_names(terms)

    def of_pass(
        self, terms: Sequence[Term], outputs: tf.Tensor, batch: Batch
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As `PassLosses.of_pass`, of logits."""
        labels = batch["labels"]
        logits = {term.name: part for term, part in zip(terms, tf.split(outputs, len(terms)), strict=True)}
        losses = [
            tf.reduce_mean(TERM_LOSSES[term.loss].values(term.name, logits, labels, self._label_smoothing))
            for term in terms
        ]
        metrics: dict[str, tf.Tensor] = {}
        for term, loss in zip(terms, losses, strict=True):
            top1 = tf.reduce_mean(tf.keras.metrics.categorical_accuracy(labels, logits[term.name]))
            metrics |= zip(metric_names([term]), (loss, top1), strict=True)
        return tf.add_n([term.weight * loss for term, loss in zip(terms, losses, strict=True)]), metrics

    def attacked(
        self, term: Term, predict: LogitsFunction, images: tf.Tensor, batch: Batch, seed: tf.Tensor
    ) -> LossFunction:
        """As `PassLosses.attacked`."""
        return TERM_LOSSES[term.loss].attacked(
            predict, images, batch["labels"], term.attack, seed, self._label_smoothing
        )

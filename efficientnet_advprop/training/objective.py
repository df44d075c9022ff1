"""The loss of a scheme and its gradient: one forward and one backward pass per branch.

Total loss = sum over terms of weight * mean loss (the paper's sum over clean and adversarial images, not their mean) +
weight decay. Terms that share a branch run as one batch, so that its batch norm sees their mixture.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.attacks import perturb
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import Term
from efficientnet_advprop.training.losses import TERM_LOSSES

Batch = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class BranchPass:
    """The terms that run as one batch through a branch."""

    branch: str
    terms: tuple[Term, ...]


def branch_passes(terms: Iterable[Term]) -> tuple[BranchPass, ...]:
    """Terms by branch, in order of first appearance."""
    by_branch: dict[str, list[Term]] = {}
    for term in terms:
        by_branch.setdefault(term.branch, []).append(term)
    return tuple(BranchPass(branch, tuple(group)) for branch, group in by_branch.items())


class Gradients(Protocol):
    """An objective: what the step asks for the gradient of a batch.

    Attributes:
        trainable_variables: what it differentiates by.
        metric_names: names of the scalars it returns.
    """

    trainable_variables: list[tf.Variable]
    metric_names: tuple[str, ...]

    def gradients(self, batch: Batch, seed: tf.Tensor) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """The gradient by each of the variables, and scalars by metric name, on one replica."""

    def images_at_once(self, batch_size: int) -> int:
        """Images of the largest pass over a batch of this size."""


def metric_names(terms: Iterable[Term]) -> tuple[str, ...]:
    """Names of what is logged of these terms."""
    return tuple(f"{quantity}/{term.name}" for term in terms for quantity in ("loss", "top1"))


def term_metrics(term: Term, loss: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """What is logged of a term: its mean loss and the accuracy of its logits [B, K] on labels [B, K]."""
    top1 = tf.reduce_mean(tf.keras.metrics.categorical_accuracy(labels, logits))
    return dict(zip(metric_names([term]), (loss, top1), strict=True))


class Objective:
    """The terms of a phase on one model.

    Args:
        model: called as `model(images, training, branch, statistics, seed)`.
        terms: the summands.
        label_smoothing: of every cross-entropy, attacked or not.
    """

    def __init__(self, model: tf.keras.Model, terms: Sequence[Term], label_smoothing: float) -> None:
        self._model = model
        self._passes = branch_passes(terms)
        self._label_smoothing = label_smoothing
        self.metric_names = metric_names(term for branch_pass in self._passes for term in branch_pass.terms)

    def images_at_once(self, batch_size: int) -> int:
        """Images of the largest pass over a batch of this size."""
        return batch_size * max(len(branch_pass.terms) for branch_pass in self._passes)

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """What `gradients` differentiates by, in its order."""
        return self._model.trainable_variables

    def gradients(self, batch: Batch, seed: tf.Tensor) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Gradient and values of the weighted sum of the terms, on one replica.

        Each branch's backward pass ends before the next branch's forward pass begins, so that the activations of only
        one pass are alive at a time.

        Args:
            batch: the views that the terms name, each [B, H, W, 3], and `labels` [B, K].
            seed: int32 [2].

        Returns:
            The gradient for each of the model's trainable variables, and scalars by metric name.
        """
        total: list[tf.Tensor] = []
        metrics: dict[str, tf.Tensor] = {}
        for index, branch_pass in enumerate(self._passes):
            # One edge to wait for: every operation of the pass gets an edge for each name in this list.
            with tf.control_dependencies([tf.group(*total)]):
                gradients, values = self._pass_gradients(branch_pass, batch, fold(seed, index))
            total = [a + b for a, b in zip(total, gradients, strict=True)] if total else gradients
            metrics.update(values)
        return total, metrics

    def _pass_gradients(
        self, branch_pass: BranchPass, batch: Batch, seed: tf.Tensor
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        terms = branch_pass.terms
        images = [self._term_images(term, batch, fold(seed, i)) for i, term in enumerate(terms)]
        with tf.GradientTape() as tape:
            logits = self._model(
                tf.concat(images, 0),  # [terms * B, H, W, 3]
                training=True,
                branch=branch_pass.branch,
                seed=fold(seed, len(terms)),
            )
            by_term = {term.name: part for term, part in zip(terms, tf.split(logits, len(terms)), strict=True)}
            losses = {
                term: TERM_LOSSES[term.loss].mean(term.name, by_term, batch["labels"], self._label_smoothing)
                for term in terms
            }
            loss = tf.add_n([term.weight * losses[term] for term in terms])
        # A branch's pass leaves the other branches' norms alone: zero, not None.
        gradients = tape.gradient(loss, self.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        metrics = {}
        for term in terms:
            metrics |= term_metrics(term, losses[term], batch["labels"], by_term[term.name])
        return gradients, metrics

    def _term_images(self, term: Term, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        """The images of a term [B, H, W, 3], made adversarial if it has an attack.

        The attack runs through the term's own branch, with dropout and drop connect off.
        """
        images, spec = batch[term.view], term.attack
        if spec is None:
            return images

        def logits_fn(images: tf.Tensor) -> tf.Tensor:
            return self._model(images, training=False, branch=term.branch, statistics=spec.batch_norm_mode)

        loss_fn = TERM_LOSSES[term.loss].attacked(
            logits_fn, images, batch["labels"], spec, fold(seed, 0), self._label_smoothing
        )
        return perturb(loss_fn, images, spec, fold(seed, 1))


def micro_batch_gradients(
    objective: Gradients, batch: Batch, seed: tf.Tensor, micro_batches: int
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
    """`objective.gradients`, averaged over equal pieces of the batch that run one after another.

    Memory is that of one piece plus one set of gradients. Batch statistics are those of each piece, and the moving
    statistics move once per piece.

    Args:
        objective: whose gradient is wanted.
        batch: [B, ...] each; B is a multiple of `micro_batches`.
        seed: int32 [2].
        micro_batches: number of pieces.

    Returns:
        As `Objective.gradients`.
    """
    if micro_batches == 1:
        return objective.gradients(batch, seed)
    pieces = {
        name: tf.reshape(value, [micro_batches, value.shape[0] // micro_batches, *value.shape[1:]])
        for name, value in batch.items()
    }  # [M, B / M, ...]

    def add_piece(index: tf.Tensor, sums: tuple) -> tuple[tf.Tensor, tuple]:
        piece = {name: value[index] for name, value in pieces.items()}
        values = objective.gradients(piece, fold(seed, index))
        return index + 1, tf.nest.map_structure(tf.add, sums, values)

    zeros = (
        [tf.zeros_like(variable) for variable in objective.trainable_variables],
        dict.fromkeys(objective.metric_names, tf.constant(0.0)),
    )
    _, sums = tf.while_loop(
        lambda index, _: index < micro_batches,
        add_piece,
        (tf.constant(0), zeros),
        parallel_iterations=1,
        maximum_iterations=micro_batches,
    )
    return tf.nest.map_structure(lambda value: value / micro_batches, sums)

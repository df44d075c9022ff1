"""The loss of a scheme and its gradient: one forward and one backward pass per branch.

Total loss = sum over terms of weight * mean loss + weight decay. As in the paper the losses of clean and adversarial
images are added, not averaged. Terms that share a branch run as one batch, so their batch statistics are joint.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.attacks import perturb
from efficientnet_advprop.barriers import in_order
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import Term
from efficientnet_advprop.training.compilation import run_pass
from efficientnet_advprop.training.losses import Batch as Batch, PassLosses
from efficientnet_advprop.training.network import BranchedNetwork

# By the place of the variable; a pass has none for the batch norms of other branches.
Gradients = dict[int, tf.Tensor]


def branch_passes(terms: Iterable[Term]) -> dict[str, tuple[Term, ...]]:
    """The terms of each branch, which run as one batch; the branches in the order in which they first appear."""
    passes: dict[str, tuple[Term, ...]] = {}
    for term in terms:
        passes[term.branch] = (*passes.get(term.branch, ()), term)
    return passes


class Objective(Protocol):
    """Computes the gradient of a training batch.

    Attributes:
        trainable_variables: the variables it differentiates with respect to.
        metric_names: names of the scalars that `gradients` returns.
    """

    trainable_variables: list[tf.Variable]
    metric_names: tuple[str, ...]

    def gradients(self, batch: Batch, seed: tf.Tensor) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """The gradient for each of the variables, and scalars by metric name, on one replica."""

    def images_at_once(self, batch_size: int) -> int:
        """Number of images in the largest pass over a batch of this size."""


class TermsObjective:
    """The weighted sum of the terms of a phase.

    Args:
        model: called as `model(images, training, branch, statistics, seed)`.
        terms: of the phase.
        losses: of the passes and of the attacks.
        jit_compile: compile each pass, its attack included, with XLA.
    """

    def __init__(
        self, model: BranchedNetwork, terms: Sequence[Term], losses: PassLosses, jit_compile: bool = False
    ) -> None:
        self._model, self._jit_compile = model, jit_compile
        self._passes = branch_passes(terms)
        self._losses = losses
        self.metric_names = losses.metric_names(term for terms in self._passes.values() for term in terms)
        self.trainable_variables = model.trainable_variables

    def images_at_once(self, batch_size: int) -> int:
        """Number of images in the largest pass over a batch of this size."""
        return batch_size * max(map(len, self._passes.values()))

    def gradients(self, batch: Batch, seed: tf.Tensor) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """The gradient of the weighted sum of the terms, and their metrics, on one replica.

        Each branch's backward pass ends before the next branch's forward pass begins, so that only one pass at a time
        keeps its activations in memory.

        Args:
            batch: the views of the terms, each [B, H, W, 3], and what the losses need, such as `labels`.
            seed: [2].

        Returns:
            The gradient for each of the model's trainable variables, and scalars by metric name.
        """
        total: Gradients = {}
        metrics: dict[str, tf.Tensor] = {}
        for index, (branch, terms) in enumerate(self._passes.items()):
            total, batch = in_order(total, batch) if total else (total, batch)
            # Grouped into one operation: every operation of the pass gets a control edge per element of this list.
            with tf.control_dependencies([tf.group(*total.values())]):
                pass_gradients = functools.partial(self._pass_gradients, branch, terms)
                gradients, values = run_pass(self._jit_compile, pass_gradients, batch, fold(seed, index))
            total |= {place: total[place] + one if place in total else one for place, one in gradients.items()}
            metrics.update(values)
        # A variable of no pass, such as those of another phase's branch, has gradient zero, not None.
        variables = enumerate(self.trainable_variables)
        return [total[place] if place in total else tf.zeros_like(one) for place, one in variables], metrics

    def _pass_gradients(
        self, branch: str, terms: tuple[Term, ...], batch: Batch, seed: tf.Tensor
    ) -> tuple[Gradients, dict[str, tf.Tensor]]:
        images = [self._term_images(term, batch, fold(seed, i)) for i, term in enumerate(terms)]
        with tf.GradientTape() as tape:
            outputs = self._model(
                tf.concat(images, 0),  # [terms * B, H, W, 3]
                training=True,
                branch=branch,
                seed=fold(seed, len(terms)),
            )
            loss, metrics = self._losses.of_pass(terms, outputs, batch)
        gradients = tape.gradient(loss, self.trainable_variables)
        return {place: one for place, one in enumerate(gradients) if one is not None}, metrics

    def _term_images(self, term: Term, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        """The images of a term, [B, H, W, 3], adversarial if it has an attack.

        The attack uses the term's own branch, without dropout and drop connect.
        """
        images, spec = batch[term.view], term.attack
        if spec is None:
            return images

        def predict(images: tf.Tensor) -> tf.Tensor:
            return self._model(images, training=False, branch=term.branch, statistics=spec.batch_norm_mode)

        loss_fn = self._losses.attacked(term, predict, images, batch, fold(seed, 0))
        return perturb(loss_fn, images, spec, fold(seed, 1))


def micro_batch_gradients(
    objective: Objective, batch: Batch, seed: tf.Tensor, micro_batches: int
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
    """`objective.gradients`, averaged over micro-batches that run one after another.

    The memory is that of one micro-batch plus one set of gradients. Batch statistics are those of each micro-batch, and
    the moving statistics are updated once per micro-batch.

    Args:
        objective: computes the gradient of a micro-batch.
        batch: [B, ...] each; B is a multiple of `micro_batches`.
        seed: [2].
        micro_batches: number of equal pieces of the batch.

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

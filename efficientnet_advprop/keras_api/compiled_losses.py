"""The losses that a Keras model was compiled with, as the losses of an objective."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.attacks import LossFunction
from efficientnet_advprop.keras_api.example_loss import ExampleLoss, weighted
from efficientnet_advprop.recipes import CROSS_ENTROPY, MAIN_BRANCH, Term
from efficientnet_advprop.training.losses import TERM_LOSSES, Batch, metric_names

# Keys of a batch beside its images.
LABELS = "labels"
SAMPLE_WEIGHTS = "sample_weights"
PASS = "pass"  # of the names of the metrics that hold what was optimised in a pass


class CompiledLosses:
    """The compiled losses of each pass and each attack; see `PassLosses`.

    The terms of a pass are one batch for the compiled loss: outputs are not split before it, because Keras finds the
    logits of a softmax by the tensor that the network gave. A term's weight becomes sample weights.

    Args:
        compiled_loss: (labels, outputs, sample weights) -> this replica's summand of the mean loss.
        example_loss: the same loss of each example, without sample weights.
        activity_losses: branch -> the activity regularisation of its last call.
        update_metrics: (labels, outputs, sample weights) -> None: updates the compiled metrics.
    """

    def __init__(
        self,
        compiled_loss: Callable[[Any, Any, Any], tf.Tensor],
        example_loss: ExampleLoss,
        activity_losses: Callable[[str], list[tf.Tensor]],
        update_metrics: Callable[[Any, Any, Any], None],
    ) -> None:
        self._compiled_loss = compiled_loss
        self._example_loss = example_loss
        self._activity_losses = activity_losses
        self._update_metrics = update_metrics

    def metric_names(self, terms: Iterable[Term]) -> tuple[str, ...]:
        """A mean loss and, of a categorical model, a top-1 accuracy of each term."""
        return tuple(name for name in metric_names(terms) if self._example_loss.categorical or name.startswith("loss/"))

    def of_pass(self, terms: Sequence[Term], outputs: Any, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As `PassLosses.of_pass`: this replica's summand of the loss. Updates the compiled metrics.

        Beside the metrics of `metric_names` it returns what is optimised, under the name `pass/` and its first term's.
        """
        branch = terms[0].branch  # all terms of a pass have the same
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        labels, weights = batch[LABELS], batch.get(SAMPLE_WEIGHTS)
        repeated = _repeated(labels, len(terms))
        loss = self._compiled_loss(repeated, outputs, self._weights_in_pass(terms, outputs, weights))
        loss = tf.cast(loss, tf.float32) * replicas
        for each in self._activity_losses(branch):
            loss += tf.cast(each, tf.float32) * sum(term.weight for term in terms)
        # Of the whole outputs, too: a part of a softmax has lost its logits.
        values = tf.split(self._example_loss(repeated, outputs, _repeated(weights, len(terms))), len(terms))
        parts = _parts(outputs, len(terms))
        by_term = {term.name: part for term, part in zip(terms, parts, strict=True)}
        metrics: dict[str, tf.Tensor] = {}
        for term, losses in zip(terms, values, strict=True):
            if term.loss != CROSS_ENTROPY:
                logits = {name: self._example_loss.logits(part) for name, part in by_term.items()}
                losses = weighted(TERM_LOSSES[term.loss].values(term.name, logits, labels, 0.0), weights)
                loss += tf.reduce_mean(losses) * term.weight
            metrics[f"loss/{term.name}"] = tf.reduce_mean(losses)
            if self._example_loss.categorical:
                one_hot = self._example_loss.one_hot(labels, by_term[term.name])
                top1 = tf.keras.metrics.categorical_accuracy(one_hot, by_term[term.name])
                metrics[f"top1/{term.name}"] = tf.reduce_mean(top1)
        if branch == MAIN_BRANCH:
            self._update_metrics(labels, parts[0], weights)
        metrics[f"{PASS}/{terms[0].name}"] = loss
        return loss / replicas, metrics

    def attacked(
        self, term: Term, predict: Callable[[tf.Tensor], Any], images: tf.Tensor, batch: Batch, seed: tf.Tensor
    ) -> LossFunction:
        """As `PassLosses.attacked`: of each example, without sample weights and regularisation."""
        if term.loss == CROSS_ENTROPY:
            return self._example_loss.attacked(predict, batch[LABELS], term.attack, seed)
        return TERM_LOSSES[term.loss].attacked(
            lambda moved: self._example_loss.logits(predict(moved)), images, batch[LABELS], term.attack, seed, 0.0
        )

    def _weights_in_pass(self, terms: Sequence[Term], outputs: Any, weights: Any) -> Any:
        """Sample weights [terms * B] with which a mean over the pass is the weighted sum of the terms' means.

        The compiled loss knows labels alone: the other terms have weight 0. Each output has weights of its own, of the
        rank of its losses, as Keras multiplies the two by plain broadcasting.
        """
        factors = [len(terms) * term.weight if term.loss == CROSS_ENTROPY else 0.0 for term in terms]
        if factors == [1.0]:
            return weights
        filled = []
        flat = tf.nest.flatten(outputs)
        for output, weight in zip(flat, self._example_loss.by_output(weights), strict=True):
            ones = tf.ones([tf.shape(output)[0] // len(terms), *[1] * (output.shape.rank - 2)])
            each = ones if weight is None else weighted(ones, weight)
            filled.append(tf.concat([factor * each for factor in factors], 0))
        return tf.nest.pack_sequence_as(outputs, filled)


def _repeated(values: Any, times: int) -> Any:
    if times == 1 or values is None:
        return values
    return tf.nest.map_structure(lambda value: None if value is None else tf.concat([value] * times, 0), values)


def _parts(outputs: Any, number: int) -> list[Any]:
    """Outputs [terms * B, ...] of each term, [B, ...]."""
    if number == 1:
        return [outputs]
    split = [tf.split(output, number) for output in tf.nest.flatten(outputs)]
    return [tf.nest.pack_sequence_as(outputs, part) for part in zip(*split, strict=True)]

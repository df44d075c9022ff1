"""Rematerialisation: recompute a block's activations in the backward pass instead of keeping them."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.barriers import barrier, is_under_xla
from efficientnet_advprop.batch_norm import resolve_statistics


def recompute_block(
    block: tf.keras.layers.Layer,
    inputs: tf.Tensor,
    training: bool,
    branch: str,
    statistics: str | None,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """`block(inputs, ...)`, which keeps only its inputs and recomputes the rest for the gradient.

    Only the first computation updates the moving statistics; the others use the same batch statistics and assign
    nothing. Those would be one replica's, so synchronised batch norms are not supported.
    """
    first = resolve_statistics(training, statistics)
    statistics_of_run = itertools.chain([first], itertools.repeat("batch" if first == "update" else first))

    def run(inputs: tf.Tensor) -> tf.Tensor:
        return block(inputs, training=training, branch=branch, statistics=next(statistics_of_run), seed=seed)

    return (_recomputed_under_xla if is_under_xla() else tf.recompute_grad)(run)(inputs)


def _recomputed_under_xla(run: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """As `tf.recompute_grad`, whose recomputation XLA merges with the first computation: it would save nothing.

    The barrier has both the inputs and the upstream gradient. A planned step needs more memory, not less, with a
    barrier on the inputs alone: the recomputation of every block could then start at once.
    """

    @tf.custom_gradient
    def first_run(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> Any:
            inputs_again, upstream = barrier([inputs, upstream])
            with tf.GradientTape() as tape:
                tape.watch(inputs_again)
                outputs = run(inputs_again)
            of_inputs, of_variables = tape.gradient(
                outputs,
                (inputs_again, list(variables)),
                output_gradients=upstream,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            return (of_inputs, of_variables) if variables else of_inputs

        return run(inputs), gradient

    return first_run

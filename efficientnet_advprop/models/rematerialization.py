"""Rematerialisation: recompute a block's activations in the backward pass instead of keeping them."""

import itertools

import tensorflow as tf

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

    @tf.recompute_grad
    def run(inputs: tf.Tensor) -> tf.Tensor:
        return block(inputs, training=training, branch=branch, statistics=next(statistics_of_run), seed=seed)

    return run(inputs)

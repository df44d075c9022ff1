"""Recompute a block in the backward pass instead of keeping its activations."""

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
    """`block(inputs, ...)`, of which only the inputs are kept; the rest is computed again for the gradient.

    The moving averages move in the first computation alone; later ones use the same batch's statistics and assign
    nothing. With synchronised batch norms these would be statistics of one replica, so they are not supported.
    """
    first = resolve_statistics(training, statistics)
    statistics_of_run = itertools.chain([first], itertools.repeat("batch" if first == "update" else first))

    @tf.recompute_grad
    def run(inputs: tf.Tensor) -> tf.Tensor:
        return block(inputs, training=training, branch=branch, statistics=next(statistics_of_run), seed=seed)

    return run(inputs)

"""Recompute a block in the backward pass instead of keeping its activations."""

from typing import Any

import tensorflow as tf


def recompute_block(
    block: tf.keras.layers.Layer, inputs: tf.Tensor, training: bool, branch: str, statistics: str | None, seed: Any
) -> tf.Tensor:
    """`block(inputs, ...)` whose inside is computed again for its gradient.

    The second computation uses the batch's statistics without assigning: the moving averages have moved already.
    """
    calls = iter((statistics, "batch"))

    @tf.recompute_grad
    def run(inputs: tf.Tensor) -> tf.Tensor:
        return block(inputs, training=training, branch=branch, statistics=next(calls), seed=seed)

    return run(inputs)

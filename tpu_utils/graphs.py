"""Graphs that nobody needs any more."""

import gc
from collections.abc import Collection

import tensorflow as tf
from tensorflow.python.framework import ops

_OF_A_GRAPH = "CustomGradient-"


def registered_gradients() -> frozenset[str]:
    """Names of the gradients that traced graphs have registered: one for each swish, for ever."""
    return frozenset(name for name in ops.gradient_registry.list() if name.startswith(_OF_A_GRAPH))


def release_graphs(gradients_before: Collection[str]) -> None:
    """Let go of graphs and variables that were made since, of which nothing may be used any more.

    Keras holds on to them, they refer to each other, and a registered gradient keeps its graph: 0.4 GB for a run of a
    small B0. TensorFlow has no public way to take a gradient back.

    Args:
        gradients_before: `registered_gradients` of that time.
    """
    tf.keras.backend.clear_session()
    for name in registered_gradients() - set(gradients_before):
        del ops.gradient_registry._registry[name]
    gc.collect()

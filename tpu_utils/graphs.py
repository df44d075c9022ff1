"""Graphs: their optimization by TensorFlow, and the release of those no longer needed."""

import gc
from collections.abc import Collection

import tensorflow as tf
from tensorflow.python.framework import ops

_OF_A_GRAPH = "CustomGradient-"


def registered_gradients() -> frozenset[str]:
    """Names of the gradients that traced graphs have registered: one for each swish, never removed by TensorFlow."""
    return frozenset(name for name in ops.gradient_registry.list() if name.startswith(_OF_A_GRAPH))


def release_graphs(gradients_before: Collection[str]) -> None:
    """Free the graphs and variables made since `gradients_before` was taken. They must not be used any more.

    Keras keeps references to them, they form cycles, and each registered gradient keeps its graph alive: 0.4 GB for a
    run of a small B0. TensorFlow has no public function to remove a gradient.

    Args:
        gradients_before: an earlier result of `registered_gradients`.
    """
    tf.keras.backend.clear_session()
    for name in registered_gradients() - set(gradients_before):
        del ops.gradient_registry._registry[name]
    gc.collect()


def set_graph_optimizer(enabled: bool) -> None:
    """Switch Grappler on or off for functions traced from now on.

    It is slow for deep networks: it takes a third of the 160 s before the first step of an EfficientNet-B7 on CPU, and
    does not make the steps faster.
    """
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not enabled})

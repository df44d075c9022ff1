"""Batch norms folded into the layers before them, for inference."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from efficientnet_advprop.models.auxiliary_view import BATCH_NORMS, check_graph, is_graph

layers = tf.keras.layers
Layer = layers.Layer

# By exact type: Conv2DTranspose, a subclass of Conv2D, has its output channels elsewhere in the kernel.
FOLDABLE = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)


def fold_batch_norms(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of a model for inference, with each linear layer and the batch norm after it in one layer with a bias.

    Folded are Conv2D, DepthwiseConv2D, SeparableConv2D and Dense without an activation, whose output goes to one
    BatchNormalization or SyncBatchNormalization over the channels (the last axis) and nowhere else. In place of the
    norm stands an Activation("linear") of its name, which computes nothing. Other norms stay. In float32 the outputs
    differ by rounding errors. Trained further, the copy has no statistics of those norms to keep.

    Args:
        model: functional or Sequential, built; nested models are folded too. It shares nothing with the copy.

    Raises:
        ValueError: for a model that is not built, or not functional or Sequential; or without anything to fold.
    """
    check_graph(model)
    pairs = _pairs(list(_graphs(model)))
    if not pairs:
        raise ValueError(f"{model.name!r} has no batch norm right after a {' or '.join(c.__name__ for c in FOLDABLE)}")
    copies: dict[int, tuple[Layer, Layer]] = {}
    folded = _copy(model, {id(norm) for norm in pairs.values()}, pairs, copies)
    if not folded.built:
        folded.build(model.input_shape)
    for original, copy in copies.values():
        norm = pairs.get(id(original))
        copy.set_weights(original.get_weights() if norm is None else _folded_weights(original, norm))
    return folded


def _graphs(model: tf.keras.Model) -> Iterator[tf.keras.Model]:
    """A model and its nested functional and Sequential models, each once."""
    return (graph for graph in (model, *model.submodules) if is_graph(graph))


def _pairs(graphs: list[tf.keras.Model]) -> dict[int, Layer]:
    """The norm to fold into each layer, by the layer's id."""
    nodes = [node for graph in graphs for at_depth in graph._nodes_by_depth.values() for node in at_depth]
    calls = Counter(id(node.layer) for node in nodes)
    consumers = Counter(id(parent.layer) for node in nodes for parent in node.parent_nodes)
    outputs = {id(tensor.node.layer) for graph in graphs for tensor in graph.outputs}
    pairs = {}
    for node in nodes:
        if type(node.layer) not in BATCH_NORMS or node.call_kwargs.get("training") or calls[id(node.layer)] > 1:
            continue
        [layer] = [parent.layer for parent in node.parent_nodes]
        used_once = calls[id(layer)] == consumers[id(layer)] == 1 and id(layer) not in outputs
        if used_once and _is_linear(layer) and list(node.layer.axis) == [len(node.output_shapes) - 1]:
            pairs[id(layer)] = node.layer
    return pairs


def _is_linear(layer: Layer) -> bool:
    return (
        type(layer) in FOLDABLE
        and layer.activation is tf.keras.activations.linear
        and getattr(layer, "data_format", "channels_last") == "channels_last"
    )


def _copy(
    model: tf.keras.Model, folded: set[int], pairs: dict[int, Layer], copies: dict[int, tuple[Layer, Layer]]
) -> tf.keras.Model:
    """The model with new layers, noted in `copies` with their originals; their weights are still to be set."""
    nested: dict[int, tf.keras.Model] = {}

    def copy(layer: Layer) -> Layer:
        if is_graph(layer):
            if id(layer) not in nested:
                nested[id(layer)] = tf.keras.models.clone_model(layer, clone_function=copy)
            return nested[id(layer)]
        if id(layer) in folded:
            return layers.Activation("linear", name=layer.name, dtype=layer.dtype_policy)
        if id(layer) not in copies:
            config = layer.get_config() | ({"use_bias": True} if id(layer) in pairs else {})
            copies[id(layer)] = layer, type(layer).from_config(config)
        return copies[id(layer)][1]

    return tf.keras.models.clone_model(model, clone_function=copy)


def _folded_weights(layer: Layer, norm: Layer) -> list[np.ndarray]:
    """Kernels and bias that give `norm(layer(inputs))` at inference."""
    kernels = [weight.astype(np.float64) for weight in layer.get_weights()]
    bias = kernels.pop() if layer.use_bias else 0.0
    scale = 1 / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + norm.epsilon)
    if norm.scale:
        scale = scale * norm.gamma.numpy()
    bias = (bias - norm.moving_mean.numpy()) * scale + (norm.beta.numpy() if norm.center else 0.0)
    last = kernels[-1]
    # A depthwise kernel [h, w, C, multiplier] has its C * multiplier output channels in two axes.
    kernels[-1] = last * (scale.reshape(last.shape[2:]) if type(layer) is layers.DepthwiseConv2D else scale)
    return [*kernels, bias]

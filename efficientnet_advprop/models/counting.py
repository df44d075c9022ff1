"""Multiply-adds of a network, counted from its traced inference."""

import collections
import math

import tensorflow as tf

CONVOLUTION, DEPTHWISE, PRODUCT = "Conv2D", "DepthwiseConv2dNative", "MatMul"


def multiply_adds(model: tf.keras.Model, image_size: int) -> dict[str, int]:
    """Multiply-adds of inference on one image of this side, in pixels, by type of operation.

    The types are those of TensorFlow: `CONVOLUTION`, `DEPTHWISE` and `PRODUCT`. As in published counts, batch norms
    (folded into the convolutions at inference), activations and pooling are not counted.
    """
    image = tf.TensorSpec([1, image_size, image_size, 3])
    graph = tf.function(model).get_concrete_function(image).graph
    counts: dict[str, int] = collections.Counter()
    for operation in graph.get_operations():
        if operation.type in (CONVOLUTION, DEPTHWISE, PRODUCT):
            counts[operation.type] += _multiply_adds(operation)
    return dict(counts)


def _multiply_adds(operation: tf.Operation) -> int:
    """The number of output values times the number of products summed in each."""
    kernel = operation.inputs[1].shape.as_list()  # [h, w, C, filters], [h, w, C, multiplier] or [C, classes]
    # A depthwise convolution does not sum over channels.
    summed = kernel[:2] if operation.type == DEPTHWISE else kernel[:-1]
    return operation.outputs[0].shape.num_elements() * math.prod(summed)

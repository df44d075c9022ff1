"""Grouped convolutions whose gradients work on CPUs too.

TensorFlow computes a grouped convolution on every device, but its gradients on GPUs, on TPUs and under XLA alone: on a
CPU oneDNN's kernels have them for float32 and bfloat16 without explicit padding, the others have none. So on a CPU the
gradients are computed group by group, by the same sums. A ResNeXt's 3x3 convolution with its gradients takes 1.2 to 1.5
times as long as by oneDNN's grouped kernels where these exist (float32, 128 to 1024 channels, two cores), one dense
kernel with zeros outside of the groups 7 to 27 times, and what XLA compiles for a CPU over 100 times.

The forward operation is always the grouped one. A SavedModel therefore serves on any device, wherever it was written.
"""

from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.barriers import is_under_xla

Padding = str | list[list[int]]


def has_grouped_gradients() -> bool:
    """Whether TensorFlow has the gradients of grouped convolutions for what is traced here.

    It has them under XLA, for whatever device that compiles, and on GPUs and TPUs. A process with one of these is taken
    to compute on it.
    """
    return is_under_xla() or any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


def grouped_conv2d(inputs: tf.Tensor, kernel: tf.Tensor, strides: int, padding: Padding) -> tf.Tensor:
    """A convolution of groups of channels, each with its own part of the kernel.

    Args:
        inputs: [B, H, W, C].
        kernel: [h, w, C / groups, filters]; the first of its filters / groups outputs are those of the first group.
        strides: in both dimensions.
        padding: "SAME", or the pixels before and after in each of the four dimensions.

    Returns:
        [B, ceil(H / strides), ceil(W / strides), filters].
    """
    if has_grouped_gradients():
        return tf.nn.conv2d(inputs, kernel, strides, padding)
    groups = inputs.shape[-1] // kernel.shape[2]

    @tf.custom_gradient
    def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _gradients(inputs, kernel, upstream, groups, strides, padding)

        return tf.nn.conv2d(inputs, kernel, strides, padding), gradient

    return convolve(inputs, kernel)


def _gradients(
    inputs: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor, groups: int, strides: int, padding: Padding
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients of the inputs and of the kernel, one group after the other."""
    steps = [1, strides, strides, 1]
    parts = [tf.split(tensor, groups, axis=-1) for tensor in (inputs, kernel, upstream)]
    of_inputs, of_kernel = [], []
    for part, part_kernel, part_upstream in zip(*parts, strict=True):
        of_inputs.append(
            tf.compat.v1.nn.conv2d_backprop_input(tf.shape(part), part_kernel, part_upstream, steps, padding)
        )
        of_kernel.append(
            tf.compat.v1.nn.conv2d_backprop_filter(part, tf.shape(part_kernel), part_upstream, steps, padding)
        )
    return tf.concat(of_inputs, axis=-1), tf.concat(of_kernel, axis=-1)

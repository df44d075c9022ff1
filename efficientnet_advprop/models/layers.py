"""Normalisation of the input, and layers: convolution with batch norm, squeeze and excitation, drop connect."""

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from efficientnet_advprop.batch_norm import AuxBatchNormalization, resolve_statistics
from efficientnet_advprop.models.grouped import Padding, grouped_conv2d, has_grouped_gradients
from efficientnet_advprop.models.units import Activation, Unit
from efficientnet_advprop.randomness import drawn_seed, uniform

# Channel means and standard deviations of ImageNet's training images, in pixels (`efficientnet_builder.py`).
_IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_IMAGENET_STDDEV = (0.229 * 255, 0.224 * 255, 0.225 * 255)


def normalize(images: tf.Tensor, preprocessing: str) -> tf.Tensor:
    """Normalise pixels for the network's first layer.

    Args:
        images: float32 [B, H, W, 3] in [0, 255].
        preprocessing: "advprop" (to [-1, 1], as `eval_ckpt_main.py` does for the AdvProp weights, so that epsilon is
            the same in every channel) or "imagenet" (zero mean and unit variance in each channel over ImageNet).
    """
    if preprocessing == "advprop":
        return images * (2.0 / 255.0) - 1.0
    return (images - tf.constant(_IMAGENET_MEAN)) / tf.constant(_IMAGENET_STDDEV)


@tf.custom_gradient
def silu(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """`tf.nn.silu`, bit by bit, with a third of its operations: without a factor beta, and beta's gradient.

    A network has up to hundreds of them in every pass, and what a graph has takes time before the first step.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([upstream]):  # computed again, so that only the features are kept
            gate = tf.sigmoid(features)
        return upstream * (gate * (1.0 + features * (1.0 - gate)))

    return features * tf.sigmoid(features), gradient


def kernel_initializer() -> tf.keras.initializers.Initializer:
    """Normal with standard deviation sqrt(2 / (height * width * last dimension)), from `efficientnet_model.py`.

    It is not truncated, unlike that of Keras' EfficientNet. The last dimension of a depthwise kernel is its multiplier,
    1. For ResNets this is torchvision's initialisation (He et al., arXiv 1502.01852, fan-out).
    """
    return tf.keras.initializers.VarianceScaling(scale=2.0, mode="fan_out", distribution="untruncated_normal")


def build_inner(layer: tf.keras.layers.Layer, input_shape: tf.TensorShape) -> None:
    """Create a layer's variables under the layer's name.

    Keras enters this scope when it calls a layer, but not when a layer builds those inside it. Without it all kernels
    of a block have the same name, and Keras' .h5 files need names that are unique in a layer. Checkpoints and
    SavedModels store variables under their object paths, not under these names.
    """
    with tf.name_scope(layer.name):
        layer.build(input_shape)


class ConvNorm(tf.keras.layers.Layer):
    """A convolution without bias, a batch norm and an activation.

    With running statistics the batch norm is a fixed scale and shift per channel, which is folded into the kernel. This
    saves one pass over the activations in every attack step and in evaluation (an attack step takes 0.61 instead of
    0.70 of a B0 training step).

    Args:
        filters: output channels; None makes the convolution depthwise.
        kernel_size: side of the kernel, in pixels.
        strides: stride of the convolution in both dimensions.
        activation: applied last; None is the identity.
        norm_options: arguments of `AuxBatchNormalization`.
        symmetric_padding: pad each side by half the kernel, as PyTorch and TF's ResNets do. "SAME" pads a strided
            convolution of an image of even size more at the bottom and right: the same output size, other pixels.
        groups: of channels that are convolved on their own; it divides the channels of input and output.
    """

    def __init__(
        self,
        filters: int | None,
        kernel_size: int,
        strides: int,
        activation: Callable[[tf.Tensor], tf.Tensor] | None,
        norm_options: dict[str, Any],
        symmetric_padding: bool = False,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.activation = activation
        self.groups = groups
        self.padding: Padding = "SAME"
        if symmetric_padding and strides > 1:
            side = [(kernel_size - 1) // 2] * 2
            self.padding = [[0, 0], side, side, [0, 0]]
        self.norm = AuxBatchNormalization(**norm_options, name="norm")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the kernel and the batch norms."""
        channels = input_shape[-1]
        self.output_filters = self.filters or channels
        shape = (self.kernel_size, self.kernel_size, channels // self.groups, self.filters or 1)
        # No autocast: folding multiplies the kernel in float32 under every precision policy.
        self.kernel = self.add_weight("kernel", shape, initializer=kernel_initializer(), experimental_autocast=False)
        build_inner(self.norm, tf.TensorShape([None, None, None, self.output_filters]))
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, training: bool = False, branch: str = "main", statistics: str | None = None
    ) -> tf.Tensor:
        """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), output_filters]."""
        if resolve_statistics(training, statistics) == "running":
            outputs = self._folded(inputs, self.norm.norm(branch))
        else:
            outputs = self._convolve(inputs, self.kernel)
            outputs = self.norm(outputs, training=training, branch=branch, statistics=statistics)
        return outputs if self.activation is None else self.activation(outputs)

    def _folded(self, inputs: tf.Tensor, norm: tf.keras.layers.BatchNormalization) -> tf.Tensor:
        scale = norm.gamma * tf.math.rsqrt(norm.moving_variance + norm.epsilon)  # [output_filters]
        shift = norm.beta - norm.moving_mean * scale
        scale = scale if self.filters else scale[:, tf.newaxis]  # a depthwise kernel is [h, w, C, 1]
        return tf.nn.bias_add(self._convolve(inputs, self.kernel * scale), tf.cast(shift, inputs.dtype))

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(kernel, inputs.dtype)
        if self.groups > 1:
            return grouped_conv2d(inputs, kernel, self.strides, self.padding)
        if self.filters:
            return tf.nn.conv2d(inputs, kernel, self.strides, self.padding)
        return tf.nn.depthwise_conv2d(inputs, kernel, [1, self.strides, self.strides, 1], self.padding)

    def activations(self, size: int) -> list[Activation]:
        """The inputs of the batch norm and of the activation, which relu's gradient does not read, and the output."""
        convolved = Activation(-(-size // self.strides), self.output_filters)
        after = convolved._replace(is_recomputed=True)
        return [convolved, after] if self.activation in (None, tf.nn.relu) else [convolved, after, after]


def gradients_are_by_group(network: tf.keras.Model) -> bool:
    """Whether the network's layers compute gradients group by group outside of XLA, as `models.grouped` describes."""
    layers = (module for module in network.submodules if isinstance(module, ConvNorm))
    return any(layer.groups > 1 for layer in layers) and not has_grouped_gradients()


def chained(units: Iterable[Unit], size: int) -> list[Activation]:
    """`activations` of consecutive units."""
    activations = [Activation(size, 0)]
    for unit in units:
        activations += unit.activations(activations[-1].size)
    return activations[1:]


def spatial_means(inputs: tf.Tensor, keepdims: bool = False) -> tf.Tensor:
    """Global average pooling: [B, H, W, C] -> [B, C], or [B, 1, 1, C] with `keepdims`.

    In float16 over one axis after the other: H * W is infinite there from 65,520 on (B6 has 264 x 264 values per
    channel at first), which makes the gradient 0, and on a CPU a sum of so many values is far off.
    """
    if inputs.dtype == tf.float16:
        inputs = tf.reduce_mean(inputs, axis=1, keepdims=True)
    return tf.reduce_mean(inputs, axis=(1, 2), keepdims=keepdims)


class SqueezeExcite(tf.keras.layers.Layer):
    """Squeeze and excitation: scale each channel by a gate in (0, 1) computed from the means of all channels.

    Args:
        reduced_filters: channels between the two 1x1 convolutions.
    """

    def __init__(self, reduced_filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reduced_filters = reduced_filters

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the two 1x1 convolutions."""
        channels = input_shape[-1]
        convolution = tf.keras.layers.Conv2D
        self.reduce = convolution(self.reduced_filters, 1, kernel_initializer=kernel_initializer(), name="reduce")
        self.expand = convolution(channels, 1, kernel_initializer=kernel_initializer(), name="expand")
        build_inner(self.reduce, tf.TensorShape([None, 1, 1, channels]))
        build_inner(self.expand, tf.TensorShape([None, 1, 1, self.reduced_filters]))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, C]."""
        means = spatial_means(inputs, keepdims=True)  # [B, 1, 1, C]
        return inputs * tf.sigmoid(self.expand(silu(self.reduce(means))))


def drop_connect(inputs: tf.Tensor, survival_prob: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Stochastic depth: keep each example's residual path with this probability, and divide it by the probability.

    Args:
        inputs: residual path, [B, H, W, C].
        survival_prob: probability to keep it.
        seed: [2]; None draws one. The network gives it; Keras' SavedModels trace blocks on their own.
    """
    seed = drawn_seed() if seed is None else seed
    # Drawn in float32: bfloat16 is too coarse for the probability.
    kept = uniform((tf.shape(inputs)[0], 1, 1, 1), seed) < survival_prob
    return inputs * (tf.cast(kept, inputs.dtype) / survival_prob)


def scaled_filters(filters: int, width_coefficient: float, divisor: int = 8) -> int:
    """Channels times the coefficient, rounded to a multiple of the divisor but not below 90 % of the product."""
    scaled = filters * width_coefficient
    rounded = max(divisor, int(scaled + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * scaled else rounded

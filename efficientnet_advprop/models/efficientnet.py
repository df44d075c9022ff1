"""EfficientNet B0-B8 and L2 with a batch norm per branch.

Source: `efficientnet_builder.py` and `efficientnet_model.py` of tensorflow/tpu, models/official/efficientnet.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from efficientnet_advprop.models.layers import (
    ConvNorm,
    SqueezeExcite,
    build_inner,
    chained,
    drop_connect,
    scaled_filters,
    silu,
)
from efficientnet_advprop.models.network import Network
from efficientnet_advprop.models.units import Activation, Block, residual_blocks
from efficientnet_advprop.recipes import MAIN_BRANCH, NetworkSpec

_STEM_FILTERS = 32
_HEAD_FILTERS = 1280
_SE_RATIO = 0.25


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """An inverted bottleneck: 1x1 expansion, depthwise convolution, squeeze and excitation, 1x1 projection."""

    kernel_size: int
    strides: int
    expand_ratio: int
    input_filters: int
    output_filters: int


# The stages of B0: number of blocks, and the first block.
_B0_STAGES = (
    (1, BlockSpec(3, 1, 1, 32, 16)),
    (2, BlockSpec(3, 2, 6, 16, 24)),
    (2, BlockSpec(5, 2, 6, 24, 40)),
    (3, BlockSpec(3, 2, 6, 40, 80)),
    (3, BlockSpec(5, 1, 6, 80, 112)),
    (4, BlockSpec(5, 2, 6, 112, 192)),
    (1, BlockSpec(3, 1, 6, 192, 320)),
)


def stage_repeats(depth_coefficient: float) -> list[int]:
    """The number of blocks in each stage of a scaled network, rounded up."""
    return [math.ceil(depth_coefficient * repeats) for repeats, _ in _B0_STAGES]


def block_specs(width_coefficient: float, depth_coefficient: float) -> Iterator[BlockSpec]:
    """The blocks of a scaled network, in order. Channels are rounded."""
    for repeats, (_, first) in zip(stage_repeats(depth_coefficient), _B0_STAGES, strict=True):
        output_filters = scaled_filters(first.output_filters, width_coefficient)
        yield dataclasses.replace(
            first,
            input_filters=scaled_filters(first.input_filters, width_coefficient),
            output_filters=output_filters,
        )
        for _ in range(repeats - 1):
            yield dataclasses.replace(first, strides=1, input_filters=output_filters, output_filters=output_filters)


class MBConvBlock(tf.keras.layers.Layer):
    """An inverted bottleneck with squeeze and excitation, with a skip connection if input and output have one shape.

    Args:
        spec: sizes.
        survival_prob: probability that the residual path is kept in training.
        zero_init_residual: initialise a block with a skip connection as the identity.
        norm_options: arguments of `AuxBatchNormalization`.
    """

    def __init__(
        self,
        spec: BlockSpec,
        survival_prob: float,
        zero_init_residual: bool,
        norm_options: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.output_filters = spec.output_filters
        self.survival_prob = survival_prob
        self.is_residual = spec.strides == 1 and spec.input_filters == spec.output_filters
        self.drops = self.is_residual and survival_prob < 1
        self.expand = None
        if spec.expand_ratio != 1:
            self.expand = ConvNorm(spec.input_filters * spec.expand_ratio, 1, 1, silu, norm_options, name="expand")
        self.depthwise = ConvNorm(None, spec.kernel_size, spec.strides, silu, norm_options, name="depthwise")
        self.squeeze_excite = SqueezeExcite(max(1, int(spec.input_filters * _SE_RATIO)), name="squeeze_excite")
        gamma_initializer = "zeros" if zero_init_residual and self.is_residual else "ones"
        last_options = {**norm_options, "gamma_initializer": gamma_initializer}
        self.project = ConvNorm(spec.output_filters, 1, 1, None, last_options, name="project")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the variables of all layers."""
        expanded = tf.TensorShape([None, None, None, self.spec.input_filters * self.spec.expand_ratio])
        if self.expand is not None:
            build_inner(self.expand, input_shape)
        for layer in (self.depthwise, self.squeeze_excite, self.project):
            build_inner(layer, expanded)
        super().build(input_shape)

    def call(
        self,
        inputs: tf.Tensor,
        training: bool = False,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), output_filters].

        `seed`, [2], is this block's.
        """
        norm_arguments = {"training": training, "branch": branch, "statistics": statistics}
        outputs = inputs if self.expand is None else self.expand(inputs, **norm_arguments)
        outputs = self.depthwise(outputs, **norm_arguments)
        outputs = self.project(self.squeeze_excite(outputs), **norm_arguments)
        if not self.is_residual:
            return outputs
        if training and self.drops:
            outputs = drop_connect(outputs, self.survival_prob, seed)
        return outputs + inputs

    def activations(self, size: int) -> list[Activation]:
        """Those of the layers, the depthwise layer's outputs after scaling by the gates, and the output."""
        *inside, output = chained([unit for unit in (self.expand, self.depthwise, self.project) if unit], size)
        gated = Activation(output.size, self.depthwise.output_filters, is_recomputed=True)
        return [*inside, gated, output._replace(is_recomputed=not self.is_residual)]


class EfficientNet(Network):
    """EfficientNet: a strided stem, inverted bottlenecks and a 1x1 head; arguments as for `Network`."""

    def make_layers(self, spec: NetworkSpec, norm_options: dict[str, Any]) -> tuple[ConvNorm, list[Block], ConvNorm]:
        """Stem, blocks and head."""
        sizes = list(block_specs(spec.width_coefficient, spec.depth_coefficient))
        stem_filters = scaled_filters(_STEM_FILTERS, spec.width_coefficient)
        head_filters = scaled_filters(_HEAD_FILTERS, spec.width_coefficient)
        return (
            ConvNorm(stem_filters, 3, spec.stem_strides, silu, norm_options, name="stem"),
            residual_blocks(MBConvBlock, sizes, spec, norm_options),
            ConvNorm(head_filters, 1, 1, silu, norm_options, name="head"),
        )

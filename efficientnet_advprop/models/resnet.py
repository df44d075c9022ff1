"""ResNet-50, 101, 152 and 200, and ResNeXt-50 and 101, with a batch norm per branch.

Sources: He et al., arXiv 1512.03385, table 1, and 1603.05027 for the depth of ResNet-200; Saining Xie et al.,
1611.05431, table 1, for ResNeXt, whose bottlenecks are wider and have a grouped convolution. This is "v1.5": as in
torchvision and TensorFlow's official ResNet, the stride of a bottleneck is in its 3x3 convolution, not in its first 1x1
one, which gains about half a point of top-1. Strided layers pad symmetrically, as these two do, so that their published
weights would fit.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from efficientnet_advprop.models.layers import ConvNorm, build_inner, chained, drop_connect, scaled_filters
from efficientnet_advprop.models.network import Network
from efficientnet_advprop.models.units import Activation, Block, residual_blocks
from efficientnet_advprop.recipes import MAIN_BRANCH, NetworkSpec

_STEM_FILTERS = 64
_STAGE_FILTERS = (64, 128, 256, 512)
_EXPANSION = 4


class Architecture(NamedTuple):
    """What the network's name stands for.

    Attributes:
        repeats: the number of bottlenecks in each stage.
        groups: of the 3x3 convolutions; ResNeXt's cardinality.
        base_width: channels of each group in a stage of 64 filters.
    """

    repeats: tuple[int, ...]
    groups: int = 1
    base_width: int = 64

    def bottleneck_width(self, filters: int) -> int:
        """Channels of the 3x3 convolution in a stage of so many filters: rounded down in each group, but at least 1."""
        return max(1, filters * self.base_width // 64) * self.groups


_ARCHITECTURES = {
    "resnet-50": Architecture((3, 4, 6, 3)),
    "resnet-101": Architecture((3, 4, 23, 3)),
    "resnet-152": Architecture((3, 8, 36, 3)),
    "resnet-200": Architecture((3, 24, 36, 3)),
    "resnext-50-32x4d": Architecture((3, 4, 6, 3), 32, 4),
    "resnext-101-32x8d": Architecture((3, 4, 23, 3), 32, 8),
    "resnext-101-32x16d": Architecture((3, 4, 23, 3), 32, 16),
    "resnext-101-32x32d": Architecture((3, 4, 23, 3), 32, 32),
    "resnext-101-32x48d": Architecture((3, 4, 23, 3), 32, 48),
}


@dataclasses.dataclass(frozen=True)
class BottleneckSpec:
    """A bottleneck: 1x1 reduction, 3x3 convolution of `width` channels in groups, 1x1 expansion."""

    strides: int
    input_filters: int
    width: int
    output_filters: int
    groups: int


def bottleneck_specs(
    architecture: Architecture, width_coefficient: float, depth_coefficient: float
) -> Iterator[BottleneckSpec]:
    """The bottlenecks of a scaled network, in order. Channels are rounded, numbers of bottlenecks rounded up."""
    input_filters = scaled_filters(_STEM_FILTERS, width_coefficient)
    for stage, (stage_repeats, stage_filters) in enumerate(zip(architecture.repeats, _STAGE_FILTERS, strict=True)):
        filters = scaled_filters(stage_filters, width_coefficient)
        for repeat in range(math.ceil(depth_coefficient * stage_repeats)):
            # The first stage follows the max pool, which has stride 2.
            strides = 2 if stage > 0 and repeat == 0 else 1
            width, output_filters = architecture.bottleneck_width(filters), filters * _EXPANSION
            yield BottleneckSpec(strides, input_filters, width, output_filters, architecture.groups)
            input_filters = output_filters


class PooledStem(ConvNorm):
    """A 7x7 convolution (stride 2 in the published networks), batch norm, relu, and a 3x3 max pool of stride 2."""

    def __init__(self, filters: int, strides: int, norm_options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(filters, 7, strides, tf.nn.relu, norm_options, symmetric_padding=True, **kwargs)

    def call(
        self,
        inputs: tf.Tensor,
        training: bool = False,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
    ) -> tf.Tensor:
        """[B, H, W, 3] -> [B, ceil(H / (2 strides)), ceil(W / (2 strides)), filters]."""
        outputs = super().call(inputs, training=training, branch=branch, statistics=statistics)
        # Padded separately, because XLA's max pool has no explicit padding. After relu, zeros are as good as -infinity.
        outputs = tf.pad(outputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return tf.nn.max_pool2d(outputs, 3, 2, "VALID")

    def activations(self, size: int) -> list[Activation]:
        """Those of the convolution, the max pool's input with its padding, and the output."""
        *_, pooled = activations = super().activations(size)
        padded = Activation(pooled.size + 2, self.output_filters, is_recomputed=True)
        return [*activations, padded, Activation(-(-pooled.size // 2), self.output_filters)]


class Bottleneck(tf.keras.layers.Layer):
    """A residual bottleneck with relu after the addition, and a projection shortcut where the shape changes.

    Args:
        spec: sizes.
        survival_prob: probability that the residual path is kept in training.
        zero_init_residual: initialise the residual path to zero.
        norm_options: arguments of `AuxBatchNormalization`.
    """

    def __init__(
        self,
        spec: BottleneckSpec,
        survival_prob: float,
        zero_init_residual: bool,
        norm_options: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.output_filters = spec.output_filters
        self.survival_prob = survival_prob
        self.drops = survival_prob < 1
        relu = tf.nn.relu
        self.reduce = ConvNorm(spec.width, 1, 1, relu, norm_options, name="reduce")
        self.filter = ConvNorm(
            spec.width, 3, spec.strides, relu, norm_options, symmetric_padding=True, groups=spec.groups, name="filter"
        )
        last_options = {**norm_options, "gamma_initializer": "zeros" if zero_init_residual else "ones"}
        self.expand = ConvNorm(spec.output_filters, 1, 1, None, last_options, name="expand")
        self.shortcut = None
        if spec.strides != 1 or spec.input_filters != spec.output_filters:
            self.shortcut = ConvNorm(spec.output_filters, 1, spec.strides, None, norm_options, name="shortcut")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the variables of all layers."""
        reduced = tf.TensorShape([None, None, None, self.spec.width])
        build_inner(self.reduce, input_shape)
        build_inner(self.filter, reduced)
        build_inner(self.expand, reduced)
        if self.shortcut is not None:
            build_inner(self.shortcut, input_shape)
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
        outputs = self.filter(self.reduce(inputs, **norm_arguments), **norm_arguments)
        outputs = self.expand(outputs, **norm_arguments)
        if training and self.drops:
            outputs = drop_connect(outputs, self.survival_prob, seed)
        shortcut = inputs if self.shortcut is None else self.shortcut(inputs, **norm_arguments)
        return tf.nn.relu(outputs + shortcut)

    def activations(self, size: int) -> list[Activation]:
        """Those of the layers, without the sum's summands, and the output."""
        *inside, output = chained((self.reduce, self.filter, self.expand), size)
        shortcut = [] if self.shortcut is None else self.shortcut.activations(size)[:-1]
        return [*inside, *shortcut, output._replace(is_recomputed=False)]


class ResNet(Network):
    """ResNet and ResNeXt: a pooled stem and bottlenecks, without a head; arguments as for `Network`."""

    def make_layers(self, spec: NetworkSpec, norm_options: dict[str, Any]) -> tuple[PooledStem, list[Block], None]:
        """Stem and blocks; the network's name gives the architecture."""
        sizes = list(bottleneck_specs(_ARCHITECTURES[spec.name], spec.width_coefficient, spec.depth_coefficient))
        stem_filters = scaled_filters(_STEM_FILTERS, spec.width_coefficient)
        stem = PooledStem(stem_filters, spec.stem_strides, norm_options, name="stem")
        return stem, residual_blocks(Bottleneck, sizes, spec, norm_options), None

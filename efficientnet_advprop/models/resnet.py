"""ResNet-50, 101, 152 and 200 with a batch norm per branch.

Source: He et al., arXiv 1512.03385, table 1, and 1603.05027 for the depth of ResNet-200. The layout is "v1.5": a
bottleneck strides in its 3x3 convolution, as torchvision and TensorFlow's official ResNet do, not in its first 1x1
(about half a point of top-1). Strided layers pad symmetrically, so that weights published for these two would fit.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.models.layers import ConvNorm, chain_elements, drop_connect, scaled_filters
from efficientnet_advprop.models.network import Network, norm_options, survival_probabilities
from efficientnet_advprop.recipes import MAIN_BRANCH, NetworkSpec

_STEM_FILTERS = 64
_STAGE_FILTERS = (64, 128, 256, 512)
_EXPANSION = 4

# Bottlenecks of each stage.
_STAGE_REPEATS = {
    "resnet-50": (3, 4, 6, 3),
    "resnet-101": (3, 4, 23, 3),
    "resnet-152": (3, 8, 36, 3),
    "resnet-200": (3, 24, 36, 3),
}


@dataclasses.dataclass(frozen=True)
class BottleneckSpec:
    """One bottleneck: reduce by 1x1, filter by 3x3, expand by 1x1."""

    strides: int
    input_filters: int
    filters: int

    @property
    def output_filters(self) -> int:
        """Channels after the expansion."""
        return self.filters * _EXPANSION


def bottleneck_specs(
    repeats: Sequence[int], width_coefficient: float, depth_coefficient: float
) -> Iterator[BottleneckSpec]:
    """The bottlenecks of a scaled network, in order: wider by rounded channels, deeper by repeats rounded up."""
    input_filters = scaled_filters(_STEM_FILTERS, width_coefficient)
    for stage, (stage_repeats, stage_filters) in enumerate(zip(repeats, _STAGE_FILTERS, strict=True)):
        filters = scaled_filters(stage_filters, width_coefficient)
        for repeat in range(math.ceil(depth_coefficient * stage_repeats)):
            # The first stage follows the pool, which has strided already.
            spec = BottleneckSpec(2 if stage > 0 and repeat == 0 else 1, input_filters, filters)
            yield spec
            input_filters = spec.output_filters


class PooledStem(ConvNorm):
    """A 7x7 convolution (of stride 2 in the published networks), batch norm, relu, and a 3x3 max pool of stride 2."""

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
        # By hand, as XLA's pool has no explicit padding. After a relu, zeros around are as good as minus infinity.
        outputs = tf.pad(outputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return tf.nn.max_pool2d(outputs, 3, 2, "VALID")

    def activation_elements(self, size: int) -> tuple[int, int]:
        """As `ConvNorm.activation_elements`, the pool's input with and without its padding included."""
        elements, size = super().activation_elements(size)
        return elements + self.output_filters * (size**2 + (size + 2) ** 2), -(-size // 2)


class Bottleneck(tf.keras.layers.Layer):
    """A residual bottleneck with relu after the sum; a projection is its shortcut where the shape changes.

    Args:
        spec: sizes.
        survival_prob: probability that the residual path is kept in training.
        zero_init_residual: start as the shortcut alone.
        norm_options: of `AuxBatchNormalization`.
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
        self.reduce = ConvNorm(spec.filters, 1, 1, relu, norm_options, name="reduce")
        self.filter = ConvNorm(spec.filters, 3, spec.strides, relu, norm_options, symmetric_padding=True, name="filter")
        last_options = {**norm_options, "gamma_initializer": "zeros" if zero_init_residual else "ones"}
        self.expand = ConvNorm(spec.output_filters, 1, 1, None, last_options, name="expand")
        self.shortcut = None
        if spec.strides != 1 or spec.input_filters != spec.output_filters:
            self.shortcut = ConvNorm(spec.output_filters, 1, spec.strides, None, norm_options, name="shortcut")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Build the layers at their channels."""
        reduced = tf.TensorShape([None, None, None, self.spec.filters])
        self.reduce.build(input_shape)
        self.filter.build(reduced)
        self.expand.build(reduced)
        if self.shortcut is not None:
            self.shortcut.build(input_shape)
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

        `seed` (int32 [2]) is this block's own.
        """
        norm_arguments = {"training": training, "branch": branch, "statistics": statistics}
        outputs = self.filter(self.reduce(inputs, **norm_arguments), **norm_arguments)
        outputs = self.expand(outputs, **norm_arguments)
        if training and self.drops:
            outputs = drop_connect(outputs, self.survival_prob, seed)
        shortcut = inputs if self.shortcut is None else self.shortcut(inputs, **norm_arguments)
        return tf.nn.relu(outputs + shortcut)

    def activation_elements(self, size: int) -> tuple[int, int]:
        """Values per example that training keeps inside this block, its output not included, and the output's side."""
        elements, output_size = chain_elements((self.reduce, self.filter, self.expand), size)
        if self.shortcut is not None:
            elements += self.shortcut.activation_elements(size)[0]
        return elements, output_size


class ResNet(Network):
    """ResNet: a pooled stem and bottlenecks; no head.

    Args:
        network: sizes and constants; its name gives the bottlenecks of each stage.
        num_classes: width of the classifier.
        branches: names of the batch norms; inference uses "main".
        remat: as `Network`'s.

    Raises:
        RecipeError: for remat with synchronised batch norms.
    """

    def __init__(
        self,
        network: NetworkSpec,
        num_classes: int = 1000,
        branches: Sequence[str] = (MAIN_BRANCH,),
        remat: bool = False,
        **kwargs: Any,
    ) -> None:
        options = norm_options(network, branches)
        repeats = _STAGE_REPEATS[network.name]
        specs = list(bottleneck_specs(repeats, network.width_coefficient, network.depth_coefficient))
        blocks = [
            Bottleneck(spec, survival_prob, network.zero_init_residual, options, name=f"block_{index}")
            for index, (spec, survival_prob) in enumerate(
                zip(specs, survival_probabilities(network, len(specs)), strict=True)
            )
        ]
        stem_filters = scaled_filters(_STEM_FILTERS, network.width_coefficient)
        super().__init__(
            network,
            stem=PooledStem(stem_filters, network.stem_strides, options, name="stem"),
            blocks=blocks,
            head=None,
            num_classes=num_classes,
            branches=branches,
            remat=remat,
            **kwargs,
        )

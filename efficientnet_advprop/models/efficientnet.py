"""EfficientNet B0-B8 and L2 with a batch norm per branch, by the official tables.

Source: `efficientnet_builder.py` and `efficientnet_model.py` of tensorflow/tpu, models/official/efficientnet.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models.layers import ConvNorm, SqueezeExcite, drop_connect, fold_seed, scaled_filters
from efficientnet_advprop.models.normalization import normalize
from efficientnet_advprop.models.rematerialization import recompute_block
from efficientnet_advprop.recipes import MAIN_BRANCH, NetworkSpec, RecipeError

_STEM_FILTERS = 32
_HEAD_FILTERS = 1280
_SE_RATIO = 0.25


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """One inverted bottleneck: expand by 1x1, filter by depthwise, squeeze and excite, project by 1x1."""

    kernel_size: int
    strides: int
    expand_ratio: int
    input_filters: int
    output_filters: int


# The stages of B0: repeats and first block.
_B0_STAGES = (
    (1, BlockSpec(3, 1, 1, 32, 16)),
    (2, BlockSpec(3, 2, 6, 16, 24)),
    (2, BlockSpec(5, 2, 6, 24, 40)),
    (3, BlockSpec(3, 2, 6, 40, 80)),
    (3, BlockSpec(5, 1, 6, 80, 112)),
    (4, BlockSpec(5, 2, 6, 112, 192)),
    (1, BlockSpec(3, 1, 6, 192, 320)),
)


def block_specs(width_coefficient: float, depth_coefficient: float) -> Iterator[BlockSpec]:
    """The blocks of a scaled network, in order: wider by rounded channels, deeper by repeats rounded up."""
    for repeats, first in _B0_STAGES:
        output_filters = scaled_filters(first.output_filters, width_coefficient)
        yield dataclasses.replace(
            first,
            input_filters=scaled_filters(first.input_filters, width_coefficient),
            output_filters=output_filters,
        )
        for _ in range(math.ceil(depth_coefficient * repeats) - 1):
            yield dataclasses.replace(first, strides=1, input_filters=output_filters, output_filters=output_filters)


class MBConvBlock(tf.keras.layers.Layer):
    """An inverted bottleneck with squeeze and excite; a residual one where input and output have the same shape.

    Args:
        spec: sizes.
        survival_prob: probability that the residual path is kept in training.
        zero_init_residual: start as the identity where the block is residual.
        norm_options: of `AuxBatchNormalization`.
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
        self.survival_prob = survival_prob
        self.is_residual = spec.strides == 1 and spec.input_filters == spec.output_filters
        self.drops = self.is_residual and survival_prob < 1
        swish = tf.nn.silu
        self.expand = None
        if spec.expand_ratio != 1:
            self.expand = ConvNorm(spec.input_filters * spec.expand_ratio, 1, 1, swish, norm_options, name="expand")
        self.depthwise = ConvNorm(None, spec.kernel_size, spec.strides, swish, norm_options, name="depthwise")
        self.squeeze_excite = SqueezeExcite(max(1, int(spec.input_filters * _SE_RATIO)), name="squeeze_excite")
        gamma_initializer = "zeros" if zero_init_residual and self.is_residual else "ones"
        last_options = {**norm_options, "gamma_initializer": gamma_initializer}
        self.project = ConvNorm(spec.output_filters, 1, 1, None, last_options, name="project")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Build the layers at their channels."""
        expanded = tf.TensorShape([None, None, None, self.spec.input_filters * self.spec.expand_ratio])
        if self.expand is not None:
            self.expand.build(input_shape)
        for layer in (self.depthwise, self.squeeze_excite, self.project):
            layer.build(expanded)
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
        outputs = inputs if self.expand is None else self.expand(inputs, **norm_arguments)
        outputs = self.depthwise(outputs, **norm_arguments)
        outputs = self.project(self.squeeze_excite(outputs), **norm_arguments)
        if not self.is_residual:
            return outputs
        if training and self.drops:
            outputs = drop_connect(outputs, self.survival_prob, seed)
        return outputs + inputs

    def activation_elements(self, size: int) -> tuple[int, int]:
        """Values per example that training keeps inside this block, its output not included, and the output's side.

        Of each convolution and norm: the convolution's output (the norm's input), the norm's (the activation's input)
        and the activation's (the next convolution's input).
        """
        output_size = -(-size // self.spec.strides)
        expanded = self.spec.input_filters * self.spec.expand_ratio
        elements = 0 if self.expand is None else 3 * expanded * size**2
        elements += 4 * expanded * output_size**2  # the depthwise unit, and its scaled output
        elements += self.spec.output_filters * output_size**2  # the projection, as its norm's input
        return elements, output_size


class EfficientNet(tf.keras.Model):
    """A network with one set of batch norms per branch; all else is shared.

    Args:
        network: sizes and constants.
        num_classes: width of the classifier.
        branches: names of the batch norms; inference uses "main".
        remat: recompute each block's activations in every backward pass, those of attacks included, for less memory and
            one more forward pass.

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
        if remat and network.sync_batch_norm:
            raise RecipeError(
                "remat and sync_batch_norm exclude each other: recomputed statistics would be those of one replica"
            )
        # No autocast: bfloat16 has 8 bits, too few for a pixel moved by an attack. `features` casts what it normalised.
        super().__init__(autocast=False, **kwargs)
        self.network = network
        self.num_classes = num_classes
        self.branches = tuple(branches)
        self.remat = remat
        norm_options = {
            "branches": self.branches,
            "momentum": network.batch_norm_momentum,
            "epsilon": network.batch_norm_epsilon,
            "synchronized": network.sync_batch_norm,
        }
        specs = list(block_specs(network.width_coefficient, network.depth_coefficient))
        swish = tf.nn.silu
        stem_filters = scaled_filters(_STEM_FILTERS, network.width_coefficient)
        head_filters = scaled_filters(_HEAD_FILTERS, network.width_coefficient)
        self.stem = ConvNorm(stem_filters, 3, network.stem_strides, swish, norm_options, name="stem")
        self.blocks = [
            MBConvBlock(
                spec,
                1 - (1 - network.survival_prob) * index / len(specs),
                network.zero_init_residual,
                norm_options,
                name=f"block_{index}",
            )
            for index, spec in enumerate(specs)
        ]
        self.head = ConvNorm(head_filters, 1, 1, swish, norm_options, name="head")
        limit = network.classifier_init_scale / math.sqrt(num_classes)
        self.classifier = tf.keras.layers.Dense(
            num_classes, kernel_initializer=tf.keras.initializers.RandomUniform(-limit, limit), name="classifier"
        )

    def build(self, input_shape: Any = None) -> None:
        """Create all variables; no image is needed, as only channels matter."""
        channels = 3
        for layer in (self.stem, *self.blocks, self.head):
            layer.build(tf.TensorShape([None, None, None, channels]))
            channels = layer.spec.output_filters if isinstance(layer, MBConvBlock) else layer.filters
        self.classifier.build(tf.TensorShape([None, channels]))
        # Not Model.build: it would trace a call to find out what was just created.
        self.built = True

    # For all layers inside too: nothing here is for autograph to rewrite, and its pass over every layer is slow.
    @tf.autograph.experimental.do_not_convert
    def call(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Logits, float32 [B, num_classes].

        Args:
            images: float32 [B, H, W, 3] in [0, 255].
            training: switches dropout and drop connect.
            branch: whose batch norms to go through.
            statistics: "update", "running" or "batch", as `AuxBatchNormalization.call`.
            seed: int32 [2] of dropout and drop connect.

        Raises:
            ValueError: for an unknown branch or statistics, or without a seed where one is needed.
        """
        drops = training and self.network.dropout_rate > 0
        dropout_seed = fold_seed(seed, len(self.blocks), needed=drops)
        features = self.features(images, training=training, branch=branch, statistics=statistics, seed=seed)
        if drops:
            features = tf.nn.experimental.stateless_dropout(features, self.network.dropout_rate, dropout_seed)
        return tf.cast(self.classifier(features), tf.float32)

    @tf.autograph.experimental.do_not_convert
    def features(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Pooled features [B, F] before dropout and classifier; arguments as `call`'s."""
        norm_arguments = {"training": training, "branch": branch, "statistics": statistics}
        outputs = tf.cast(normalize(images, self.network.preprocessing), self.compute_dtype)
        outputs = self.stem(outputs, **norm_arguments)
        for index, block in enumerate(self.blocks):
            block_seed = fold_seed(seed, index, needed=training and block.drops)
            run = recompute_block if self.remat else MBConvBlock.__call__
            outputs = run(block, outputs, **norm_arguments, seed=block_seed)
        outputs = self.head(outputs, **norm_arguments)
        return tf.reduce_mean(outputs, axis=(1, 2))

    def weights_by_path(self) -> dict[str, tf.Variable]:
        """Every variable by its object path, such as `blocks.0.expand.norm.norms.main.gamma`.

        The paths of a branch's variables and of the shared ones do not depend on which other branches there are.
        """
        return self.get_weight_paths()

    def branch_variables(self, branch: str) -> list[tf.Variable]:
        """All batch-norm variables of a branch, trainable or not.

        Raises:
            ValueError: for an unknown branch.
        """
        return [variable for norm in self._norm_layers() for variable in norm.branch_variables(branch)]

    def decayed_variables(self) -> list[tf.Variable]:
        """What weight decay acts on: kernels, and the biases of squeeze-and-excite and classifier; no batch norm's."""
        norms = {id(variable) for branch in self.branches for variable in self.branch_variables(branch)}
        return [variable for variable in self.trainable_variables if id(variable) not in norms]

    def _norm_layers(self) -> list[AuxBatchNormalization]:
        return [module for module in self.submodules if isinstance(module, AuxBatchNormalization)]

    def activation_bytes(self, batch_size: int, image_size: int, remat: bool = False) -> int:
        """What one training forward pass keeps for its backward pass, estimated from shapes alone.

        With remat: what lies between blocks, and the inside of the largest block while it is recomputed. Gradients,
        workspaces and fragmentation come on top. An attack's pass keeps less: half of it with running statistics.
        """
        size = -(-image_size // self.network.stem_strides)
        between = 3 * self.stem.filters * size**2
        insides = []
        for block in self.blocks:
            inside, size = block.activation_elements(size)
            insides.append(inside)
            between += block.spec.output_filters * size**2
        between += 2 * self.head.filters * size**2  # the mean over positions needs no activation for its gradient
        elements = between + (max(insides) if remat else sum(insides))
        return elements * batch_size * tf.as_dtype(self.compute_dtype).size

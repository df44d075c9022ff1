"""The base class of all networks: stem, blocks, head and classifier in sequence, with a batch norm per branch."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models.layers import ConvNorm, build_inner, fold_seed, normalize
from efficientnet_advprop.models.rematerialization import recompute_block
from efficientnet_advprop.recipes import MAIN_BRANCH, NetworkSpec, RecipeError

SHARED = "shared"


class Unit(Protocol):
    """The interface of stem, blocks and head: Keras layers that also report their sizes.

    Each is called with (inputs, training, branch, statistics), a block with its seed too.

    Attributes:
        output_filters: channels of the output, known once the layer is built.
    """

    output_filters: int

    def activation_elements(self, size: int) -> tuple[int, int]:
        """Values per example kept inside for the backward pass, without the output, and the output's side.

        Args:
            size: side of the input, in pixels.
        """


class Block(Unit, Protocol):
    """The interface of a block.

    Attributes:
        drops: whether it has drop connect, for which a training call needs a seed.
    """

    drops: bool


def residual_blocks(
    block: Callable[..., Block], sizes: Sequence[Any], spec: NetworkSpec, options: dict[str, Any]
) -> list[Block]:
    """The network's blocks of these sizes; the survival probability of their residual paths falls linearly with depth.

    Args:
        block: called as `block(sizes of the block, survival_prob, zero_init_residual, options, name=...)`.
        sizes: of each block.
        spec: of the network.
        options: arguments of `AuxBatchNormalization`.
    """
    survival = [1 - (1 - spec.survival_prob) * index / len(sizes) for index in range(len(sizes))]
    return [
        block(size, survival[index], spec.zero_init_residual, options, name=f"block_{index}")
        for index, size in enumerate(sizes)
    ]


class Network(tf.keras.Model):
    """A network with one set of batch norms per branch; all other variables are shared by the branches.

    A subclass gives its layers with `make_layers`.

    Args:
        spec: sizes and constants.
        num_classes: number of classes K.
        branches: names of the branches; inference uses "main".
        remat: rematerialisation: recompute each block's activations in every backward pass, also in attacks. It saves
            memory and costs one more forward pass.

    Raises:
        RecipeError: for remat with synchronised batch norms.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        num_classes: int = 1000,
        branches: Sequence[str] = (MAIN_BRANCH,),
        remat: bool = False,
        **kwargs: Any,
    ) -> None:
        if remat and spec.sync_batch_norm:
            raise RecipeError(
                "remat and sync_batch_norm exclude each other: recomputed batch statistics would be one replica's"
            )
        # No autocast: bfloat16 has 8 significant bits, too few for an attack's perturbation of a pixel. `features`
        # casts after normalising the input.
        super().__init__(autocast=False, **kwargs)
        self.spec = spec
        self.num_classes = num_classes
        self.branches = tuple(branches)
        self.remat = remat
        norm_options = {
            "branches": self.branches,
            "momentum": spec.batch_norm_momentum,
            "epsilon": spec.batch_norm_epsilon,
            "synchronized": spec.sync_batch_norm,
        }
        self.stem, self.blocks, self.head = self.make_layers(spec, norm_options)
        limit = spec.classifier_init_scale / math.sqrt(num_classes)
        self.classifier = tf.keras.layers.Dense(
            num_classes, kernel_initializer=tf.keras.initializers.RandomUniform(-limit, limit), name="classifier"
        )

    def make_layers(self, spec: NetworkSpec, norm_options: dict[str, Any]) -> tuple[Unit, list[Block], ConvNorm | None]:
        """The stem, the blocks and the head, the last layer before global average pooling; None without a head.

        Args:
            spec: sizes and constants.
            norm_options: the network's arguments of `AuxBatchNormalization`.
        """
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Create all variables. They depend on numbers of channels alone, not on an image size."""
        channels = 3
        for layer in (self.stem, *self.blocks, *self._heads()):
            build_inner(layer, tf.TensorShape([None, None, None, channels]))
            channels = layer.output_filters
        build_inner(self.classifier, tf.TensorShape([None, channels]))
        # Not Model.build: it would trace a call only to create the variables.
        self.built = True

    # For the layers inside too: they have no control flow for AutoGraph to convert, and converting every layer is slow.
    @tf.autograph.experimental.do_not_convert
    def call(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Logits, float32 [B, K].

        Args:
            images: float32 [B, H, W, 3] in [0, 255].
            training: switches dropout and drop connect on.
            branch: its batch norms are used.
            statistics: "update", "running" or "batch", as in `AuxBatchNormalization.call`.
            seed: int32 [2] of dropout and drop connect.

        Raises:
            ValueError: for an unknown branch or value of `statistics`, or when dropout or drop connect lacks a seed.
        """
        drops = training and self.spec.dropout_rate > 0
        dropout_seed = fold_seed(seed, len(self.blocks), needed=drops)
        features = self.features(images, training=training, branch=branch, statistics=statistics, seed=seed)
        if drops:
            features = tf.nn.experimental.stateless_dropout(features, self.spec.dropout_rate, dropout_seed)
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
        """Features [B, F] after global average pooling, before dropout and classifier; arguments as in `call`."""
        norm_arguments = {"training": training, "branch": branch, "statistics": statistics}
        outputs = tf.cast(normalize(images, self.spec.preprocessing), self.compute_dtype)
        outputs = self.stem(outputs, **norm_arguments)
        for index, block in enumerate(self.blocks):
            block_seed = fold_seed(seed, index, needed=training and block.drops)
            run = recompute_block if self.remat else tf.keras.layers.Layer.__call__
            outputs = run(block, outputs, **norm_arguments, seed=block_seed)
        for head in self._heads():
            outputs = head(outputs, **norm_arguments)
        return tf.reduce_mean(outputs, axis=(1, 2))

    def weights_by_path(self) -> dict[str, tf.Variable]:
        """Every variable by its object path, such as `blocks.0.expand.norm.norms.main.gamma`.

        The paths of a branch's variables and of the shared ones do not depend on the other branches.
        """
        return self.get_weight_paths()

    def branch_variables(self, branch: str) -> list[tf.Variable]:
        """All batch-norm variables of a branch, trainable or not.

        Raises:
            ValueError: for an unknown branch.
        """
        return [variable for norm in self._norm_layers() for variable in norm.branch_variables(branch)]

    def partition(self) -> dict[str, list[tf.Variable]]:
        """Every variable once: the batch-norm variables of each branch under its name, all others under "shared"."""
        branches = {branch: self.branch_variables(branch) for branch in self.branches}
        in_branches = {id(variable) for variables in branches.values() for variable in variables}
        return {SHARED: [variable for variable in self.variables if id(variable) not in in_branches], **branches}

    def decayed_variables(self, decay_batch_norm: bool = False) -> list[tf.Variable]:
        """The variables under weight decay: kernels and biases, and on request gamma and beta of every branch."""
        if decay_batch_norm:
            return self.trainable_variables
        in_branches = {id(variable) for branch in self.branches for variable in self.branch_variables(branch)}
        return [variable for variable in self.trainable_variables if id(variable) not in in_branches]

    def _heads(self) -> list[ConvNorm]:
        return [] if self.head is None else [self.head]

    def _norm_layers(self) -> list[AuxBatchNormalization]:
        return [module for module in self.submodules if isinstance(module, AuxBatchNormalization)]

    def activation_bytes(self, batch_size: int, image_size: int, remat: bool = False) -> int:
        """Memory of the activations that a training step keeps for its backward pass, estimated from shapes.

        With remat: the blocks' outputs, and the activations inside the largest block while it is recomputed. Gradients,
        workspaces and fragmentation add to it. An attack step with running statistics keeps half of it.
        """
        between, size = self.stem.activation_elements(image_size)
        between += self.stem.output_filters * size**2
        insides = []
        for block in self.blocks:
            inside, size = block.activation_elements(size)
            insides.append(inside)
            between += block.output_filters * size**2
        for head in self._heads():  # its output is not kept: the gradient of global average pooling needs none
            between += head.activation_elements(size)[0]
        elements = between + (max(insides) if remat else sum(insides))
        return elements * batch_size * tf.as_dtype(self.compute_dtype).size

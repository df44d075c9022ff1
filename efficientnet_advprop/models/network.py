"""What every network shares: stem, blocks, head and classifier in a row, with a batch norm per branch."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models.layers import ConvNorm, fold_seed
from efficientnet_advprop.models.normalization import normalize
from efficientnet_advprop.models.rematerialization import recompute_block
from efficientnet_advprop.recipes import MAIN_BRANCH, NetworkSpec, RecipeError

SHARED = "shared"


class Unit(Protocol):
    """What the stem, every block and the head are: Keras layers that also tell their sizes.

    Each is called with (inputs, training, branch, statistics), a block with its own seed too.

    Attributes:
        output_filters: channels of the output, known once the layer is built.
    """

    output_filters: int

    def activation_elements(self, size: int) -> tuple[int, int]:
        """Values per example that training keeps inside, the output not included, and the output's side.

        Args:
            size: side of the input, in pixels.
        """


class Block(Unit, Protocol):
    """A unit of which there are many.

    Attributes:
        drops: whether a training call draws from its seed.
    """

    drops: bool


def norm_options(network: NetworkSpec, branches: Sequence[str]) -> dict[str, Any]:
    """The network's options of `AuxBatchNormalization`."""
    return {
        "branches": tuple(branches),
        "momentum": network.batch_norm_momentum,
        "epsilon": network.batch_norm_epsilon,
        "synchronized": network.sync_batch_norm,
    }


def survival_probabilities(network: NetworkSpec, num_blocks: int) -> list[float]:
    """How often each block's residual path is kept: less and less towards the last block."""
    return [1 - (1 - network.survival_prob) * index / num_blocks for index in range(num_blocks)]


class Network(tf.keras.Model):
    """A network with one set of batch norms per branch; all else is shared.

    Args:
        network: sizes and constants.
        stem: first layer.
        blocks: what follows, each recomputed as a whole by `remat`.
        head: last layer before the mean over positions; None where the blocks' output is averaged.
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
        stem: Unit,
        blocks: Sequence[Block],
        head: ConvNorm | None,
        num_classes: int,
        branches: Sequence[str],
        remat: bool,
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
        self.stem = stem
        self.blocks = list(blocks)
        self.head = head
        limit = network.classifier_init_scale / math.sqrt(num_classes)
        self.classifier = tf.keras.layers.Dense(
            num_classes, kernel_initializer=tf.keras.initializers.RandomUniform(-limit, limit), name="classifier"
        )

    def build(self, input_shape: Any = None) -> None:
        """Create all variables; no image is needed, as only channels matter."""
        channels = 3
        for layer in (self.stem, *self.blocks, *self._heads()):
            layer.build(tf.TensorShape([None, None, None, channels]))
            channels = layer.output_filters
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
            run = recompute_block if self.remat else tf.keras.layers.Layer.__call__
            outputs = run(block, outputs, **norm_arguments, seed=block_seed)
        for head in self._heads():
            outputs = head(outputs, **norm_arguments)
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

    def partition(self) -> dict[str, list[tf.Variable]]:
        """Every variable once: those of each branch's batch norms by its name, all others as "shared"."""
        branches = {branch: self.branch_variables(branch) for branch in self.branches}
        norms = {id(variable) for variables in branches.values() for variable in variables}
        return {SHARED: [variable for variable in self.variables if id(variable) not in norms], **branches}

    def decayed_variables(self, decay_batch_norm: bool = False) -> list[tf.Variable]:
        """What weight decay acts on: kernels and biases, and on request the gamma and beta of every branch."""
        if decay_batch_norm:
            return self.trainable_variables
        norms = {id(variable) for branch in self.branches for variable in self.branch_variables(branch)}
        return [variable for variable in self.trainable_variables if id(variable) not in norms]

    def _heads(self) -> list[ConvNorm]:
        return [] if self.head is None else [self.head]

    def _norm_layers(self) -> list[AuxBatchNormalization]:
        return [module for module in self.submodules if isinstance(module, AuxBatchNormalization)]

    def activation_bytes(self, batch_size: int, image_size: int, remat: bool = False) -> int:
        """What one training forward pass keeps for its backward pass, estimated from shapes alone.

        With remat: what lies between blocks, and the inside of the largest block while it is recomputed. Gradients,
        workspaces and fragmentation come on top. An attack's pass keeps less: half of it with running statistics.
        """
        between, size = self.stem.activation_elements(image_size)
        between += self.stem.output_filters * size**2
        insides = []
        for block in self.blocks:
            inside, size = block.activation_elements(size)
            insides.append(inside)
            between += block.output_filters * size**2
        for head in self._heads():  # its output is not kept: the mean over positions needs none for its gradient
            between += head.activation_elements(size)[0]
        elements = between + (max(insides) if remat else sum(insides))
        return elements * batch_size * tf.as_dtype(self.compute_dtype).size

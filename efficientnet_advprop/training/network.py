"""The network that the objectives and the training loop ask for, and one whose backbone is frozen."""

from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.recipes import NetworkSpec


class Activation(Protocol):
    """A tensor that a backward pass reads, [size, size, channels] for each example.

    Attributes:
        size: side, in pixels.
        channels: of it.
        is_recomputed: whether XLA recomputes it from others instead of keeping it.
    """

    size: int
    channels: int
    is_recomputed: bool


class BranchedNetwork(Protocol):
    """What an objective asks of a network: a call through each branch, and the variables of each.

    Attributes:
        trainable_variables: those under gradients; each branch's are in it, in an order that stays.
    """

    trainable_variables: list[tf.Variable]

    def __call__(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = "main",
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The outputs, logits float32 [B, K] for networks of this project, of images float32 [B, H, W, 3] in [0, 255].

        Only a call with statistics "update", the default in training, changes variables: the moving statistics of the
        branch. Equal seeds drop equal values.

        Raises:
            ValueError: for an unknown branch or value of `statistics`, or one that the network cannot compute; or when
                dropout lacks a seed.
        """

    def branch_variables(self, branch: str) -> list[tf.Variable]:
        """All variables of a branch's norms, trainable or not."""


class TrainableNetwork(BranchedNetwork, Protocol):
    """What the training loop, evaluation and export ask of a network besides.

    It is a `tf.keras.Model`, so that `tf.train.Checkpoint` finds its variables under the paths of `weights_by_path`.

    Attributes:
        spec: sizes and constants.
        num_classes: number of classes K.
        branches: names of the branches; inference uses the first.
        classifier: from features [B, F] to logits [B, K].
        compute_dtype: of the activations.
        weights: all variables.
    """

    spec: NetworkSpec
    num_classes: int
    branches: tuple[str, ...]
    classifier: tf.keras.layers.Dense
    compute_dtype: str
    weights: list[tf.Variable]

    def features(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = "main",
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Features [B, F] after global average pooling, before dropout and classifier."""

    def weights_by_path(self) -> dict[str, tf.Variable]:
        """Every variable by its object path.

        A branch's variables have `.norms.BRANCH.` in it. The paths do not depend on the other branches, nor on what
        else the process has built.
        """

    def partition(self) -> dict[str, list[tf.Variable]]:
        """Every variable once: those of each branch under its name, all others under "shared"."""

    def decayed_variables(self, decay_batch_norm: bool = False) -> list[tf.Variable]:
        """The variables under weight decay: all trainable ones but those of norms, or on request those too."""

    def activations(self, image_size: int, remat: bool) -> tuple[list[Activation], list[list[Activation]]]:
        """What a training pass keeps of an example for its backward pass.

        Returns:
            What is kept with remat too, and the insides of each block, of which remat keeps one at a time.
        """

    def count_params(self) -> int:
        """Number of values in all variables."""


class FrozenBackbone:
    """A network of which steps train the classifier alone.

    Calls in training compute as in inference: batch norms use their moving statistics and do not update them, and
    nothing is dropped.

    Args:
        network: whose variables it uses.
    """

    def __init__(self, network: TrainableNetwork) -> None:
        self._network = network
        self.branches, self.compute_dtype = network.branches, network.compute_dtype
        self.trainable_variables: list[tf.Variable] = network.classifier.trainable_variables

    def __call__(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = "main",
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """As the network's, but no call changes a variable."""
        if training and statistics in (None, "update"):
            training, statistics = False, "running"
        return self._network(images, training=training, branch=branch, statistics=statistics, seed=seed)

    def branch_variables(self, branch: str) -> list[tf.Variable]:
        """The network's."""
        return self._network.branch_variables(branch)

    def decayed_variables(self, decay_batch_norm: bool = False) -> list[tf.Variable]:
        """Kernel and bias of the classifier."""
        del decay_batch_norm  # the norms are frozen
        return self.trainable_variables

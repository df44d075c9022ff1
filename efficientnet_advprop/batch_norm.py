"""Batch norm with a complete set of parameters and moving statistics per branch."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

STATISTICS = ("update", "running", "batch")


class AuxBatchNormalization(tf.keras.layers.Layer):
    """One batch norm per branch, each with its own gamma, beta, moving mean and moving variance.

    "Adversarial Examples Improve Image Recognition" (arXiv 1911.09665), section 4: the main branch sees clean images
    and is used at inference, auxiliary branches see the others. The branch is an argument of every call.

    Keras' BatchNormalization does the arithmetic. Its fused kernel keeps the unbiased variance (times N / (N - 1)) as
    moving variance. The synchronised one keeps the biased variance, like the official TpuBatchNormalization. With the
    32 values per channel of B0's last stages at 32 px the two differ by 3 %: compare moving variances of one kind only.

    Args:
        branches: names; a variable's object path is `norms/BRANCH/gamma` and so on.
        momentum: fraction of the moving statistics kept in an update.
        epsilon: added to the variance.
        synchronized: compute batch statistics over all replicas, without the fused kernel (a step takes 1.25 times as
            long).
        gamma_initializer: of every branch's gamma.
    """

    def __init__(
        self,
        branches: Sequence[str] = ("main",),
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        synchronized: bool = False,
        gamma_initializer: str = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not branches or len(set(branches)) != len(branches):
            raise ValueError(f"branches {tuple(branches)} must be distinct, and at least one")
        self.branches = tuple(branches)
        self.momentum = momentum
        self.epsilon = epsilon
        self.synchronized = synchronized
        self.gamma_initializer = gamma_initializer
        self.norms = {
            branch: tf.keras.layers.BatchNormalization(
                momentum=momentum,
                epsilon=epsilon,
                synchronized=synchronized,
                gamma_initializer=gamma_initializer,
                name=branch,
            )
            for branch in self.branches
        }

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the variables of all branches."""
        for norm in self.norms.values():
            with tf.name_scope(norm.name):
                norm.build(input_shape)
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, training: bool = False, branch: str = "main", statistics: str | None = None
    ) -> tf.Tensor:
        """Normalise activations with one branch's parameters.

        Args:
            inputs: [B, H, W, C].
            training: sets the default of `statistics`.
            branch: its parameters and statistics are used.
            statistics: "update" (the batch's, which also update the moving statistics; the default in training),
                "running" (the moving statistics; the default otherwise) or "batch" (this replica's batch's, without an
                update).

        Raises:
            ValueError: for an unknown branch or value of `statistics`; the message lists the known ones.
        """
        norm = self.norm(branch)
        statistics = resolve_statistics(training, statistics)
        if statistics == "batch":
            normalised, *_ = tf.compat.v1.nn.fused_batch_norm(
                inputs, norm.gamma, norm.beta, epsilon=self.epsilon, is_training=True
            )
            return normalised
        return norm(inputs, training=statistics == "update")

    def norm(self, branch: str) -> tf.keras.layers.BatchNormalization:
        """A branch's batch norm.

        Raises:
            ValueError: for an unknown branch.
        """
        if branch not in self.norms:
            raise ValueError(f"unknown branch {branch!r}; known: {', '.join(self.branches)}")
        return self.norms[branch]

    def branch_variables(self, branch: str) -> list[tf.Variable]:
        """A branch's gamma, beta, moving mean and moving variance.

        Raises:
            ValueError: for an unknown branch.
        """
        return self.norm(branch).variables

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "branches": self.branches,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "synchronized": self.synchronized,
            "gamma_initializer": self.gamma_initializer,
        }


def resolve_statistics(training: bool, statistics: str | None) -> str:
    """The value of `statistics`, with its default; see `AuxBatchNormalization.call`.

    Raises:
        ValueError: for an unknown value.
    """
    if statistics is None:
        return "update" if training else "running"
    if statistics not in STATISTICS:
        raise ValueError(f"unknown statistics {statistics!r}; known: {', '.join(STATISTICS)}")
    return statistics

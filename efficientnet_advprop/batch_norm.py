"""Batch norm with a complete set of parameters and moving statistics per branch."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

STATISTICS = ("update", "running", "batch")


@tf.keras.utils.register_keras_serializable(package="efficientnet_advprop")
class AuxBatchNormalization(tf.keras.layers.Layer):
    """One batch norm per branch, each with its own gamma, beta, moving mean and moving variance.

    "Adversarial Examples Improve Image Recognition" (arXiv 1911.09665), section 4: the main branch sees clean images
    and is used at inference, auxiliary branches see the others. The branch is an argument of every call, also in a
    functional model: two models that share their layers and differ in the branch of the calls are AdvProp's two views.

    Keras' BatchNormalization does the arithmetic. Its fused kernel keeps the unbiased variance (times N / (N - 1)) as
    moving variance. The synchronised one keeps the biased variance, like the official TpuBatchNormalization. With the
    32 values per channel of B0's last stages at 32 px the two differ by 3 %: compare moving variances of one kind only.

    `trainable=False` freezes all branches: as in Keras' layer, training then uses the moving statistics and updates
    nothing. Losses of regularizers are those of all branches, each once.

    Args:
        branches: names; a variable's object path is `norms/BRANCH/gamma` and so on.
        axis: the channels', one or several.
        momentum: fraction of the moving statistics kept in an update.
        epsilon: added to the variance.
        center: whether the branches have a beta.
        scale: whether the branches have a gamma.
        beta_initializer: of every branch's beta.
        gamma_initializer: of every branch's gamma.
        moving_mean_initializer: of every branch's moving mean.
        moving_variance_initializer: of every branch's moving variance.
        beta_regularizer: of every branch's beta.
        gamma_regularizer: of every branch's gamma.
        beta_constraint: of every branch's beta.
        gamma_constraint: of every branch's gamma.
        synchronized: compute batch statistics over all replicas, without the fused kernel (a step takes 1.25 times as
            long).

    Raises:
        ValueError: without branches, or for a repeated one.
    """

    def __init__(
        self,
        branches: Sequence[str] = ("main",),
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not branches or len(set(branches)) != len(branches):
            raise ValueError(f"branches {tuple(branches)} must be distinct, and at least one")
        self.supports_masking = True
        self.branches = tuple(branches)
        self.synchronized = synchronized
        self.norms = {
            branch: tf.keras.layers.BatchNormalization(
                axis=axis,
                momentum=momentum,
                epsilon=epsilon,
                center=center,
                scale=scale,
                beta_initializer=beta_initializer,
                gamma_initializer=gamma_initializer,
                moving_mean_initializer=moving_mean_initializer,
                moving_variance_initializer=moving_variance_initializer,
                beta_regularizer=beta_regularizer,
                gamma_regularizer=gamma_regularizer,
                beta_constraint=beta_constraint,
                gamma_constraint=gamma_constraint,
                synchronized=synchronized,
                name=branch,
                trainable=self.trainable,
                dtype=kwargs.get("dtype"),
            )
            for branch in self.branches
        }

    @property
    def momentum(self) -> float:
        """Fraction of the moving statistics kept in an update; setting it sets that of every branch."""
        return self.norms[self.branches[0]].momentum

    @momentum.setter
    def momentum(self, momentum: float) -> None:
        for norm in self.norms.values():
            norm.momentum = momentum

    @property
    def epsilon(self) -> float:
        """What is added to the variance."""
        return self.norms[self.branches[0]].epsilon

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the variables of all branches."""
        for norm in self.norms.values():
            with tf.name_scope(norm.name):
                norm.build(input_shape)
        super().build(input_shape)

    def call(
        self,
        inputs: tf.Tensor,
        training: bool = False,
        branch: str = "main",
        statistics: str | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Normalise activations with one branch's parameters.

        Args:
            inputs: of any rank from 2 on, [B, H, W, C] or [B, C] for example.
            training: sets the default of `statistics`.
            branch: its parameters and statistics are used.
            statistics: "update" (the batch's, which also update the moving statistics; the default in training),
                "running" (the moving statistics; the default otherwise) or "batch" (this replica's batch's, without an
                update).
            mask: the positions whose statistics count, of the shape of `inputs` without channels. As in Keras, the
                fused kernel (rank 4 and 5) ignores it.

        Raises:
            ValueError: for an unknown branch or value of `statistics`; the message lists the known ones.
        """
        norm = self.norm(branch)
        statistics = resolve_statistics(training, statistics)
        if statistics == "batch":
            return _by_batch_statistics(norm, inputs, mask)
        return norm(inputs, training=statistics == "update", mask=mask)

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

    def compute_output_shape(self, input_shape: tf.TensorShape) -> tf.TensorShape:
        """The shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as plain values."""
        of_a_branch = self.norms[self.branches[0]].get_config()
        own = {"branches": self.branches, "synchronized": self.synchronized}
        return {**of_a_branch, **super().get_config(), **own}


def _by_batch_statistics(
    norm: tf.keras.layers.BatchNormalization, inputs: tf.Tensor, mask: tf.Tensor | None
) -> tf.Tensor:
    """The output of `norm` in training, without an update of its moving statistics.

    Of the fused kernels only the one for images with channels last is used: the others give the same values up to
    rounding, and some have no implementation on CPUs.
    """
    rank, axes = inputs.shape.rank, list(norm.axis)
    if norm.fused and axes == [3] and rank == 4:
        normalised, *_ = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.ones_like(norm.moving_mean) if norm.gamma is None else norm.gamma,
            tf.zeros_like(norm.moving_mean) if norm.beta is None else norm.beta,
            epsilon=norm.epsilon,
            is_training=True,
        )
        return normalised
    precise = tf.cast(inputs, norm.moving_mean.dtype)
    others = [axis for axis in range(rank) if axis not in axes]
    if mask is None or norm.fused:
        mean, variance = tf.nn.moments(precise, others, keepdims=True)
    else:
        weights = tf.cast(mask, precise.dtype)[..., tf.newaxis]
        mean, variance = tf.nn.weighted_moments(precise, others, weights, keepdims=True)
    shape = [inputs.shape[axis] if axis in axes else 1 for axis in range(rank)]
    gamma, beta = (None if one is None else tf.reshape(one, shape) for one in (norm.gamma, norm.beta))
    return tf.cast(tf.nn.batch_normalization(precise, mean, variance, beta, gamma, norm.epsilon), inputs.dtype)


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


def require_keras_statistics(network: str, training: bool, statistics: str | None) -> None:
    """Refuse what Keras' batch norms do not have: an update without training, or batch statistics without an update.

    Raises:
        ValueError: also for an unknown value.
    """
    if resolve_statistics(training, statistics) != ("update" if training else "running"):
        raise ValueError(f"statistics {statistics!r} with training={training}: not in the batch norms of {network}")

"""The optimizers of recipes, RMSProp and momentum with TF1 semantics among them, and the weight decay loss."""

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import OptimizerSpec

LearningRate = float | tf.keras.optimizers.schedules.LearningRateSchedule

# With a GPU, Keras would compile the update of every variable with XLA on its own (hundreds for a deep network), under
# some strategies only. Without compilation the same kernels run everywhere, and updates are bit-reproducible.
_JIT_COMPILE = False


class _TF1Optimizer(tf.keras.optimizers.Optimizer):
    """Base of the two optimizers that use a TF1 kernel; gradients are dense, slots float32 like their variables.

    TF1's optimizers call one kernel per variable. Calling the same kernel gives the same results, on CPU, GPU and TPU,
    in one pass over the memory.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        name: str,
        weight_decay: float | None = None,  # the base class's default, 0, would rewrite every variable without effect
        jit_compile: bool = _JIT_COMPILE,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, weight_decay=weight_decay, jit_compile=jit_compile, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Create the slots of each variable, once; call in the strategy's scope."""
        super().build(var_list)
        if not getattr(self, "_built", False):
            self._built = True
            self._build_slots(var_list)

    def _build_slots(self, var_list: Sequence[tf.Variable]) -> None:
        self._momentums = [self.add_variable_from_reference(variable, "momentum") for variable in var_list]

    def _rate_and_index(self, variable: tf.Variable) -> tuple[tf.Tensor, int]:
        """The learning rate in the variable's type, and the index of the variable's slots."""
        return tf.cast(self.learning_rate, variable.dtype), self._index_dict[self._var_key(variable)]

    def get_config(self) -> dict[str, Any]:
        """The arguments from which `from_config` rebuilds this optimizer."""
        return {**super().get_config(), "learning_rate": self._serialize_hyperparameter(self._learning_rate)}


@tf.keras.saving.register_keras_serializable(package="efficientnet_advprop")
class RMSPropTF1(_TF1Optimizer):
    """RMSProp as `tf.compat.v1.train.RMSPropOptimizer` computes it, which EfficientNet was tuned with.

        mean_square = decay * mean_square + (1 - decay) * gradient^2        starts at ones
        accumulated = momentum * accumulated + learning_rate * gradient / sqrt(mean_square + epsilon)
        variable -= accumulated

    Keras' RMSprop starts the mean square at zeros. Its first updates divide a gradient by about its own size, so small
    gradients make far larger first updates than with TF1.

    Args:
        learning_rate: rate or schedule.
        decay: fraction of the old mean square kept per update.
        momentum: fraction of the last update that is repeated.
        epsilon: added to the mean square inside the square root.
        name: of the optimizer.
        **kwargs: of `tf.keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        name: str = "RMSPropTF1",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, name, **kwargs)
        self.decay = decay
        self.momentum = momentum
        self.epsilon = epsilon

    def _build_slots(self, var_list: Sequence[tf.Variable]) -> None:
        super()._build_slots(var_list)
        self._mean_squares = [
            self.add_variable_from_reference(
                variable, "mean_square", initial_value=tf.ones(variable.shape, variable.dtype)
            )
            for variable in var_list
        ]

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one variable with a gradient of its shape."""
        rate, index = self._rate_and_index(variable)
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self._mean_squares[index].handle,
            mom=self._momentums[index].handle,
            lr=rate,
            rho=self.decay,
            momentum=self.momentum,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments from which `from_config` rebuilds this optimizer."""
        return {**super().get_config(), "decay": self.decay, "momentum": self.momentum, "epsilon": self.epsilon}


@tf.keras.saving.register_keras_serializable(package="efficientnet_advprop")
class MomentumTF1(_TF1Optimizer):
    """SGD with momentum as `tf.compat.v1.train.MomentumOptimizer` (and PyTorch's SGD) computes it.

        accumulated = momentum * accumulated + gradient
        variable -= learning_rate * accumulated

    Keras' SGD accumulates learning_rate * gradient instead. The two are equal while the rate is constant. After a drop,
    Keras follows the old rate for about 1 / (1 - momentum) steps. The official trainer and published ResNet recipes
    were tuned without that delay.

    Args:
        learning_rate: rate or schedule.
        momentum: fraction of the accumulated gradient kept per update.
        name: of the optimizer.
        **kwargs: of `tf.keras.optimizers.Optimizer`.
    """

    def __init__(
        self, learning_rate: LearningRate, momentum: float = 0.9, name: str = "MomentumTF1", **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, name, **kwargs)
        self.momentum = momentum

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one variable with a gradient of its shape."""
        rate, index = self._rate_and_index(variable)
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=self._momentums[index].handle,
            lr=rate,
            grad=gradient,
            momentum=self.momentum,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments from which `from_config` rebuilds this optimizer."""
        return {**super().get_config(), "momentum": self.momentum}


class _FewOperations:
    """Adam or AdamW with half the operations; the results are the same, bit by bit, on CPUs without fused kernels.

    Keras computes the corrected learning rate anew for every variable. Here what no variable is part of is computed
    once per update, and the kernel of gradient descent moves the averages: `variable -= alpha * delta`.
    """

    def apply_gradients(self, *args: Any, **kwargs: Any) -> tf.Variable:
        """Update the variables, as Keras' method."""
        self._scalars_on = functools.cache(self._scalars)
        return super().apply_gradients(*args, **kwargs)

    def _scalars(self, device: str, dtype: tf.DType) -> tuple[tf.Tensor, ...]:
        """1 - beta_1, 1 - beta_2, epsilon, and the rate corrected for moments that start at 0; on the caller's device.

        The device is an argument for the cache.
        """
        del device
        step = tf.cast(self.iterations + 1, dtype)
        first, second = (tf.pow(tf.cast(beta, dtype), step) for beta in (self.beta_1, self.beta_2))
        rate = tf.cast(self.learning_rate, dtype) * tf.sqrt(1 - second) / (1 - first)
        return *(tf.constant(value, dtype) for value in (1 - self.beta_1, 1 - self.beta_2, self.epsilon)), rate

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update one variable with a gradient of its shape."""
        index = self._index_dict[self._var_key(variable)]
        mean, mean_square = self._momentums[index], self._velocities[index]
        mean_share, square_share, epsilon, rate = self._scalars_on(variable.device, variable.dtype)
        descend = tf.raw_ops.ResourceApplyGradientDescent
        descend(var=mean.handle, alpha=mean_share, delta=mean - gradient)
        descend(var=mean_square.handle, alpha=square_share, delta=mean_square - tf.square(gradient))
        variable.assign_sub((mean * rate) / (tf.sqrt(mean_square) + epsilon))


@tf.keras.saving.register_keras_serializable(package="efficientnet_advprop")
class _Adam(_FewOperations, tf.keras.optimizers.Adam):
    pass


@tf.keras.saving.register_keras_serializable(package="efficientnet_advprop")
class _AdamW(_FewOperations, tf.keras.optimizers.AdamW):
    pass


def build_optimizer(
    spec: OptimizerSpec, learning_rate: LearningRate, undecayed: Sequence[tf.Variable]
) -> tf.keras.optimizers.Optimizer:
    """The optimizer of a recipe; call in the strategy's scope, as it creates variables.

    In replica context, its `apply_gradients` sums the gradients over replicas.

    Args:
        spec: the optimizer's name and constants.
        learning_rate: rate or schedule.
        undecayed: variables that adamw's decoupled weight decay excludes. The other optimizers decay weights through
            the loss (`weight_decay_loss`), as in the official trainer.

    Raises:
        ValueError: for an unknown optimizer.
    """
    if spec.optimizer == "rmsprop":
        return RMSPropTF1(learning_rate, spec.rmsprop_decay, spec.momentum, spec.rmsprop_epsilon)
    if spec.optimizer == "momentum":
        return MomentumTF1(learning_rate, spec.momentum)
    if spec.optimizer == "adam":
        return _Adam(learning_rate, name="Adam", jit_compile=_JIT_COMPILE)
    if spec.optimizer == "adamw":
        adamw = _AdamW(learning_rate, spec.weight_decay, name="AdamW", jit_compile=_JIT_COMPILE)
        adamw.exclude_from_weight_decay(var_list=list(undecayed))
        return adamw
    raise ValueError(f"no optimizer for {spec.optimizer!r}")


def num_slots(spec: OptimizerSpec) -> int:
    """Number of values that the optimizer holds for each trainable one."""
    return 1 if spec.optimizer == "momentum" else 2


def weight_decay_loss(variables: Sequence[tf.Variable], factor: float) -> tf.Tensor:
    """Factor times the sum of half the squared L2 norms (`tf.nn.l2_loss`), as in the official code; a float32 scalar.

    Args:
        variables: the decayed variables; the loss of none is 0.
        factor: `OptimizerSpec.weight_decay`.
    """
    if not variables:
        return tf.constant(0.0)
    return factor * tf.add_n([tf.nn.l2_loss(variable) for variable in variables])

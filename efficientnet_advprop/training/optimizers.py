"""Optimizers by name, RMSProp with TF1 semantics among them."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import OptimizerSpec

# Keras would compile the update with XLA on a GPU alone; off, an update is the same operation under every strategy.
_COMPILE = {"jit_compile": False}


class RMSPropTF1(tf.keras.optimizers.Optimizer):
    """RMSProp as `tf.compat.v1.train.RMSPropOptimizer` computes it, which EfficientNet was tuned with.

        mean_square = decay * mean_square + (1 - decay) * gradient^2        (starts at ones)
        moved = momentum * moved + learning_rate * gradient / sqrt(mean_square + epsilon)
        variable -= moved

    Keras' RMSprop starts the mean square at zeros, which makes the first steps far larger.

    Args:
        learning_rate: rate or schedule.
        decay: share of the old mean square kept.
        momentum: share of the last move repeated.
        epsilon: added inside the root.
    """

    def __init__(
        self,
        learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        name: str = "RMSPropTF1",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.decay = decay
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Create the two slots of each variable."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        self._mean_squares = [
            self.add_variable_from_reference(variable, "mean_square", initial_value=tf.ones(variable.shape))
            for variable in var_list
        ]
        self._moved = [self.add_variable_from_reference(variable, "moved") for variable in var_list]

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Move one variable."""
        index = self._index_dict[self._var_key(variable)]
        mean_square, moved = self._mean_squares[index], self._moved[index]
        rate = tf.cast(self.learning_rate, variable.dtype)
        mean_square.assign_add((tf.square(gradient) - mean_square) * (1.0 - self.decay))
        moved.assign(self.momentum * moved + rate * gradient * tf.math.rsqrt(mean_square + self.epsilon))
        variable.assign_sub(moved)

    def get_config(self) -> dict[str, Any]:
        """What the constructor needs to make this optimizer again."""
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter(self._learning_rate),
            "decay": self.decay,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }


def build_optimizer(
    spec: OptimizerSpec,
    learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule,
    undecayed: Sequence[tf.Variable],
) -> tf.keras.optimizers.Optimizer:
    """The optimizer of a recipe.

    Keras' SGD scales the gradient before it enters the momentum, TF1's MomentumOptimizer after: they agree but for the
    first steps after a change of the rate.

    Args:
        spec: which one, and its constants.
        learning_rate: rate or schedule.
        undecayed: variables that adamw's decoupled decay leaves alone; the others decay through the loss.
    """
    optimizers = tf.keras.optimizers
    if spec.optimizer == "rmsprop":
        return RMSPropTF1(learning_rate, spec.rmsprop_decay, spec.momentum, spec.rmsprop_epsilon, **_COMPILE)
    if spec.optimizer == "momentum":
        return optimizers.SGD(learning_rate, momentum=spec.momentum, **_COMPILE)
    if spec.optimizer == "adam":
        return optimizers.Adam(learning_rate, **_COMPILE)
    optimizer = optimizers.AdamW(learning_rate, weight_decay=spec.weight_decay, **_COMPILE)
    optimizer.exclude_from_weight_decay(var_list=list(undecayed))
    return optimizer


def weight_decay_loss(variables: Sequence[tf.Variable], factor: float) -> tf.Tensor:
    """Factor times the sum of half the squared norms (`tf.nn.l2_loss`, as the official code)."""
    if not variables or not factor:
        return tf.constant(0.0)
    return factor * tf.add_n([tf.nn.l2_loss(variable) for variable in variables])

"""Dynamic loss scaling, without which gradients in float16 become 0.

float16 has no numbers between 0 and 6e-8 and none above 65504. The losses are multiplied by a scale before the backward
pass, and the gradients of the weights, which are float32, divided by it. The scale is as large as the gradients allow:
it is halved when they are not finite, and doubled after a number of steps in which they were ("Mixed Precision
Training", Micikevicius et al., arXiv 1710.03740).

Not `tf.keras.mixed_precision.LossScaleOptimizer`: it does not say that it skipped a step, on which averages, moving
statistics and metrics depend here, and it changes the optimizer's part of a checkpoint.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.attacks import LossFunction, finite_gradient
from efficientnet_advprop.recipes import Term
from efficientnet_advprop.training.losses import Batch, PassLosses

# Those of Keras' LossScaleOptimizer. Halving and doubling round nothing: a power of 2 changes the exponent alone.
INITIAL_SCALE = 2.0**15
STEPS_BEFORE_DOUBLING = 2000
_LARGEST_SCALE = 2.0**24  # where no gradient ever overflows, the scale would become infinite
_SMALLEST_SCALE = 1.0


class LossScale(tf.Module):
    """The scale, and the number of steps since it last changed; create it in the strategy's scope.

    Like a moving average, every replica has a copy, and updates it without communication.

    Attributes:
        value: float32 scalar, a power of 2.
        good_steps: int64 scalar.
    """

    def __init__(self) -> None:
        super().__init__(name="loss_scale")
        self.value = tf.Variable(INITIAL_SCALE, trainable=False, name="value")
        # int64: TensorFlow keeps int32 variables of a GPU in the host's memory.
        self.good_steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="good_steps")

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """A float32 loss times the scale."""
        return loss * self.value

    def unscaled(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The float32 gradients of a scaled loss, divided by the scale."""
        return [gradient / self.value for gradient in gradients]

    def update(self, is_finite: tf.Tensor) -> tf.Tensor:
        """Change the scale after a step; call in replica context, with the same value on all replicas.

        Args:
            is_finite: whether the gradients were.

        Returns:
            Whether a smaller scale may help: false for finite gradients, and where the scale is 1 already.
        """
        scale, good_steps = self.value.read_value(), self.good_steps + 1
        doubles = good_steps >= STEPS_BEFORE_DOUBLING
        larger = tf.where(doubles, tf.minimum(2.0 * scale, _LARGEST_SCALE), scale)
        self.value.assign(tf.where(is_finite, larger, tf.maximum(scale / 2.0, _SMALLEST_SCALE)))
        self.good_steps.assign(tf.where(is_finite & ~doubles, good_steps, 0))
        return ~is_finite & (scale > _SMALLEST_SCALE)


def run_on_replicas(is_first: tf.Tensor, first: Callable[..., None], second: Callable[..., None], *values: Any) -> None:
    """Run one of two functions of this replica's values on all replicas; call in replica context.

    Other than in the branches of a `tf.cond` in replica context, both may synchronise replicas, as optimizers do.

    Args:
        is_first: which of them; equal on all replicas.
        first: a function of the values.
        second: the other.
        *values: nests of tensors.
    """

    def choose(strategy: tf.distribute.Strategy, is_first: Any, *values: Any) -> None:
        tf.cond(
            strategy.experimental_local_results(is_first)[0],
            lambda: strategy.run(first, values),
            lambda: strategy.run(second, values),
        )

    tf.distribute.get_replica_context().merge_call(choose, (is_first, *values))


class ScaledLosses:
    """Losses times a scale, in passes and in attacks; see `PassLosses`. Metrics are not scaled.

    Args:
        losses: to be scaled.
        scale: a loss -> that loss times the scale.
    """

    def __init__(self, losses: PassLosses, scale: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self._losses = losses
        self._scale = scale

    def metric_names(self, terms: Iterable[Term]) -> tuple[str, ...]:
        """Those of the losses."""
        return self._losses.metric_names(terms)

    def of_pass(self, terms: Sequence[Term], outputs: Any, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As `PassLosses.of_pass`, the loss scaled."""
        loss, metrics = self._losses.of_pass(terms, outputs, batch)
        return self._scale(loss), metrics

    def attacked(
        self, term: Term, predict: Callable[[tf.Tensor], Any], images: tf.Tensor, batch: Batch, seed: tf.Tensor
    ) -> LossFunction:
        """As `PassLosses.attacked`, scaled. An attack follows its gradient's direction, so nothing divides it again."""
        loss_fn = self._losses.attacked(term, predict, images, batch, seed)
        # Divided by B as the mean of a pass is: the loss scale is right for that size of gradients.
        size = tf.cast(tf.shape(images)[0], tf.float32)
        return lambda moved: self._scale(loss_fn(finite_gradient(moved)) / size)

"""Learning rate as a function of the step: linear warm-up, then a staircase, a cosine or a constant."""

from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import OptimizerSpec
from efficientnet_advprop.recipes.optimizer_spec import LEARNING_RATE_BATCH_SIZE

Schedule = tf.keras.optimizers.schedules.LearningRateSchedule


class WarmUp(Schedule):
    """Linear from 0 to the peak over the first steps, then the schedule as if there had been no warm-up.

    The official `utils.build_learning_rate`: the warm-up overrides the decay, which counts from step 0.

    Args:
        peak: rate at the end of the warm-up.
        warmup_steps: its length; step s of it has the rate peak * s / warmup_steps.
        after: the schedule from there on.
    """

    def __init__(self, peak: float, warmup_steps: int, after: Schedule | float) -> None:
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.after = after

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """The rate of the update that follows this many others."""
        step = tf.cast(step, tf.float32)
        after = self.after(step) if callable(self.after) else tf.constant(self.after)
        if self.warmup_steps == 0:
            return after
        return tf.where(step < self.warmup_steps, self.peak * step / self.warmup_steps, after)

    def get_config(self) -> dict[str, Any]:
        """What the constructor needs to make this schedule again."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "after": self.after}


def learning_rate_schedule(
    spec: OptimizerSpec, global_batch_size: int, steps_per_epoch: float, train_steps: int
) -> Schedule:
    """The schedule of a run.

    Args:
        spec: base rate per 256 images, kind of schedule, warm-up.
        global_batch_size: clean images per step, by which the base rate is scaled linearly.
        steps_per_epoch: a fraction, as in the official code.
        train_steps: where the cosine ends.
    """
    peak = spec.base_learning_rate * global_batch_size / LEARNING_RATE_BATCH_SIZE
    schedules = tf.keras.optimizers.schedules
    after = {
        "exponential": lambda: schedules.ExponentialDecay(
            peak, steps_per_epoch * spec.lr_decay_epochs, spec.lr_decay_factor, staircase=True
        ),
        "cosine": lambda: schedules.CosineDecay(peak, train_steps),
        "constant": lambda: peak,
    }[spec.lr_schedule]()
    return WarmUp(peak, int(spec.lr_warmup_epochs * steps_per_epoch), after)

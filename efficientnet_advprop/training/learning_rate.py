"""The learning rate as a function of the step: linear warm-up, then exponential or step decay, cosine or constant."""

import math
from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import OptimizerSpec

Schedule = tf.keras.optimizers.schedules.LearningRateSchedule


@tf.keras.saving.register_keras_serializable(package="efficientnet_advprop")
class WarmUp(Schedule):
    """Linear warm-up from 0 to the peak, then a decay schedule that counts from step 0.

    As in the official `utils.build_learning_rate`, the decay ignores the warm-up, so the rate may drop where the
    warm-up ends: by 0.97^2 after 5 epochs of the official recipe. (The warm-up of Keras' CosineDecay delays the decay.)

    Args:
        peak: the rate at the end of the warm-up.
        warmup_steps: its length; step s of the warm-up has the rate peak * s / warmup_steps.
        decay: the schedule after the warm-up; None keeps the peak.
    """

    def __init__(self, peak: float, warmup_steps: int, decay: Schedule | None = None) -> None:
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.decay = decay

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """The rate of the update after `step` earlier ones, a float32 scalar."""
        step = tf.cast(step, tf.float32)
        decayed = tf.constant(self.peak) if self.decay is None else self.decay(step)
        if self.warmup_steps == 0:
            return decayed
        return tf.where(step < self.warmup_steps, self.peak * step / self.warmup_steps, decayed)

    def get_config(self) -> dict[str, Any]:
        """The arguments from which `from_config` rebuilds this schedule."""
        decay = None if self.decay is None else tf.keras.optimizers.schedules.serialize(self.decay)
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "decay": decay}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """The schedule that `get_config` described."""
        decay = None if config["decay"] is None else tf.keras.optimizers.schedules.deserialize(config["decay"])
        return cls(config["peak"], config["warmup_steps"], decay)


def learning_rate_schedule(
    spec: OptimizerSpec, global_batch_size: int, steps_per_epoch: float, train_steps: int
) -> Schedule:
    """The learning rate schedule of a run, as in the official `utils.build_learning_rate`.

    Args:
        spec: base rate per 256 images, kind of schedule, warm-up.
        global_batch_size: clean images per step; the base rate is scaled linearly with it.
        steps_per_epoch: need not be whole (625.57 for ImageNet at 2048). Only the length of the warm-up is rounded,
            down.
        train_steps: steps of the whole run; the cosine reaches zero there.

    Returns:
        step -> rate; the first update has step 0.

    Raises:
        ValueError: for an unknown schedule.
    """
    peak = spec.peak_learning_rate(global_batch_size)
    if spec.lr_schedule == "exponential":
        decay = tf.keras.optimizers.schedules.ExponentialDecay(
            peak, steps_per_epoch * spec.lr_decay_epochs, spec.lr_decay_factor, staircase=True
        )
    elif spec.lr_schedule == "step":
        # Keras takes the last step before each drop; the rate drops at the first step after the epoch's end.
        boundaries = [math.ceil(epoch * steps_per_epoch) - 1 for epoch in spec.lr_step_epochs]
        rates = [peak * spec.lr_decay_factor**drops for drops in range(len(boundaries) + 1)]
        decay = tf.keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    elif spec.lr_schedule == "cosine":
        decay = tf.keras.optimizers.schedules.CosineDecay(peak, train_steps)
    elif spec.lr_schedule == "constant":
        decay = None
    else:
        raise ValueError(f"no schedule for lr_schedule {spec.lr_schedule!r}")
    return WarmUp(peak, int(spec.lr_warmup_epochs * steps_per_epoch), decay)

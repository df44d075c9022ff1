"""Learning rate as a function of the step: linear warm-up, then one of two staircases, a cosine or a constant."""

import math
from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import OptimizerSpec

Schedule = tf.keras.optimizers.schedules.LearningRateSchedule


@tf.keras.saving.register_keras_serializable(package="efficientnet_advprop")
class WarmUp(Schedule):
    """Linear from 0 to the peak over the first steps, then the decay as if there had been no warm-up.

    As in the official `utils.build_learning_rate`, the decay counts from step 0, so the rate may drop at the end of
    the warm-up: by 0.97^2 after 5 epochs of the official recipe. (The warm-up of Keras' CosineDecay delays the decay.)

    Args:
        peak: rate that the warm-up leads up to.
        warmup_steps: its length; step s of it has the rate peak * s / warmup_steps.
        decay: the schedule from there on; None stays at the peak.
    """

    def __init__(self, peak: float, warmup_steps: int, decay: Schedule | None = None) -> None:
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.decay = decay

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """The rate, a float32 scalar, of the update that follows `step` others."""
        step = tf.cast(step, tf.float32)
        decayed = tf.constant(self.peak) if self.decay is None else self.decay(step)
        if self.warmup_steps == 0:
            return decayed
        return tf.where(step < self.warmup_steps, self.peak * step / self.warmup_steps, decayed)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs to make this schedule again."""
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
    """The schedule of a run, as the official `utils.build_learning_rate` makes it.

    Args:
        spec: base rate per 256 images, kind of schedule, warm-up.
        global_batch_size: clean images per step, by which the base rate is scaled linearly.
        steps_per_epoch: a fraction (625.57 for ImageNet at 2048); only the warm-up's length is rounded, downwards.
        train_steps: of the whole run; where the cosine reaches zero.

    Returns:
        step -> rate, for the updates from step 0 on.

    Raises:
        ValueError: for an unknown schedule.
    """
    peak = spec.peak_learning_rate(global_batch_size)
    if spec.lr_schedule == "exponential":
        decay = tf.keras.optimizers.schedules.ExponentialDecay(
            peak, steps_per_epoch * spec.lr_decay_epochs, spec.lr_decay_factor, staircase=True
        )
    elif spec.lr_schedule == "step":
        # Keras' boundaries are the last steps before the rate drops; the first after an epoch's end is rounded upwards.
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

"""The scalars that `AdvProp.fit` logs."""

import tensorflow as tf


class EpochMeans:
    """The means of a training epoch's scalars over its images."""

    def __init__(self, means: dict[str, tf.keras.metrics.Mean]) -> None:
        self._means = means

    def updated(self, values: dict[str, tf.Tensor], images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Add the values of one step on one replica's images; returns the means so far."""
        for name, value in values.items():
            self._means[name].update_state(value, sample_weight=images)
        return {name: self._means[name].result() for name in values}

    def reset(self) -> None:
        """Forget all values."""
        for mean in self._means.values():
            mean.reset_state()

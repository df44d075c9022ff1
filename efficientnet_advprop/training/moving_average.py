"""The moving average of weights and statistics, held by a second network of the same architecture."""

from collections.abc import Sequence

import tensorflow as tf


class MovingAverage:
    """An exponential moving average, as `tf.train.ExponentialMovingAverage` with `num_updates` computes it.

        decay_t = min(decay, (1 + t) / (10 + t))        t includes the last update: the first decay is 2 / 11
        average -= (1 - decay_t) * (average - source)

    Like the official trainer it averages trainable variables and the batch norms' moving statistics. The averages are
    the variables of a network, so evaluation and export use that network like any other.

    Args:
        decay: fraction of the old average kept per update, once t is large. 0 turns averaging off: every average is
            then an exact copy.
        pairs: (average, source) variables of equal shapes, created under the same strategy.
    """

    def __init__(self, decay: float, pairs: Sequence[tuple[tf.Variable, tf.Variable]]) -> None:
        self._decay = decay
        self._pairs = list(pairs)

    def reset(self) -> None:
        """Set every average to its source; call in cross-replica context, before the first update."""
        for average, source in self._pairs:
            average.assign(source)

    def update(self, num_updates: tf.Tensor | tf.Variable) -> None:
        """Update the averages; call in replica context, after an update of the sources.

        Each replica updates its own copy, without communication. The weights are the same on all replicas. The moving
        statistics differ, and are averaged over replicas when they are read, like their sources.

        Args:
            num_updates: number of updates of the sources so far, a scalar such as the optimizer's `iterations`.
        """
        if self._decay == 0:
            for average, source in self._pairs:
                average.assign(source)  # average - 1 * (average - source) would add a rounding error
            return
        t = tf.cast(num_updates, tf.float32)
        rate = 1.0 - tf.minimum(self._decay, (1.0 + t) / (10.0 + t))
        for average, source in self._pairs:
            # One kernel, average -= alpha * delta.
            tf.raw_ops.ResourceApplyGradientDescent(var=average.handle, alpha=rate, delta=average - source)

"""Moving average of weights and statistics, kept in a second network of the same shape."""

from collections.abc import Sequence

import tensorflow as tf


class MovingAverage:
    """Moves average variables after their sources, as `tf.train.ExponentialMovingAverage` with `num_updates` does.

        decay_t = min(decay, (1 + t) / (10 + t))        t counts the update just made: the first decay is 2 / 11
        average -= (1 - decay_t) * (average - source)

    The official trainer averages trainable variables and the batch norms' moving statistics alike. Because the averages
    are the variables of a network, evaluation and export use that network as they would any other.

    Args:
        decay: the share of the old average kept per update, once t is large; 0 turns averaging off: every average is
            then an exact copy.
        pairs: (average, source) variables of equal shapes, created under the same strategy.
    """

    def __init__(self, decay: float, pairs: Sequence[tuple[tf.Variable, tf.Variable]]) -> None:
        self._decay = decay
        self._pairs = list(pairs)

    def reset(self) -> None:
        """Make every average equal to its source; call in cross-replica context, before the first update."""
        for average, source in self._pairs:
            average.assign(source)

    def update(self, num_updates: tf.Tensor | tf.Variable) -> None:
        """Move the averages once; call in replica context, after the update that `num_updates` counts last.

        Each replica moves its own copy, without communication: weights are the same on all of them, and moving
        statistics, which differ, are averaged over replicas when read, as their sources are.

        Args:
            num_updates: scalar, such as the optimizer's `iterations`.
        """
        if self._decay == 0:
            for average, source in self._pairs:
                average.assign(source)  # average - 1 * (average - source) would be off by a rounding
            return
        t = tf.cast(num_updates, tf.float32)
        rate = 1.0 - tf.minimum(self._decay, (1.0 + t) / (10.0 + t))
        for average, source in self._pairs:
            average.assign_sub(rate * (average - source))

"""Moving average of weights and statistics, kept in a second network of the same shape."""

from collections.abc import Sequence

import tensorflow as tf


class MovingAverage:
    """Moves average variables after their sources, as `tf.train.ExponentialMovingAverage` with `num_updates` does.

        decay_t = min(decay, (1 + t) / (10 + t))        t counts the update just made: the first decay is 2 / 11
        average -= (1 - decay_t) * (average - source)

    The official trainer averages trainable variables and the batch norms' moving statistics alike.

    Args:
        decay: its limit; 0 makes every average a copy.
        pairs: (average, source) variables.
    """

    def __init__(self, decay: float, pairs: Sequence[tuple[tf.Variable, tf.Variable]]) -> None:
        self._decay = decay
        self._pairs = list(pairs)

    def reset(self) -> None:
        """Make every average equal to its source; call on the host, before the first update."""
        for average, source in self._pairs:
            average.assign(source)

    def update(self, num_updates: tf.Tensor) -> None:
        """Move the averages once; call in replica context, after the update that `num_updates` counts last.

        Each replica moves its own copy: weights are the same on all of them, and statistics, which differ, are averaged
        over replicas when read, as their sources are.
        """
        t = tf.cast(num_updates, tf.float32)
        rate = 1.0 - tf.minimum(self._decay, (1.0 + t) / (10.0 + t))
        for average, source in self._pairs:
            average.assign_sub(rate * (average - source))

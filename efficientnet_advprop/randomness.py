"""Stateless randomness, a function of (run, step, replica, place): there is no generator state to save or restore.

A seed selects its generator by its type: int32 [2] is for TensorFlow's Philox, whose numbers differ between devices,
uint32 [2] is a key of Threefry, whose bits are the same on all. What is drawn from one seed must not be drawn again.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence

import tensorflow as tf

from efficientnet_advprop import threefry

_DRAWING_REFUSED = contextvars.ContextVar("drawing_refused", default=False)
_SEED_TYPES = {"philox": tf.int32, "threefry": tf.uint32}  # by `Recipe.generator`


def run_seed(seed: int, generator: str = "threefry") -> tf.Tensor:
    """The seed [2] of a run from its number, an int32, for the generator of this name.

    Raises:
        ValueError: for a number beyond int32.
    """
    if not -(2**31) <= seed < 2**31:
        raise ValueError(f"seed {seed} is outside [-2147483648, 2147483647]")
    return tf.bitcast(tf.constant([seed, 0], tf.int32), _SEED_TYPES[generator])


def replica_seed(seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """The seed [2] of this step on this replica, from that of the run; call in replica context."""
    return fold(seed, step, tf.distribute.get_replica_context().replica_id_in_sync_group)


def fold(seed: tf.Tensor, *places: int | tf.Tensor) -> tf.Tensor:
    """Derive the seed [2] of a place in the computation, such as (term, role), from a seed [2]."""
    fold_in = threefry.fold_in if _is_key(seed) else tf.random.experimental.stateless_fold_in
    for place in places:
        seed = fold_in(seed, tf.cast(place, tf.int32))
    return seed


def fold_each(seed: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The seeds int32 [N, 2] that `fold` derives for each of the places, [N], from one seed, int32 [2], of Philox."""
    # `stateless_fold_in` draws the first word from the seed alone, and the second is the place. A test compares them.
    first = fold(seed, 0)[0]
    return tf.stack([tf.fill(tf.shape(places), first), tf.cast(places, tf.int32)], axis=1)


def split(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two seeds [2] from one."""
    if _is_key(seed):
        return fold(seed, 0), fold(seed, 1)
    first, second = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    return first, second


def uniform(
    shape: Sequence[int | tf.Tensor] | tf.Tensor, seed: tf.Tensor, low: float = 0.0, high: float = 1.0
) -> tf.Tensor:
    """Uniform float32 in [low, high) of this shape; for [0, 1) from a key, multiples of 2^-24."""
    if not _is_key(seed):
        return tf.random.stateless_uniform(shape, seed, low, high)
    fractions = tf.cast(_shifted(threefry.random_bits(shape, seed), 8), tf.float32) * 2.0**-24
    return low + (high - low) * fractions


def normal(shape: Sequence[int | tf.Tensor] | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal float32 of this shape."""
    if not _is_key(seed):
        return tf.random.stateless_normal(shape, seed)
    # The middles of 2^23 equal parts of (-1, 1): exact in float32, and never an end, whose quantile is infinite.
    words = tf.cast(_shifted(threefry.random_bits(shape, seed), 9), tf.float32)
    return 2.0**0.5 * tf.math.erfinv((words + 0.5) * 2.0**-22 - 1.0)


def dropout(values: tf.Tensor, rate: float, seed: tf.Tensor, noise_shape: Sequence[int] | None = None) -> tf.Tensor:
    """The values, each set to 0 with probability `rate` and else divided by 1 - rate.

    Args:
        values: of any shape.
        rate: in [0, 1).
        seed: [2].
        noise_shape: of the mask, 1 where all values along a dimension share one decision; None is that of the values.
    """
    if not _is_key(seed):
        return tf.nn.experimental.stateless_dropout(values, rate, seed, noise_shape=noise_shape)
    kept = uniform(tf.shape(values) if noise_shape is None else noise_shape, seed) >= rate  # float32 in any precision
    return tf.where(kept, values / (1.0 - rate), tf.zeros([], values.dtype))


def choice(allowed: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """An index [B], int64, for each row of `allowed`, bool [B, K], uniform over those that are True."""
    if not _is_key(seed):
        log_weights = tf.where(allowed, 0.0, tf.float32.min)
        return tf.random.stateless_categorical(log_weights, 1, seed)[:, 0]
    return tf.argmax(tf.where(allowed, uniform(tf.shape(allowed), seed), -1.0), axis=1)


def permutation(count: int, seed: tf.Tensor) -> tf.Tensor:
    """The numbers below `count` in random order, int32 [count]."""
    if not _is_key(seed):
        return tf.random.experimental.stateless_shuffle(tf.range(count), seed)
    return tf.argsort(uniform([count], seed))


def drawn_seed() -> tf.Tensor:
    """A new seed [2] in every call and every run of a graph, for a caller who gives none, such as Keras' `fit`.

    It comes from TensorFlow's global generator, which `tf.keras.utils.set_random_seed` seeds and no checkpoint holds.

    Raises:
        ValueError: within `only_given_seeds`.
    """
    if _DRAWING_REFUSED.get():
        raise ValueError("dropout or drop connect lacks a seed [2], without which the run could not be resumed")
    return tf.bitcast(tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32), tf.uint32)


@contextlib.contextmanager
def only_given_seeds() -> Iterator[None]:
    """Within it a seed that a caller forgot is an error instead of a drawn one; it holds for the current thread."""
    token = _DRAWING_REFUSED.set(True)
    try:
        yield
    finally:
        _DRAWING_REFUSED.reset(token)


def _is_key(seed: tf.Tensor) -> bool:
    return tf.as_dtype(getattr(seed, "dtype", tf.int32)) == tf.uint32


def _shifted(words: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(words, tf.constant(bits, tf.uint32))

"""Stateless seeds, as functions of (run, step, replica, place): there is no generator state to save or restore."""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

_DRAWING_REFUSED = contextvars.ContextVar("drawing_refused", default=False)


def replica_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """The seed [2] of this step on this replica; call in replica context."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return fold(tf.constant([seed, 0], tf.int32), step, replica)


def fold(seed: tf.Tensor, *places: int | tf.Tensor) -> tf.Tensor:
    """Derive the seed [2] of a place in the computation, such as (term, role), from a seed [2]."""
    for place in places:
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(place, tf.int32))
    return seed


def drawn_seed() -> tf.Tensor:
    """A new seed [2] in every call and every run of a graph, for a caller who gives none, such as Keras' `fit`.

    It comes from TensorFlow's global generator, which `tf.keras.utils.set_random_seed` seeds and no checkpoint holds.

    Raises:
        ValueError: within `only_given_seeds`.
    """
    if _DRAWING_REFUSED.get():
        raise ValueError("dropout or drop connect lacks a seed (int32 [2]), without which the run could not be resumed")
    return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)


@contextlib.contextmanager
def only_given_seeds() -> Iterator[None]:
    """Within it a seed that a caller forgot is an error instead of a drawn one; it holds for the current thread."""
    token = _DRAWING_REFUSED.set(True)
    try:
        yield
    finally:
        _DRAWING_REFUSED.reset(token)

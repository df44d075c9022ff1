"""Stateless seeds, as functions of (run, step, replica, place): there is no generator state to save or restore."""

import tensorflow as tf


def replica_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """The seed [2] of this step on this replica; call in replica context."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return fold(tf.constant([seed, 0], tf.int32), step, replica)


def fold(seed: tf.Tensor, *places: int | tf.Tensor) -> tf.Tensor:
    """Derive the seed [2] of a place in the computation, such as (term, role), from a seed [2]."""
    for place in places:
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(place, tf.int32))
    return seed

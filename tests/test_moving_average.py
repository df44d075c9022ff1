"""The moving average against `tf.train.ExponentialMovingAverage`, on one device and on replicas."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.training.moving_average import MovingAverage

SHAPES = [(), (7,), (3, 3, 2, 5)]


def random_variables(rng):
    return [tf.Variable(rng.normal(size=shape).astype(np.float32)) for shape in SHAPES]


def statistics_variable(value):
    """A variable with the options of batch norm's moving statistics."""
    return tf.Variable(
        value,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
    )


@pytest.mark.parametrize("decay", [0.9999, 0.5])  # 0.5 is the smaller decay from the eighth update on
def test_equals_the_official_average(decay):
    rng = np.random.default_rng(0)
    sources, averages = random_variables(rng), random_variables(rng)
    ours = MovingAverage(decay, list(zip(averages, sources, strict=True)))
    ours.reset()
    num_updates = tf.Variable(0, dtype=tf.int64)
    official = tf.train.ExponentialMovingAverage(decay, num_updates=num_updates)
    official.apply(sources)  # creates averages equal to the sources; the first update does not change them
    for _ in range(15):
        for source in sources:
            source.assign_add(rng.normal(size=source.shape).astype(np.float32))
        num_updates.assign_add(1)
        official.apply(sources)
        ours.update(num_updates)
        for average, source in zip(averages, sources, strict=True):
            np.testing.assert_array_equal(average, official.average(source))


def test_the_first_decay_is_two_elevenths():
    average, source = tf.Variable(0.0), tf.Variable(1.0)
    MovingAverage(0.9999, [(average, source)]).update(tf.constant(1))
    assert float(average) == pytest.approx(1 - 2 / 11, rel=1e-6)


def test_decay_zero_copies_exactly():
    average, source = tf.Variable(1e4), tf.Variable(0.123456)
    MovingAverage(0.0, [(average, source)]).update(tf.constant(1000))
    assert float(average) == float(source)


def test_replicas_average_weights_without_communication(two_replicas):
    with two_replicas.scope():
        average, source = tf.Variable([1.0, 2.0]), tf.Variable([3.0, 6.0])
    moving_average = MovingAverage(0.9999, [(average, source)])

    @tf.function
    def run(num_steps):
        for step in tf.range(num_steps):
            two_replicas.run(moving_average.update, (step + 1,))

    run(tf.constant(2))
    distance = np.array([2.0, 4.0]) * (2 / 11) * (3 / 12)
    for copy in two_replicas.experimental_local_results(average):
        np.testing.assert_allclose(copy, np.array([3.0, 6.0]) - distance, rtol=1e-6)
    collectives = [op.type for op in run.get_concrete_function(tf.constant(2)).graph.get_operations()]
    assert not any("Collective" in kind or "Nccl" in kind for kind in collectives)


@pytest.mark.parametrize("decay", [0.9999, 0.0])
def test_each_replica_averages_its_own_statistics(two_replicas, decay):
    with two_replicas.scope():
        average, source = statistics_variable(0.0), statistics_variable(1.0)
    moving_average = MovingAverage(decay, [(average, source)])
    moving_average.reset()

    @tf.function
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        source.assign_add(tf.cast(replica + 1, tf.float32))  # 2 on the first replica, 3 on the second
        moving_average.update(tf.constant(1))

    two_replicas.run(step)
    kept = min(decay, 2 / 11)
    copies = [float(copy) for copy in two_replicas.experimental_local_results(average)]
    assert copies == pytest.approx([2 - kept * 1, 3 - kept * 2], rel=1e-6)
    assert average.numpy() == pytest.approx(np.mean(copies), rel=1e-6)  # read across replicas: their mean


def test_averages_of_a_batch_norm_network_start_equal_and_lag_behind(two_replicas):
    """Averages and sources are variables of batch norm layers, with statistics that differ between replicas."""
    with two_replicas.scope():
        network, average_network = (tf.keras.layers.BatchNormalization(momentum=0.5) for _ in range(2))
        network.build([None, 4])
        average_network.build([None, 4])
        network.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    pairs = list(zip(average_network.variables, network.variables, strict=True))
    moving_average = MovingAverage(0.9999, pairs)
    moving_average.reset()
    for average, source in pairs:
        np.testing.assert_array_equal(average.numpy(), source.numpy())

    @tf.function
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        network(tf.ones([8, 4]) * tf.cast(replica, tf.float32), training=True)
        moving_average.update(tf.constant(1))

    start = network.moving_mean.numpy()
    two_replicas.run(step)
    moved = (start + 0.5) / 2  # the batch means 0 and 1, averaged; momentum keeps one half
    np.testing.assert_allclose(network.moving_mean.numpy(), moved, rtol=1e-6)
    np.testing.assert_allclose(average_network.moving_mean.numpy(), moved + (start - moved) * 2 / 11, rtol=1e-6)

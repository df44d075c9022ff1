"""Optimizers against the TF1 originals, on replicas, in mixed precision, and with checkpoints."""

import json

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.recipes import OptimizerSpec
from efficientnet_advprop.recipes.optimizer_spec import OPTIMIZERS
from efficientnet_advprop.training.learning_rate import learning_rate_schedule
from efficientnet_advprop.training.optimizers import MomentumTF1, RMSPropTF1, build_optimizer, weight_decay_loss

SHAPES = [(), (7,), (3, 3, 2, 5)]
LEARNING_RATES = [0.0, 0.01, 0.02, 0.04, 0.04, 0.04, 0.004, 0.004, 0.004, 0.0004, 0.1, 0.1]


def some_variables():
    rng = np.random.default_rng(1)
    return [tf.Variable(rng.normal(size=shape).astype(np.float32)) for shape in SHAPES]


def some_gradients(step, replica=0):
    """Of sizes from 1e-3 to 1, so that epsilon and the mean square both matter."""
    rng = np.random.default_rng([step, replica])
    return [tf.constant(rng.normal(scale=10.0**-i, size=shape), tf.float32) for i, shape in enumerate(SHAPES)]


def train(optimizer, variables, steps):
    for step in steps:
        optimizer.apply_gradients(zip(some_gradients(step), variables, strict=True))


def assert_equal(variables, others):
    for variable, other in zip(variables, others, strict=True):
        np.testing.assert_array_equal(variable, other)


@pytest.mark.parametrize(
    ("make_ours", "make_official"),
    [
        (
            lambda rate: RMSPropTF1(rate, decay=0.9, momentum=0.9, epsilon=1e-3),
            lambda rate: tf.compat.v1.train.RMSPropOptimizer(rate, decay=0.9, momentum=0.9, epsilon=1e-3),
        ),
        (
            lambda rate: RMSPropTF1(rate, decay=0.99, momentum=0.0, epsilon=1e-8),
            lambda rate: tf.compat.v1.train.RMSPropOptimizer(rate, decay=0.99, momentum=0.0, epsilon=1e-8),
        ),
        (
            lambda rate: MomentumTF1(rate, momentum=0.9),
            lambda rate: tf.compat.v1.train.MomentumOptimizer(rate, momentum=0.9),
        ),
    ],
    ids=["rmsprop", "rmsprop_without_momentum", "momentum"],
)
def test_equals_the_tf1_optimizer_while_the_rate_changes(make_ours, make_official):
    rate = tf.Variable(0.0)
    ours, official = make_ours(0.0), make_official(lambda: rate)
    variables, expected = some_variables(), some_variables()
    for step, value in enumerate(LEARNING_RATES):
        ours.learning_rate = value
        rate.assign(value)
        gradients = some_gradients(step)
        ours.apply_gradients(zip(gradients, variables, strict=True))
        official.apply_gradients(zip(gradients, expected, strict=True))
        assert_equal(variables, expected)


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("in_graph", [False, True])
def test_adam_is_keras_own_bit_by_bit(name, in_graph):
    rates = tf.keras.optimizers.schedules.PiecewiseConstantDecay([2, 5], [0.01, 0.04, 0.002])
    ours = build_optimizer(OptimizerSpec(name, 0.1, weight_decay=1e-2), rates, [])
    keras = {
        "adam": lambda: tf.keras.optimizers.Adam(rates, jit_compile=False),
        "adamw": lambda: tf.keras.optimizers.AdamW(rates, 1e-2, jit_compile=False),
    }[name]()
    variables, expected = some_variables(), some_variables()
    for optimizer, some in ((ours, variables), (keras, expected)):
        optimizer.build(some)
        apply = tf.function(optimizer.apply_gradients, autograph=False) if in_graph else optimizer.apply_gradients
        for step in range(8):
            apply(list(zip(some_gradients(step), some, strict=True)))
    assert_equal(variables, expected)
    assert [slot.name for slot in ours.variables] == [slot.name for slot in keras.variables]
    assert_equal(ours.variables, keras.variables)
    assert ours.get_config()["name"] == keras.get_config()["name"]


def test_rmsprop_by_hand():
    variable = tf.Variable(1.0)
    optimizer = RMSPropTF1(0.1, decay=0.9, momentum=0.5, epsilon=1e-3)
    value, mean_square, accumulated = 1.0, 1.0, 0.0
    for gradient in (2.0, -1.0, 0.5):
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        accumulated = 0.5 * accumulated + 0.1 * gradient / (mean_square + 1e-3) ** 0.5
        value -= accumulated
        assert float(variable) == pytest.approx(value, rel=1e-6)


def test_momentum_takes_a_new_rate_at_once():
    """Keras' SGD would still move by 0.1 * 0.9 + 0.01 here."""
    variable = tf.Variable(0.0)
    optimizer = MomentumTF1(0.1, momentum=0.9)
    optimizer.apply_gradients([(tf.constant(1.0), variable)])
    optimizer.learning_rate = 0.01
    optimizer.apply_gradients([(tf.constant(1.0), variable)])
    assert float(variable) == pytest.approx(-0.1 - 0.01 * 1.9, rel=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_replicas_equal_one_device_with_the_sum_of_gradients(two_replicas, name):
    """In a loop on the device, while the rate warms up and drops."""
    spec = OptimizerSpec(
        optimizer=name, base_learning_rate=0.02, lr_decay_epochs=1.0, lr_decay_factor=0.5, weight_decay=0.1
    )
    num_steps = 11
    schedule = learning_rate_schedule(spec, 256, steps_per_epoch=1.0, train_steps=num_steps)
    gradients = [tf.stack(pair) for pair in zip(some_gradients(0, 0), some_gradients(0, 1), strict=True)]  # [2, ...]

    with two_replicas.scope():
        variables = some_variables()
        optimizer = build_optimizer(spec, schedule, variables[:1])
        optimizer.build(variables)

    def replica_step(scale):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        optimizer.apply_gradients([(scale * g[replica], v) for g, v in zip(gradients, variables, strict=True)])

    @tf.function
    def loop(num_steps):
        for step in tf.range(num_steps):
            two_replicas.run(replica_step, (tf.cos(tf.cast(step, tf.float32)),))

    loop(tf.constant(num_steps))

    expected = some_variables()
    single = build_optimizer(spec, schedule, expected[:1])
    for step in range(num_steps):
        scale = tf.cos(float(step))
        single.apply_gradients([(scale * g[0] + scale * g[1], v) for g, v in zip(gradients, expected, strict=True)])

    assert optimizer.iterations.numpy() == num_steps
    for variable, other in zip(variables, expected, strict=True):
        first, second = two_replicas.experimental_local_results(variable)
        np.testing.assert_array_equal(first, second)
        # Not bit-equal: a graph may fuse operations between which eager execution rounds.
        np.testing.assert_allclose(first, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_mixed_precision_keeps_weights_and_slots_in_float32(name):
    layer = tf.keras.layers.Dense(3, dtype=tf.keras.mixed_precision.Policy("mixed_bfloat16"))
    inputs = tf.constant(np.random.default_rng(0).normal(size=(4, 5)), tf.float32)
    layer.build(inputs.shape)
    optimizer = build_optimizer(OptimizerSpec(optimizer=name), 0.01, [layer.bias])
    optimizer.build(layer.trainable_variables)
    before = layer.kernel.numpy()
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
    assert outputs.dtype == tf.bfloat16
    gradients = tape.gradient(loss, layer.trainable_variables)
    optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
    assert {variable.dtype for variable in optimizer.variables} == {tf.int64, tf.float32}  # int64 is the step
    assert layer.kernel.dtype == tf.float32
    assert np.all(layer.kernel.numpy() != before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_restores_the_slots_exactly(name, tmp_path):
    spec = OptimizerSpec(optimizer=name)
    schedule = learning_rate_schedule(spec, 256, steps_per_epoch=1.0, train_steps=10)

    def fresh():
        variables = some_variables()
        optimizer = build_optimizer(spec, schedule, [])
        optimizer.build(variables)
        return optimizer, variables, tf.train.Checkpoint(optimizer=optimizer, variables=variables)

    optimizer, variables, checkpoint = fresh()
    train(optimizer, variables, range(6))
    path = checkpoint.write(str(tmp_path / "step"))
    resumed_optimizer, resumed, checkpoint = fresh()
    checkpoint.read(path).assert_consumed()
    assert_equal(resumed_optimizer.variables, optimizer.variables)
    train(optimizer, variables, range(6, 9))
    train(resumed_optimizer, resumed, range(6, 9))
    assert_equal(resumed, variables)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("scheduled", [True, False])
def test_a_config_makes_the_same_optimizer_again(name, scheduled):
    spec = OptimizerSpec(optimizer=name, rmsprop_decay=0.8, rmsprop_epsilon=1e-2, momentum=0.7)
    rate = learning_rate_schedule(spec, 256, steps_per_epoch=1.0, train_steps=10) if scheduled else 0.125
    optimizer = build_optimizer(spec, rate, [])
    config = json.loads(json.dumps(optimizer.get_config(), default=float))  # Keras gives plain rates as NumPy scalars
    again = type(optimizer).from_config(config)
    variables, expected = some_variables(), some_variables()
    train(again, variables, range(8))
    train(optimizer, expected, range(8))
    assert_equal(variables, expected)


def test_only_adamw_decays_weights_and_not_the_excluded_ones():
    zeros = [tf.zeros(shape) for shape in SHAPES]
    for name in OPTIMIZERS:
        variables, start = some_variables(), some_variables()
        optimizer = build_optimizer(OptimizerSpec(optimizer=name, weight_decay=0.1), 0.5, variables[:1])
        optimizer.apply_gradients(zip(zeros, variables, strict=True))
        assert_equal(variables[:1], start[:1])
        kept = 1 - 0.5 * 0.1 if name == "adamw" else 1.0
        for variable, value in zip(variables[1:], start[1:], strict=True):
            np.testing.assert_allclose(variable, kept * value, rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_is_compiled_even_with_a_gpu(name, monkeypatch):
    """Keras compiles only with a GPU, so the test pretends that there is one."""
    monkeypatch.setattr(tf.compat.v2.config, "list_physical_devices", lambda kind: [kind])
    assert tf.keras.optimizers.SGD().jit_compile
    assert not build_optimizer(OptimizerSpec(optimizer=name), 0.1, []).jit_compile


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="lars"):
        build_optimizer(OptimizerSpec(optimizer="lars"), 0.1, [])


def test_weight_decay_is_half_the_squared_norm():
    variables = [tf.Variable([3.0, 4.0]), tf.Variable([[2.0]])]
    with tf.GradientTape() as tape:
        loss = weight_decay_loss(variables, 0.1)
    assert float(loss) == pytest.approx(0.1 * (25 + 4) / 2)
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        np.testing.assert_allclose(gradient, 0.1 * variable.numpy(), rtol=1e-6)
    assert float(weight_decay_loss([], 0.1)) == 0

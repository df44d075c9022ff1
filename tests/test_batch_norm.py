"""Batch norm with branches: which statistics it uses and which variables it updates."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.batch_norm import STATISTICS, AuxBatchNormalization

BRANCHES = ("main", "auxiliary")
CHANNELS = 3


@pytest.fixture
def activations() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(2.0, 3.0, (4, 2, 2, CHANNELS)), tf.float32)


@pytest.fixture
def layer() -> AuxBatchNormalization:
    layer = AuxBatchNormalization(BRANCHES, momentum=0.9)
    layer.build(tf.TensorShape([None, None, None, CHANNELS]))
    randomize(layer)
    return layer


def randomize(layer: AuxBatchNormalization) -> None:
    rng = np.random.default_rng(1)
    for variable in layer.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))


def values(variables: list[tf.Variable]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def assert_unchanged(variables: list[tf.Variable], before: list[np.ndarray]) -> None:
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_build_creates_every_branch():
    layer = AuxBatchNormalization(BRANCHES)
    layer.build(tf.TensorShape([None, 8, 8, CHANNELS]))
    assert len(layer.variables) == 8
    assert len(layer.trainable_variables) == 4
    main, auxiliary = (layer.branch_variables(branch) for branch in BRANCHES)
    assert [variable.name for variable in main] == [
        f"main/{name}:0" for name in ("gamma", "beta", "moving_mean", "moving_variance")
    ]
    assert {id(variable) for variable in main}.isdisjoint(id(variable) for variable in auxiliary)


@pytest.mark.parametrize("branch", BRANCHES)
def test_training_moves_only_its_branch(layer, activations, branch):
    (other,) = set(BRANCHES) - {branch}
    other_before = values(layer.branch_variables(other))
    gamma, beta, mean, variance = values(layer.branch_variables(branch))
    outputs = layer(activations, training=True, branch=branch)

    batch = activations.numpy().reshape(-1, CHANNELS)
    expected = gamma * (activations - batch.mean(0)) / np.sqrt(batch.var(0) + layer.epsilon) + beta
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    assert_unchanged(layer.branch_variables(other), other_before)
    moved = values(layer.branch_variables(branch))
    np.testing.assert_array_equal(moved[0], gamma)
    np.testing.assert_array_equal(moved[1], beta)
    np.testing.assert_allclose(moved[2], 0.9 * mean + 0.1 * batch.mean(0), rtol=1e-5)
    # The fused kernel stores the unbiased variance.
    np.testing.assert_allclose(moved[3], 0.9 * variance + 0.1 * batch.var(0, ddof=1), rtol=1e-5)


def test_running_uses_the_moving_statistics(layer, activations):
    before = values(layer.variables)
    gamma, beta, mean, variance = values(layer.branch_variables("auxiliary"))
    expected = gamma * (activations - mean) / np.sqrt(variance + layer.epsilon) + beta
    outputs = layer(activations, training=True, branch="auxiliary", statistics="running")
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    assert_unchanged(layer.variables, before)


@pytest.mark.parametrize("training", [False, True])
def test_batch_is_the_training_output_without_assignment(layer, activations, training):
    before = values(layer.variables)
    outputs = layer(activations, training=training, branch="auxiliary", statistics="batch")
    assert_unchanged(layer.variables, before)
    np.testing.assert_array_equal(outputs, layer(activations, training=True, branch="auxiliary"))


def test_batch_has_the_training_gradient(layer, activations):
    def gradient(statistics: str) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(activations)
            loss = tf.reduce_sum(layer(activations, branch="auxiliary", statistics=statistics) ** 3)
        return tape.gradient(loss, activations)

    np.testing.assert_array_equal(gradient("batch"), gradient("update"))


@pytest.mark.parametrize(("training", "statistics"), [(True, "update"), (False, "running")])
def test_training_sets_the_default_of_statistics(layer, activations, training, statistics):
    start = values(layer.variables)
    by_default = layer(activations, training=training), values(layer.variables)
    for variable, value in zip(layer.variables, start, strict=True):
        variable.assign(value)
    named = layer(activations, training=not training, statistics=statistics), values(layer.variables)
    for ours, theirs in zip(tf.nest.flatten(by_default), tf.nest.flatten(named), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_fused_unless_synchronized():
    for synchronized in (False, True):
        layer = AuxBatchNormalization(BRANCHES, synchronized=synchronized)
        layer.build(tf.TensorShape([None, None, None, CHANNELS]))
        assert [layer.norm(branch).fused for branch in BRANCHES] == [not synchronized] * 2


def test_synchronized_statistics_are_those_of_all_replicas(activations, two_replicas):
    strategy = two_replicas
    with strategy.scope():
        layer = AuxBatchNormalization(BRANCHES, momentum=0.9, synchronized=True)
        layer.build(tf.TensorShape([None, None, None, CHANNELS]))
    halves = tf.split(activations, 2)
    distributed = strategy.experimental_distribute_values_from_function(
        lambda context: halves[context.replica_id_in_sync_group]
    )
    run = tf.function(lambda inputs: strategy.run(layer, (inputs,), {"training": True, "branch": "auxiliary"}))
    outputs = tf.concat(strategy.experimental_local_results(run(distributed)), 0)

    batch = activations.numpy().reshape(-1, CHANNELS)
    expected = (activations - batch.mean(0)) / np.sqrt(batch.var(0) + layer.epsilon)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    _, _, mean, variance = values(layer.branch_variables("auxiliary"))
    np.testing.assert_allclose(mean, 0.1 * batch.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * batch.var(0), rtol=1e-5)  # biased, unlike the fused kernel's


@pytest.mark.parametrize("statistics", STATISTICS)
def test_mixed_bfloat16(activations, statistics):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        layer = AuxBatchNormalization(BRANCHES)
        outputs = layer(activations, branch="auxiliary", statistics=statistics)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert outputs.dtype == tf.bfloat16
    assert {variable.dtype for variable in layer.variables} == {tf.float32}
    reference = AuxBatchNormalization(BRANCHES)(activations, branch="auxiliary", statistics=statistics)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), reference, rtol=2e-2, atol=4e-2)


def test_errors_list_what_is_known(layer, activations):
    with pytest.raises(ValueError, match="unknown branch 'other'; known: main, auxiliary"):
        layer(activations, branch="other")
    with pytest.raises(ValueError, match="unknown branch 'other'; known: main, auxiliary"):
        layer.branch_variables("other")
    with pytest.raises(ValueError, match="unknown statistics 'frozen'; known: update, running, batch"):
        layer(activations, statistics="frozen")
    for branches in ((), ("main", "main")):
        with pytest.raises(ValueError, match="must be distinct, and at least one"):
            AuxBatchNormalization(branches)


def test_config_makes_the_same_layer():
    layer = AuxBatchNormalization(BRANCHES, momentum=0.5, epsilon=1e-2, synchronized=True, name="norm")
    copy = AuxBatchNormalization.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy.branches == BRANCHES
    assert copy.norm("auxiliary").momentum == 0.5

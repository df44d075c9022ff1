"""AuxBatchNormalization as a Keras layer: against Keras' own, its arguments, and functional models that hold it."""

import json

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models.plain_norms import with_plain_norms

layers = tf.keras.layers
TWO = ("main", "auxiliary")
_CASES = (
    {"shape": (6, 4)},
    {"shape": (6, 5, 4)},
    {"shape": (6, 5, 4), "axis": 1, "center": False},
    {"shape": (6, 3, 5, 4), "scale": False, "center": False},
    {"shape": (6, 3, 5, 4), "axis": [1, 3]},
    {"shape": (6, 3, 5, 4), "dtype": "float64"},
    {"shape": (6, 2, 3, 2, 4), "momentum": 0.5, "epsilon": 0.1},
    {"shape": (6, 2, 3, 2, 4), "axis": 2},
)


def randomize(layer: tf.keras.layers.Layer, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))


def pair(shape, **arguments) -> tuple[AuxBatchNormalization, tf.keras.layers.BatchNormalization, tf.Tensor]:
    """Our layer with one branch, Keras' with the same values, and inputs."""
    ours, theirs = AuxBatchNormalization(**arguments), layers.BatchNormalization(**arguments)
    for layer in (ours, theirs):
        layer.build(tf.TensorShape([None, *shape[1:]]))
        randomize(layer)
    values = np.random.default_rng(1).normal(2.0, 3.0, shape)
    return ours, theirs, tf.constant(values, ours.variable_dtype)


@pytest.mark.parametrize("case", _CASES, ids=str)
def test_one_branch_is_keras_layer(case):
    ours, theirs, inputs = pair(**case)
    for options in ({"training": True}, {}):
        np.testing.assert_array_equal(ours(inputs, **options), theirs(inputs, **options))
        for variable, reference in zip(ours.variables, theirs.variables, strict=True):
            np.testing.assert_array_equal(variable, reference)
    assert ours.compute_output_shape(inputs.shape) == theirs.compute_output_shape(inputs.shape)


@pytest.mark.parametrize("case", _CASES, ids=str)
def test_batch_statistics_are_those_of_training(case):
    ours, theirs, inputs = pair(**case)
    before = [variable.numpy() for variable in ours.variables]
    results = []
    for layer, options in ((ours, {"statistics": "batch"}), (theirs, {"training": True})):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, **options)
            loss = tf.reduce_sum(outputs**3)
        results.append((outputs, tape.gradient(loss, inputs)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    for variable, value in zip(ours.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("options", [{"training": True}, {"statistics": "batch"}], ids=str)
def test_masked_positions_do_not_count(options):
    ours, theirs, inputs = pair((6, 5, 4))
    mask = tf.constant(np.random.default_rng(2).random((6, 5)) < 0.7)
    np.testing.assert_allclose(
        ours(inputs, mask=mask, **options), theirs(inputs, mask=mask, training=True), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 3, 4)])
def test_float16(shape):
    ours, _, inputs = pair(shape, dtype="mixed_float16")
    reference = pair(shape)[0]
    for options in ({}, {"training": True}, {"statistics": "batch"}):
        outputs = ours(inputs, **options)
        assert outputs.dtype == tf.float16
        np.testing.assert_allclose(outputs, reference(inputs, **options), rtol=1e-2, atol=1e-2)
    assert {variable.dtype for variable in ours.variables} == {tf.float32}


def test_frozen_branches_keep_their_statistics():
    frozen, thawed = AuxBatchNormalization(TWO, trainable=False), AuxBatchNormalization(TWO)
    thawed.trainable = False
    inputs = tf.random.stateless_normal([6, 4], [1, 2])
    for layer in (frozen, thawed):
        for branch in TWO:
            np.testing.assert_allclose(layer(inputs, training=True, branch=branch), inputs, rtol=1e-3)
        assert not layer.trainable_variables
        assert layer.get_config()["trainable"] is False


def test_arguments_survive_json():
    layer = AuxBatchNormalization(
        TWO,
        axis=1,
        center=False,
        gamma_initializer=tf.keras.initializers.Constant(0.5),
        moving_mean_initializer="ones",
        gamma_regularizer=tf.keras.regularizers.L2(0.1),
        gamma_constraint="non_neg",
        synchronized=True,
        dtype="mixed_bfloat16",
    )
    layer.build(tf.TensorShape([None, 3, 4]))
    copy = AuxBatchNormalization.from_config(json.loads(json.dumps(layer.get_config())))
    copy.build(tf.TensorShape([None, 3, 4]))
    assert copy.get_config() == layer.get_config()
    assert copy.compute_dtype == "bfloat16"
    for branch in TWO:
        norm = copy.norm(branch)
        assert norm.synchronized and norm.axis == [1] and norm.beta is None
        np.testing.assert_array_equal([norm.gamma, norm.moving_mean], [[0.5] * 3, [1.0] * 3])
        assert isinstance(norm.gamma_constraint, tf.keras.constraints.NonNeg)
    np.testing.assert_allclose(sum(copy.losses), 2 * 3 * 0.1 * 0.5**2, rtol=1e-6)


def two_views() -> tuple[tf.keras.Model, tf.keras.Model]:
    """A functional model for each branch; they share their layers, and one layer is called twice."""
    convolution, first, last = layers.Conv2D(4, 3), AuxBatchNormalization(TWO, gamma_regularizer="l2"), layers.Dense(4)
    second = AuxBatchNormalization(TWO, name="second")
    images = tf.keras.Input((6, 6, 3))

    def outputs(branch: str) -> tf.Tensor:
        features = tf.nn.relu(first(convolution(images), branch=branch))
        features = layers.GlobalAveragePooling2D()(first(features, branch=branch))
        return second(last(second(features, branch=branch)), branch=branch)

    return tuple(tf.keras.Model(images, outputs(branch)) for branch in TWO)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(8, 6, 6, 3)).astype(np.float32)


def test_two_functional_models_are_two_views(images):
    main, auxiliary = two_views()
    assert {id(variable) for variable in main.variables} == {id(variable) for variable in auxiliary.variables}
    assert len(main.losses) == 2  # one regularizer, in two branches
    norms = [layer for layer in main.layers if isinstance(layer, AuxBatchNormalization)]
    before = [variable.numpy() for norm in norms for variable in norm.branch_variables("main")]
    auxiliary.compile("sgd", "mse")
    auxiliary.optimizer.learning_rate = 0.0
    auxiliary.fit(images, np.zeros((8, 4)), verbose=0)
    moved = [variable.numpy() for norm in norms for variable in norm.branch_variables("main")]
    np.testing.assert_array_equal(np.concatenate(before), np.concatenate(moved))
    assert not np.allclose(main(images), auxiliary(images))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".keras", ".h5", ""])
def test_functional_models_are_saved_and_loaded(images, tmp_path, suffix):
    _, model = two_views()
    model.compile("adam", "mse")
    model.fit(images, np.zeros((8, 4)), verbose=0)
    randomize(model)
    path = str(tmp_path / f"model{suffix}")
    model.save(path)
    loaded = tf.keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(images), model(images))
    np.testing.assert_allclose(loaded(images, training=True), model(images, training=True), rtol=1e-6)
    if suffix:  # Keras loads no slots from SavedModels
        slots = [[variable.numpy() for variable in one.optimizer.variables] for one in (model, loaded)]
        for ours, theirs in zip(*slots, strict=True):
            np.testing.assert_array_equal(ours, theirs)


class Doubled(layers.Layer):
    """A layer of a user's, not registered."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return 2.0 * inputs


def nested_model() -> tf.keras.Model:
    inner_input = tf.keras.Input((4, 4, 4))
    by_rows = AuxBatchNormalization(TWO, axis=1, center=False)
    inner = tf.keras.Model(inner_input, by_rows(inner_input, branch="auxiliary"))
    last = AuxBatchNormalization(synchronized=True, name="last")
    head = tf.keras.Sequential([layers.Flatten(), layers.Dense(3), last])
    images, norm = tf.keras.Input((6, 6, 3)), AuxBatchNormalization(TWO)
    features = norm(layers.Conv2D(4, 3)(images), branch="auxiliary")
    model = tf.keras.Model(images, head(inner(Doubled()(norm(features, branch="auxiliary")))))
    randomize(model)
    return model


@pytest.mark.parametrize("make", [nested_model, lambda: two_views()[1], lambda: nested_model().layers[-1]])
def test_plain_norms_compute_the_same(images, make):
    model = make()
    plain = with_plain_norms(model)
    inputs = images if model.input_shape[-1] == 3 else tf.random.stateless_normal([8, 4, 4, 4], [1, 2])
    assert not any(isinstance(part, AuxBatchNormalization) for part in plain.submodules)
    assert {id(variable) for variable in plain.variables}.isdisjoint(id(variable) for variable in model.variables)
    np.testing.assert_array_equal(plain(inputs), model(inputs))
    np.testing.assert_array_equal(plain(inputs, training=True), model(inputs, training=True))


def test_plain_norms_refuse_what_they_cannot_replace():
    features = tf.keras.Input((4,), name="features")
    norm = AuxBatchNormalization(TWO, name="norm")
    both = tf.keras.Model(features, [norm(features, branch=branch) for branch in TWO])
    with pytest.raises(ValueError, match="norm is called with the branches auxiliary, main"):
        with_plain_norms(both)
    with pytest.raises(ValueError, match="norm is called with statistics='batch'"):
        with_plain_norms(tf.keras.Model(features, norm(features, statistics="batch")))
    sequence = tf.keras.Input((3, 4))
    wrapped = layers.TimeDistributed(AuxBatchNormalization(), name="wrapper")
    with pytest.raises(ValueError, match="inside of layer wrapper"):
        with_plain_norms(tf.keras.Model(sequence, wrapped(sequence)))

"""A second view of a Keras model: equal at first, isolated from then on, and the main model untouched."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models.auxiliary_view import auxiliary_view
from tests.keras_networks import assert_equal, images_for, norms_among, randomize, variable_values

layers = tf.keras.layers

# Keras' own.
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


def functional(body, shape=(8, 8, 3)) -> tf.keras.Model:
    """A functional model of a function of its inputs, with norms that are not the identity."""
    inputs = tf.keras.Input(shape)
    model = tf.keras.Model(inputs, body(inputs))
    randomize(model)
    return model


def conv_norm(name: str, **options) -> tf.keras.Sequential:
    conv = layers.Conv2D(3, 3, padding="same", name=f"{name}_conv")
    return tf.keras.Sequential([conv, layers.BatchNormalization(name="bn", **options)], name=name)


def shared_in_one_model(x):
    norm, nested = layers.BatchNormalization(name="twice"), conv_norm("nested")
    return norm(nested(norm(nested(x))))


def shared_between_models(x):
    norm, nested = layers.BatchNormalization(name="twice"), conv_norm("nested")
    outer = tf.keras.Sequential([tf.keras.Input((8, 8, 3)), nested, norm], name="outer")
    return norm(outer(nested(norm(x)))) + outer(x)


def structures(x):
    y = layers.BatchNormalization()(x)
    return {"a": y, "b": [2 * tf.nn.relu(y), y[:, 0]]}


def norm_kinds(x):
    x = layers.BatchNormalization(synchronized=True, axis=1)(layers.experimental.SyncBatchNormalization()(x))
    return layers.BatchNormalization(scale=False)(layers.BatchNormalization(center=False, fused=False)(x))


def sequential() -> tf.keras.Model:
    """Without an input layer: built from its first inputs."""
    model = tf.keras.Sequential([conv_norm("first"), layers.ReLU(), layers.BatchNormalization()])
    model.build((None, 8, 8, 3))
    randomize(model)
    return model


def half_precision(x):
    y = layers.Conv2D(3, 3, dtype="mixed_bfloat16")(x)
    return layers.BatchNormalization(dtype="float32")(layers.BatchNormalization(dtype="mixed_bfloat16")(y))


# Models, and the number of their norms.
MODELS = {
    "nested, names twice": (lambda: functional(lambda x: conv_norm("b")(conv_norm("a")(x))), 2),
    "shared": (lambda: functional(shared_in_one_model), 2),
    "shared between models": (lambda: functional(shared_between_models), 2),
    "structures": (lambda: functional(structures), 1),
    "kinds": (lambda: functional(norm_kinds), 4),
    "half precision": (lambda: functional(half_precision), 2),
    "sequential": (sequential, 2),
}


def files_of(model: tf.keras.Model, folder: Path) -> dict:
    """What the files of a model hold."""
    model.save(folder / "model.h5")
    model.save(folder / "model.keras")
    model.save(folder / "model")
    archive = zipfile.ZipFile(folder / "model.keras")
    reader = tf.train.load_checkpoint(str(folder / "model/variables/variables"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {
        "h5": (folder / "model.h5").read_bytes(),
        "config": json.loads(archive.read("config.json")),
        "weights": archive.read("model.weights.h5"),
        "SavedModel": {key: reader.get_tensor(key).tobytes() for key in keys},
    }


# Keras cannot load a file of a model with a layer that two nested models share.
@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"shared between models"}))
def test_the_main_model_is_untouched_and_the_view_is_a_model_like_any_other(name, tmp_path):
    make, count = MODELS[name]
    main = make()
    images = images_for(main)
    before = files_of(main, tmp_path), main.get_weights(), main(images), [layer.output for layer in main.layers]
    view = auxiliary_view(main)
    after = files_of(main, tmp_path), main.get_weights(), main(images), [layer.output for layer in main.layers]
    assert before[0] == after[0]
    assert_equal(before[1:3], after[1:3])
    assert str(before[3]) == str(after[3])

    assert len(view.norms) == count == len({id(partner) for _, partner in view.norms})
    assert view.model.name == f"{main.name}_auxiliary"
    names = [layer.name for layer in {id(layer): layer for layer in norms_among(view.model)}.values()]
    assert len(set(names)) == count
    assert not {variable.name for variable in view.variables} & {variable.name for variable in main.weights}
    for norm, partner in view.norms:
        attributes = ("synchronized", "fused", "axis", "momentum", "epsilon", "compute_dtype", "trainable")
        assert [getattr(norm, name) for name in attributes] == [getattr(partner, name) for name in attributes]
    randomize(view.model)
    files_of(view.model, tmp_path)
    for name in ("model.h5", "model.keras", "model"):
        loaded = tf.keras.models.load_model(tmp_path / name, compile=False)
        # Keras' config drops `fused`, so the loaded norm may use the other kernel.
        tf.nest.map_structure(lambda x, y: np.testing.assert_allclose(x, y, 1e-5), loaded(images), view.model(images))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_views_are_equal_and_isolated(name, training):
    make, count = MODELS[name]
    main = make()
    auxiliary, augmented = auxiliary_view(main), auxiliary_view(main, "augmented")
    assert len(auxiliary.norms) == len(augmented.norms) == count
    assert augmented.model.name == f"{main.name}_augmented"
    images = images_for(main)
    expected = main(images, training=training)
    kept = variable_values(augmented.variables)
    assert_equal(auxiliary.model(images, training=training), expected)
    assert_equal(variable_values(augmented.variables), kept)
    assert_equal(augmented.model(images, training=training), expected)


@given(steps=st.lists(st.tuples(st.sampled_from(["conv", "norm", "nest", "add"]), st.integers(0, 2)), min_size=1))
@settings(max_examples=10, deadline=None)
def test_any_composition(steps):
    """Layers are drawn from a few, so that layers and nested models are shared; a nest holds all layers so far."""
    norms = [layers.BatchNormalization() for _ in range(3)]
    convs = [layers.Conv2D(3, 1) for _ in range(3)]
    inputs = x = tf.keras.Input((2, 2, 3))
    x = norms[0](x)
    for kind, index in steps[:6]:
        if kind == "nest":
            nested = tf.keras.Model(inputs, x)
            x = nested(nested(x))
        else:
            x = x + inputs if kind == "add" else {"conv": convs, "norm": norms}[kind][index](x)
    main = tf.keras.Model(inputs, x)
    randomize(main)
    view = auxiliary_view(main)
    images = images_for(main, 4)
    kept = variable_values(view.variables)
    outputs = main(images, training=True)
    assert_equal(variable_values(view.variables), kept)
    assert_equal(view.model(images, training=True), outputs)
    assert_equal(variable_values(view.variables), variable_values(v for norm, _ in view.norms for v in norm.weights))


def test_freezing():
    base = conv_norm("base")
    top = layers.BatchNormalization(name="top")
    main = functional(lambda x: top(base(x)))
    base.trainable = False
    view = auxiliary_view(main)
    (nested_norm, nested), (_, own) = view.norms
    assert (nested.trainable, own.trainable) == (False, True)
    assert view.training_norms() == [top]
    assert view.trainable_variables == [own.gamma, own.beta]
    base.trainable, top.trainable = True, False
    view.follow_trainable()
    assert (nested.trainable, own.trainable) == (True, False)
    assert view.training_norms() == [nested_norm]
    assert view.trainable_variables == [nested.gamma, nested.beta]


def test_norms_of_a_base_called_for_inference_do_not_train():
    base, top = conv_norm("base"), layers.BatchNormalization(name="top")
    view = auxiliary_view(functional(lambda x: top(base(x, training=False))))
    assert view.training_norms() == [top]
    assert auxiliary_view(functional(lambda x: base(x, False))).training_norms() == []


def test_norms_are_made_in_the_strategy_of_the_model(two_replicas):
    with two_replicas.scope():
        main = sequential()
    view = auxiliary_view(main)
    assert [type(variable) for variable in view.variables] == [
        type(variable) for norm, _ in view.norms for variable in norm.weights
    ]
    assert two_replicas.extended.variable_created_in_scope(view.variables[0])


class Hiding(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.parts = {"norm": layers.BatchNormalization(name="inner")}

    def call(self, inputs):
        return self.parts["norm"](inputs)


class Subclassed(tf.keras.Model):
    def call(self, inputs):
        return inputs


class OwnCall(tf.keras.Model):
    def __init__(self):
        inputs = tf.keras.Input((8, 8, 3))
        super().__init__(inputs, layers.BatchNormalization()(inputs))

    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training)


def with_attribute() -> tf.keras.Model:
    model = functional(layers.BatchNormalization())
    model.spare = layers.BatchNormalization(name="spare")
    model.spare(tf.zeros((2, 3)))
    return model


# Models that have no view, and what the message must name.
REFUSED = {
    "no norms": (lambda: functional(layers.Conv2D(3, 3)), "put one behind each convolution"),
    "normalization": (
        lambda: functional(layers.Normalization(mean=0.0, variance=1.0)),
        "put one behind each convolution",
    ),
    "layer norms": (lambda: functional(layers.LayerNormalization()), "LayerNormalization: name those in norm_classes"),
    "hidden": (lambda: functional(Hiding(name="outer")), "'outer'.*'inner'"),
    "hidden among others": (lambda: functional(lambda x: Hiding(name="outer")(conv_norm("a")(x))), "'outer'.*'inner'"),
    "hidden in a nested model": (
        lambda: functional(tf.keras.Sequential([conv_norm("a"), Hiding(name="outer")])),
        "'outer'.*'inner'",
    ),
    "time distributed": (
        lambda: functional(layers.TimeDistributed(layers.BatchNormalization(name="inner"), name="outer")),
        "'outer'.*'inner'",
    ),
    "ours": (lambda: functional(AuxBatchNormalization(name="outer")), "'outer'"),
    "attribute": (with_attribute, "'spare'"),
    "subclassed": (lambda: Subclassed(name="mine"), "'mine'.*AuxBatchNormalization"),
    "nested subclassed": (lambda: functional(lambda x: Hiding()(Subclassed()(x))), "'inner'"),
    "own call": (OwnCall, "overrides `call`"),
    "not built": (lambda: tf.keras.Sequential([layers.BatchNormalization()]), "tf.keras.Input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_a_view(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        auxiliary_view(make())


def test_arguments():
    main = functional(layers.BatchNormalization())
    with pytest.raises(ValueError, match="'a b'"):
        auxiliary_view(main, "a b")
    for classes in ([], ["LayerNormalization"]):
        with pytest.raises(ValueError, match="norm_classes"):
            auxiliary_view(main, norm_classes=classes)

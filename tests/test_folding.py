"""Batch norms folded into the layers before them: outputs as before, the right layers folded."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models.auxiliary_view import auxiliary_view
from efficientnet_advprop.models.folding import fold_batch_norms
from tests.keras_networks import images_for, keras_network, norms_among, randomize

layers = tf.keras.layers

pytestmark = pytest.mark.filterwarnings("ignore:The `keras.initializers.serialize")


def functional(body, shape=(8, 8, 3)) -> tf.keras.Model:
    """A functional model of a function of its inputs, with norms that are not the identity."""
    inputs = tf.keras.Input(shape)
    model = tf.keras.Model(inputs, body(inputs))
    randomize(model)
    return model


def assert_folds(model: tf.keras.Model, remaining: int) -> tf.keras.Model:
    """The folded model computes the same and keeps as many norms; the original is as it was."""
    images, config = images_for(model, 3), model.to_json()
    expected = model(images, training=False)
    folded = fold_batch_norms(model)
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(folded(images, training=False), expected, rtol=1e-4, atol=1e-4 * scale)
    assert len(norms_among(folded)) == remaining
    assert not {id(variable) for variable in folded.weights} & {id(variable) for variable in model.weights}
    assert model.to_json() == config
    return folded


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(6, 3, strides=2, groups=3),
        layers.Conv2D(4, 1, use_bias=False),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False),
        layers.Dense(7, bias_initializer="ones"),
    ],
    ids=lambda layer: layer.name,
)
@pytest.mark.parametrize(
    "norm", [{}, {"scale": False, "epsilon": 0.1}, {"center": False, "synchronized": True}], ids=str
)
def test_layers(layer, norm):
    layer = type(layer).from_config(layer.get_config())
    assert_folds(functional(lambda x: layers.BatchNormalization(**norm)(layer(x))), remaining=0)


def two_consumers(x):
    y = layers.Conv2D(3, 3)(x)
    return layers.BatchNormalization()(y) + y


def an_output(x):
    y = layers.Conv2D(3, 3)(x)
    return [layers.BatchNormalization()(y), y]


def shared_norm(x):
    norm = layers.BatchNormalization()
    return norm(layers.Conv2D(3, 1)(x)) + norm(layers.Conv2D(3, 1)(x))


def shared_layer(x):
    conv = layers.Conv2D(3, 1)
    return layers.BatchNormalization()(conv(x)) + layers.BatchNormalization()(conv(x))


KEPT = {
    "activation": lambda x: layers.BatchNormalization()(layers.Conv2D(3, 3, activation="relu")(x)),
    "two consumers": two_consumers,
    "an output": an_output,
    "shared norm": shared_norm,
    "shared layer": shared_layer,
    "transposed": lambda x: layers.BatchNormalization()(layers.Conv2DTranspose(4, 3)(x)),
    "other axis": lambda x: layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3)(x)),
    "batch statistics": lambda x: layers.BatchNormalization()(layers.Conv2D(4, 3)(x), training=True),
    "norm first": lambda x: layers.Conv2D(4, 3)(layers.BatchNormalization()(x)),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_not_folded(name):
    with pytest.raises(ValueError, match="no batch norm"):
        fold_batch_norms(functional(KEPT[name]))


def test_nested_and_sequential_models():
    inner = functional(lambda x: layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(x)))

    def body(x):
        y = tf.nn.relu(inner(inner(x)))
        sequential = tf.keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()])
        return layers.BatchNormalization()(sequential(y))

    assert_folds(functional(body), remaining=1)
    model = tf.keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization()])
    model.build((None, 8, 8, 3))
    randomize(model)
    assert isinstance(assert_folds(model, remaining=0), tf.keras.Sequential)


def test_a_branch_of_a_network(tmp_path):
    """Layers that a view shares have one consumer in each; the folded branch is saved and loaded as any model."""
    main = keras_network("MobileNetV2")
    view = auxiliary_view(main)
    randomize(view.model)
    folded = assert_folds(view.model, remaining=0)
    folded.save(tmp_path / "folded.keras")
    images = images_for(main)
    loaded = tf.keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(loaded(images), folded(images))
    assert_folds(main, remaining=0)


@pytest.mark.parametrize(("name", "remaining"), [("EfficientNetV2B0", 0), ("Xception", 0), ("ResNet50V2", 17)])
def test_networks_of_keras(name, remaining):
    assert_folds(keras_network(name), remaining)

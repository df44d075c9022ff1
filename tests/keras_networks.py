"""Twelve networks of tf.keras.applications: random weights, four logits, the smallest images each takes."""

import numpy as np
import tensorflow as tf

from efficientnet_advprop.models.auxiliary_view import BATCH_NORMS, OTHER_NORMS

# Side of the images, arguments that make the network narrower.
NETWORKS = {
    "MobileNetV2": (32, {"alpha": 0.35}),
    "MobileNetV3Small": (32, {"alpha": 0.75, "minimalistic": True}),
    "EfficientNetV2B0": (32, {}),
    "DenseNet121": (32, {}),
    "ResNet50V2": (32, {}),
    "ResNetRS50": (32, {}),
    "RegNetX002": (32, {}),
    "NASNetMobile": (32, {}),
    "Xception": (71, {}),
    "InceptionV3": (75, {}),
    "EfficientNetB0": (32, {}),
    "ConvNeXtTiny": (32, {}),
}


def keras_network(name: str) -> tf.keras.Model:
    """A network without dropout, whose norms are not the identity."""
    size, options = NETWORKS[name]
    module = tf.keras.applications.convnext if name.startswith("ConvNeXt") else tf.keras.applications
    tf.keras.utils.set_random_seed(0)
    model = getattr(module, name)(
        input_shape=(size, size, 3), weights=None, classes=4, classifier_activation=None, **options
    )
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Dropout):
            layer.rate = 0.0
    randomize(model)
    return model


def randomize(model: tf.keras.Model) -> None:
    """Move every variable of the norms a little, so that a forgotten one shows."""
    rng = np.random.default_rng(0)
    for layer in norms_among(model):
        for variable in layer.weights:
            variable.assign_add(rng.uniform(0.0, 0.2, variable.shape))


def norms_among(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """Every norm of a model, wherever it is."""
    return [module for module in model.submodules if isinstance(module, BATCH_NORMS + OTHER_NORMS)]


def images_for(model: tf.keras.Model, batch_size: int = 2) -> tf.Tensor:
    return tf.random.stateless_uniform((batch_size, *model.input_shape[1:]), [1, 2], 0.0, 255.0)


def variable_values(variables) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def assert_equal(first, second) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, first, second)

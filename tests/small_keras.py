"""Small Keras networks and images for the tests of `AdvProp`, and the layers of Keras' EfficientNets."""

import numpy as np
import tensorflow as tf

from efficientnet_advprop.models import EfficientNet

CLASSES = 4
SIDE = 8
SPARSE = "sparse_categorical_crossentropy"


def small_network(
    activation: str | None = "softmax", dropout: float = 0.0, momentum: float = 0.9, outputs: int = 1, **first: object
) -> tf.keras.Model:
    """Two convolutions with batch norms, and one or two outputs; `first` goes to the first convolution."""
    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    inputs = tf.keras.Input((SIDE, SIDE, 3))
    values = layers.Conv2D(6, 3, use_bias=False, **first)(inputs)
    values = layers.BatchNormalization(momentum=momentum, name="first_norm")(values)
    values = layers.Dropout(dropout)(layers.ReLU()(values))
    values = layers.Conv2D(8, 3, strides=2, use_bias=False)(values)
    values = layers.BatchNormalization(momentum=momentum)(values)
    values = layers.GlobalAveragePooling2D()(layers.ReLU()(values))
    heads = [layers.Dense(CLASSES, activation=activation, dtype="float32", name="classes")(values)]
    heads += [layers.Dense(1, dtype="float32", name="brightness")(values)] * (outputs - 1)
    return tf.keras.Model(inputs, heads[0] if outputs == 1 else heads, name="small")


def images_and_labels(number: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 8, 8, 3] in [0, 255], of a brightness by class, and classes [N]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, number)
    images = rng.uniform(0, 120, (number, SIDE, SIDE, 3)) + 40.0 * labels[:, None, None, None]
    return images.astype(np.float32), labels


def fitted(model: tf.keras.Model, images, labels, loss=SPARSE, learning_rate=0.1, **options):
    """The history of one epoch in batches of 8 in order, of SGD without momentum."""
    compiled = {
        name: options.pop(name) for name in ("loss_weights", "metrics", "steps_per_execution") if name in options
    }
    model.compile(tf.keras.optimizers.SGD(learning_rate), loss, **compiled)
    return model.fit(images, labels, batch_size=8, shuffle=False, verbose=0, **options).history


def assert_equal_weights(first: tf.keras.Model, second: tf.keras.Model, rtol: float = 1e-5) -> None:
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-6, err_msg=ours.name)


def keras_layer_names(model: EfficientNet) -> dict[str, str]:
    """Our object path of every layer -> its name in `tf.keras.applications`."""
    names = {"stem": "stem_conv", "head": "top_conv", "classifier": "predictions"}
    names |= {"stem.norm.norms.main": "stem_bn", "head.norm.norms.main": "top_bn"}
    stage, repeat = 0, 0
    for index, block in enumerate(model.blocks):
        # Every stage of B0 begins with a block that changes size or channels, and goes on with residual ones.
        stage, repeat = (stage, repeat + 1) if block.is_residual else (stage + 1, 0)
        ours, theirs = f"blocks.{index}", f"block{stage}{chr(ord('a') + repeat)}"
        for unit, conv, norm in (
            ("expand", "expand_conv", "expand_bn"),
            ("depthwise", "dwconv", "bn"),
            ("project", "project_conv", "project_bn"),
        ):
            names[f"{ours}.{unit}"], names[f"{ours}.{unit}.norm.norms.main"] = f"{theirs}_{conv}", f"{theirs}_{norm}"
        for half in ("reduce", "expand"):
            names[f"{ours}.squeeze_excite.{half}"] = f"{theirs}_se_{half}"
    return names


def assign_to_keras(model: EfficientNet, reference: tf.keras.Model) -> dict[str, tf.Variable]:
    """Give a Keras EfficientNet the values of ours, of its main branch; returns its variables by our paths."""
    names = keras_layer_names(model)
    assigned = {}
    for path, variable in model.weights_by_path().items():
        layer, attribute = path.rsplit(".", 1)
        if layer not in names:
            continue  # of another branch
        target = reference.get_layer(names[layer])
        if attribute == "kernel" and isinstance(target, tf.keras.layers.DepthwiseConv2D):
            attribute = "depthwise_kernel"
        assigned[path] = getattr(target, attribute)
        assigned[path].assign(variable)
    return assigned

"""Small Keras networks and images for the tests of `AdvProp`."""

import numpy as np
import tensorflow as tf

CLASSES = 4
SIDE = 8


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

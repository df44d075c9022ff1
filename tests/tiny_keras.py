"""A tiny network in the place of one of tf.keras.applications, so that runs take seconds."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf

TINY = "keras:EfficientNetV2B0"  # this name's network: it has drop connect

layers = tf.keras.layers


def preprocess_input(inputs: Any) -> Any:
    """As in a module of tf.keras.applications whose networks scale their pixels themselves."""
    return inputs


def tiny(
    include_top: bool = True, weights: None = None, input_shape: tuple[int, int, int] = (224, 224, 3)
) -> tf.keras.Model:
    """Rescaling, three convolutions and norms, a residual with drop connect; names that Keras counts."""
    assert weights is None
    inputs = tf.keras.Input(input_shape)
    outputs = layers.Rescaling(1 / 255)(inputs)
    outputs = layers.Conv2D(8, 3, 2, "same", use_bias=False)(outputs)
    outputs = layers.ReLU()(layers.BatchNormalization()(outputs))
    residual = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(outputs))
    residual = layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(residual)
    outputs = layers.Add()([outputs, residual])
    outputs = layers.Conv2D(16, 3, 2, "same", use_bias=False)(outputs)
    outputs = layers.Activation("swish")(layers.BatchNormalization(scale=False)(outputs))
    if include_top:
        outputs = layers.Dense(1000)(layers.GlobalAveragePooling2D()(outputs))
    return tf.keras.Model(inputs, outputs)


@contextlib.contextmanager
def tiny_networks() -> Iterator[None]:
    """In this context `TINY` is the tiny network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.keras.applications, TINY.removeprefix("keras:"), tiny)
        yield

"""The losses of `AdvProp`: weights of terms and images, what is logged, loss scales."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.keras_api import AdvProp
from efficientnet_advprop.recipes import AttackSpec, TermWeights
from tests.small_keras import SPARSE, fitted, images_and_labels, small_network

pytestmark = pytest.mark.filterwarnings("ignore:.*batch norms of momentum:UserWarning")


def conv_kernel_after(model: tf.keras.Model, advprop: AdvProp, targets, sample_weight, **losses) -> np.ndarray:
    images, _ = images_and_labels()
    advprop.compile(tf.keras.optimizers.SGD(0.01), **losses)
    advprop.fit(images, targets, sample_weight=sample_weight, batch_size=16, shuffle=False, verbose=0)
    return model.trainable_variables[0].numpy()


def test_outputs_without_sample_weights_keep_the_weights_of_terms():
    images, labels = images_and_labels()
    targets = {"classes": labels, "brightness": images.mean((1, 2, 3)) / 255}
    losses, still = {"loss": {"classes": SPARSE, "brightness": "mse"}}, AttackSpec(epsilon_px=0.0, num_steps=1)
    after = []
    for sample_weight in ({"classes": np.ones(16)}, {"classes": np.ones(16), "brightness": np.ones(16)}):
        model = small_network(outputs=2)
        advprop = AdvProp(model, still, term_weights=TermWeights(adversarial=1e-4))
        after.append(conv_kernel_after(model, advprop, targets, sample_weight, **losses))
    np.testing.assert_allclose(after[0], after[1], rtol=1e-5, atol=1e-7)


def test_losses_of_pixels_are_weighted_by_image():
    """As many images in a pass as columns in an image, where Keras' broadcasting would weight the columns."""
    images, _ = images_and_labels(4)

    def network() -> tf.keras.Model:
        tf.keras.utils.set_random_seed(0)
        inputs = tf.keras.Input((8, 8, 3))
        values = tf.keras.layers.BatchNormalization()(tf.keras.layers.Conv2D(4, 3, padding="same")(inputs))
        return tf.keras.Model(inputs, tf.keras.layers.Conv2D(4, 1, activation="softmax")(values))

    targets = np.random.default_rng(0).integers(0, 4, (4, 8, 8))
    plain, inner = network(), network()
    plain.compile(tf.keras.optimizers.SGD(0.1), SPARSE)
    plain.train_on_batch(images, targets)
    advprop = AdvProp(
        inner, AttackSpec(epsilon_px=0.0, num_steps=1), "joint", term_weights=TermWeights(adversarial=0.0)
    )
    history = fitted(advprop, images, targets)
    assert "top1/clean" not in history
    for ours, theirs in zip(inner.trainable_variables, plain.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_loss_of_saturated_outputs_is_the_one_that_is_optimised():
    """Keras finds the logits of a softmax; a part of it has lost them."""
    images, labels = images_and_labels(8)
    plain, inner = (small_network() for _ in range(2))
    for model in (plain, inner):
        model.layers[-1].set_weights([300.0 * weight for weight in model.layers[-1].get_weights()])
    twice = np.concatenate([images, images]), np.concatenate([labels, labels])
    plain.compile("sgd", SPARSE)
    expected = 2 * plain.train_on_batch(*twice)
    history = fitted(AdvProp(inner, AttackSpec(epsilon_px=0.0, num_steps=1), "joint"), images, labels)
    assert expected > 50
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-4)
    np.testing.assert_allclose(history["loss/clean"], [expected / 2], rtol=1e-4)


@pytest.mark.parametrize("scheme", ["advprop", "fast_advprop"])
def test_a_loss_scale_that_overflows_leaves_statistics_finite(scheme):
    images, labels = images_and_labels()
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        advprop = AdvProp(small_network(), scheme=scheme)
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.SGD(0.01), initial_scale=2.0**30)
        advprop.compile(optimizer, SPARSE)
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8, drop_remainder=True)
        advprop.fit(dataset, epochs=2, verbose=0)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert float(optimizer.loss_scale) < 2.0**30
    assert all(np.isfinite(weight).all() for weight in advprop.get_weights())

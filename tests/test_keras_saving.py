"""Saving and loading `AdvProp`, and the plain model inside it."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.keras_api import AdvProp, PlainModelCheckpoint
from efficientnet_advprop.models.auxiliary_view import OTHER_NORMS
from efficientnet_advprop.recipes import AttackSpec, TermWeights
from tests.small_keras import images_and_labels, small_network

pytestmark = pytest.mark.filterwarnings("ignore:.*batch norms of momentum:UserWarning")
ATTACK = AttackSpec(epsilon_px=2.0, num_steps=2)


def compiled(model: tf.keras.Model, **options: object) -> AdvProp:
    advprop = AdvProp(model, ATTACK, term_weights=TermWeights(adversarial=0.5), pixel_range=(-1, 1), seed=3, **options)
    advprop.compile(tf.keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return advprop


def train(advprop: AdvProp, epochs: int, initial_epoch: int = 0, callbacks=None) -> None:
    images, labels = images_and_labels()
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    advprop.fit(images / 127.5 - 1, labels, epochs=epochs, initial_epoch=initial_epoch, **options)


def test_a_loaded_model_goes_on_as_if_never_saved(tmp_path):
    """Weights of all branches, the optimizer's step and slots, the attack's random starts."""
    whole = compiled(small_network())
    train(whole, 1)
    whole.save(tmp_path / "advprop.keras")
    loaded = tf.keras.models.load_model(tmp_path / "advprop.keras")
    assert loaded.schedule == whole.schedule
    assert int(loaded.optimizer.iterations) == 2
    for ours, theirs in zip(loaded.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)
    train(whole, 2, initial_epoch=1)
    train(loaded, 2, initial_epoch=1)
    assert len(loaded.weights) == len(whole.weights) > len(whole.model.weights)
    for ours, theirs in zip(loaded.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


@pytest.mark.parametrize("name", ["advprop.weights.h5", "advprop"])
def test_weights_alone(tmp_path, name):
    first, second = compiled(small_network()), compiled(small_network())
    train(first, 1)
    first.save_weights(tmp_path / name)
    second.load_weights(tmp_path / name)
    for ours, theirs in zip(second.weights, first.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


def test_settings_are_kept_in_the_config():
    inputs = tf.keras.Input((8, 8, 3))
    values = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.layers.LayerNormalization()(inputs))
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(2)(values))
    per_channel = (np.array([-1.0, -2.0, 0.0]), np.array([1.0, 2.0, 3.0]))
    advprop = AdvProp(
        model, scheme="adversarial_then_clean", pixel_range=per_channel, clean_from_epoch=4, norm_classes=OTHER_NORMS
    )
    again = AdvProp.from_config(advprop.get_config())
    assert again.schedule == advprop.schedule
    assert again.get_config() == advprop.get_config()


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("name", ["model.h5", "saved_model"])
def test_other_formats_are_for_the_plain_model(tmp_path, name):
    advprop = compiled(small_network())
    with pytest.raises(ValueError, match=r"save the plain model: advprop\.model\.save"):
        advprop.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    images, _ = images_and_labels()
    advprop.model.save(tmp_path / name)
    loaded = tf.keras.models.load_model(tmp_path / name, compile=False)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), advprop.predict(images, verbose=0))


def test_a_callback_checkpoints_the_plain_model(tmp_path):
    advprop = compiled(small_network())
    path = tmp_path / "epoch-{epoch}.keras"
    train(advprop, 2, callbacks=[PlainModelCheckpoint(str(path))])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["epoch-1.keras", "epoch-2.keras"]
    loaded = tf.keras.models.load_model(tmp_path / "epoch-2.keras")
    assert type(loaded) is type(advprop.model)
    images, _ = images_and_labels()
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), advprop.predict(images, verbose=0))


def test_summary_counts_shared_weights_once():
    lines: list[str] = []
    advprop = compiled(small_network())
    advprop.summary(print_fn=lines.append)
    own = sum(weight.shape.num_elements() for view in advprop._branches.views.values() for weight in view.variables)
    assert f"Total params: {advprop.model.count_params() + own}" in "\n".join(lines)

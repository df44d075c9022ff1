"""Views of twelve networks of tf.keras.applications, and their main models loaded with TensorFlow alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.keras_api import AdvProp
from efficientnet_advprop.models.auxiliary_view import BATCH_NORMS, OTHER_NORMS, auxiliary_view
from efficientnet_advprop.recipes import AttackSpec
from tests.keras_networks import NETWORKS, assert_equal, images_for, keras_network, norms_among, variable_values

# Keras' own, for the initializers of EfficientNetV2.
pytestmark = pytest.mark.filterwarnings("ignore:The `keras.initializers.serialize")

# Loads models with TensorFlow alone and compares their logits with saved ones.
LOAD = """
import pathlib, sys
import numpy as np
import tensorflow as tf
for folder in sorted(pathlib.Path().iterdir()):
    if (folder / "model.keras").exists():
        model = tf.keras.models.load_model(folder / "model.keras", compile=False)
    else:
        loaded = tf.saved_model.load(folder / "model")
        model = loaded.serve  # a function, which does not keep its variables
    logits = model(np.load(folder / "images.npy"))
    np.testing.assert_allclose(logits, np.load(folder / "logits.npy"), rtol=1e-4, atol=1e-4)
    print(folder.name)
assert not [name for name in sys.modules if name.startswith("efficientnet_advprop")]
"""


# Of each kind of layer that Keras' networks have. Loading all twelve, which works too, takes 70 s of CPU.
LOADED = ("MobileNetV3Small", "EfficientNetV2B0", "RegNetX002", "ConvNeXtTiny")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder for each network, with its main model after the step of the other branch."""
    return tmp_path_factory.mktemp("saved")


def save_main(model: tf.keras.Model, images: tf.Tensor, folder: Path) -> tf.Tensor:
    """Save a model with images and their logits, which are returned."""
    folder.mkdir()
    if folder.name == "ConvNeXtTiny":  # Keras cannot load its .keras: an argument of LayerScale is not in the config
        model.export(folder / "model")
    else:
        model.save(folder / "model.keras")
    logits = model(images, training=False)
    np.save(folder / "images.npy", images)
    np.save(folder / "logits.npy", logits)
    return logits


def gradients_through(model: tf.keras.Model, images: tf.Tensor, variables) -> dict:
    """Gradients of a training call by variable, None where the loss does not depend on it."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(images, training=True) - 1) ** 2)
    assert np.isfinite(loss)
    return dict(zip([variable.ref() for variable in variables], tape.gradient(loss, variables), strict=True))


def references(variables) -> set:
    return {variable.ref() for variable in variables}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_keras(name, saved):
    main = keras_network(name)
    config, images, start = main.to_json(), images_for(main), main.get_weights()
    classes = OTHER_NORMS if name.startswith("ConvNeXt") else BATCH_NORMS
    view = auxiliary_view(main, norm_classes=classes)
    norms = [norm for norm, _ in view.norms]
    of_norms = [variable for norm in norms for variable in norm.weights]

    assert {id(norm) for norm in norms} == {id(norm) for norm in norms_among(main)}
    assert {id(partner) for _, partner in view.norms} == {id(norm) for norm in norms_among(view.model)}
    shared = references(main.weights) - references(of_norms)
    assert references(view.model.weights) == shared | references(view.variables)
    assert view.training_norms() == norms
    assert_equal(main(images, training=False), view.model(images, training=False))

    # A training call of one branch leaves the other's norms alone; the same images move both to the same values.
    trained = [*main.trainable_variables, *view.trainable_variables]
    initial = variable_values(of_norms)
    of_main = gradients_through(main, images, trained)
    assert_equal(variable_values(view.variables), initial)
    moved = variable_values(of_norms)
    of_view = gradients_through(view.model, images, trained)
    assert_equal(variable_values(of_norms), moved)
    assert any(map(np.any, map(np.not_equal, moved, initial))) == (classes is BATCH_NORMS)
    for own, statistics in zip(variable_values(view.variables), moved, strict=True):
        np.testing.assert_allclose(own, statistics, rtol=1e-5, atol=1e-6)

    assert {variable for variable in of_main if of_main[variable] is None} == references(view.trainable_variables)
    of_norms_trained = references(of_norms) & references(trained)
    assert {variable for variable in of_view if of_view[variable] is None} == of_norms_trained
    partners = dict(zip((v.ref() for v in of_norms), (v.ref() for v in view.variables), strict=True))
    for variable in main.trainable_variables:
        ours = of_view[partners.get(variable.ref(), variable.ref())]
        theirs = of_main[variable.ref()]
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs) + 1e-9, variable.name

    for variable in trained:
        if of_view[variable.ref()] is not None:
            variable.assign_sub(0.01 * of_view[variable.ref()])
    assert_equal(variable_values(of_norms), moved)
    assert main.to_json() == config
    logits = save_main(main, images, saved / name) if name in LOADED else main(images, training=False)
    assert np.any(logits != view.model(images, training=False))
    main.set_weights(start)
    fit_a_step(main, images, classes)


def fit_a_step(main: tf.keras.Model, images: tf.Tensor, classes) -> None:
    """Train one batch with AdvProp; without a graph, which takes longer to trace than the step itself."""
    advprop = AdvProp(main, AttackSpec(epsilon_px=1.0, num_steps=1), norm_classes=classes)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    advprop.compile(tf.keras.optimizers.SGD(1e-3), loss, run_eagerly=True)
    kernel = main.trainable_variables[0]
    before = kernel.numpy()
    logs = advprop.train_on_batch(images, tf.range(len(images)), return_dict=True)
    assert np.isfinite([*logs.values()]).all()
    assert logs["loss/clean"] != logs["loss/adversarial"]
    assert np.isfinite(kernel).all()
    assert np.any(kernel != before)


def test_main_models_load_with_tensorflow_alone(saved):
    for name in LOADED:
        if not (saved / name).exists():
            main = keras_network(name)
            auxiliary_view(main, norm_classes=BATCH_NORMS + OTHER_NORMS)
            save_main(main, images_for(main), saved / name)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=saved,
        env=environment | {"TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(LOADED)

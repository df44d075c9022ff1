"""Views of twelve networks of tf.keras.applications, and their main models loaded with TensorFlow alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models.auxiliary_view import BATCH_NORMS, OTHER_NORMS, auxiliary_view
from tests.keras_networks import NETWORKS, assert_equal, images_for, keras_network, norms_among, variable_values

# Keras' own, for the initializers of EfficientNetV2.
pytestmark = pytest.mark.filterwarnings("ignore:The `keras.initializers.serialize")

# Loads models with TensorFlow alone and compares their logits with saved ones. Keras 2.15 cannot load ConvNeXt's
# .keras: its LayerScale lacks an argument in the config.
LOAD = """
import pathlib, sys
import numpy as np
import tensorflow as tf
for folder in sorted(pathlib.Path().iterdir()):
    [path] = folder.glob("model*")
    model = tf.keras.models.load_model(path, compile=False)
    expected = np.load(folder / "logits.npy")
    np.testing.assert_allclose(model(np.load(folder / "images.npy"), training=False), expected, rtol=1e-4, atol=1e-4)
    print(folder.name)
assert not [name for name in sys.modules if name.startswith("efficientnet_advprop")]
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder for each network, with its main model after the step of the other branch."""
    return tmp_path_factory.mktemp("saved")


def save_main(model: tf.keras.Model, images: tf.Tensor, folder: Path) -> None:
    folder.mkdir()
    model.save(folder / ("model" if "convnext" in model.name else "model.keras"))
    np.save(folder / "images.npy", images)
    np.save(folder / "logits.npy", model(images, training=False))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_keras(name, saved):
    main = keras_network(name)
    config = main.to_json()
    classes = OTHER_NORMS if name.startswith("ConvNeXt") else BATCH_NORMS
    view = auxiliary_view(main, norm_classes=classes)
    norms = [norm for norm, _ in view.norms]
    own = {"main": [variable for norm in norms for variable in norm.weights], "view": view.variables}
    models = {"main": main, "view": view.model}

    assert {id(norm) for norm in norms} == {id(norm) for norm in norms_among(main)}
    assert {id(norm) for norm in norms_among(view.model)} == {id(partner) for _, partner in view.norms}
    shared = {id(variable) for variable in main.weights} - {id(variable) for variable in own["main"]}
    assert {id(variable) for variable in view.model.weights} == shared | {id(variable) for variable in own["view"]}
    assert view.training_norms() == norms

    images = images_for(main)
    assert_equal(main(images, training=False), view.model(images, training=False))

    trained = [*main.trainable_variables, *view.trainable_variables]
    gradients = {}
    for branch, other in (("main", "view"), ("view", "main")):
        before = variable_values(own[branch]), variable_values(own[other])
        with tf.GradientTape() as tape:
            logits = models[branch](images, training=True)
            loss = tf.reduce_mean((logits - 1) ** 2)
        assert np.isfinite(loss)
        found = dict(zip(map(id, trained), tape.gradient(loss, trained), strict=True))
        assert all(found.get(id(variable)) is None for variable in own[other])
        assert all(found[id(variable)] is not None for variable in own[branch] if id(variable) in found)
        gradients[branch] = {key: gradient for key, gradient in found.items() if gradient is not None}
        assert_equal(variable_values(own[other]), before[1])
        moved = [not np.array_equal(*pair) for pair in zip(variable_values(own[branch]), before[0], strict=True)]
        assert any(moved) == (classes is BATCH_NORMS)
    # The same batch moves the statistics of both to the same values, and so do the gradients.
    assert_equal(variable_values(own["main"]), variable_values(own["view"]))
    for variable in main.trainable_variables:
        if id(variable) in gradients["view"]:
            np.testing.assert_array_equal(gradients["main"][id(variable)], gradients["view"][id(variable)])

    kept = variable_values(own["main"])
    for variable in trained:
        if id(variable) in gradients["view"]:
            variable.assign_sub(0.01 * tf.convert_to_tensor(gradients["view"][id(variable)]))
    assert_equal(variable_values(own["main"]), kept)
    assert np.any(main(images, training=False) != view.model(images, training=False))
    assert main.to_json() == config
    save_main(main, images, saved / name)


def test_main_models_load_with_tensorflow_alone(saved):
    for name in NETWORKS:
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
    assert set(done.stdout.split()) >= set(NETWORKS)

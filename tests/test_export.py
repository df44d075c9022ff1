"""The SavedModel: loads with TensorFlow alone, computes the same, holds the main branch and nothing else."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.export import ExportError, export_saved_model, saved_model
from efficientnet_advprop.models import build_model
from tests.small import new_state, small_recipe

pytestmark = pytest.mark.usefixtures("two_blocks")

LOAD_AND_RUN = """
import json, sys
import numpy as np, tensorflow as tf
folder, images, outputs = sys.argv[1:]
model = tf.saved_model.load(folder)
result = model.signatures["serving_default"](images=tf.constant(np.load(images)))
np.savez(outputs, **{name: value.numpy() for name, value in result.items()})
print(json.dumps([name for name in sys.modules if name.startswith(("efficientnet_advprop", "tensorflow_addons"))]))
"""


@pytest.fixture
def trained():
    """A two-branch network whose branches differ, as if trained."""
    recipe = small_recipe()
    model = build_model(recipe.network, 10, ("main", "auxiliary"))
    rng = np.random.default_rng(0)
    for path, variable in model.weights_by_path().items():
        noise = rng.uniform(0.5, 1.5, variable.shape) if "variance" in path else rng.normal(0, 0.2, variable.shape)
        variable.assign_add(noise)
    return model


@pytest.fixture
def images():
    return np.random.default_rng(1).uniform(0, 255, (5, 16, 16, 3)).astype(np.float32)


def main_only():
    return build_model(small_recipe().network, 10)


def variables_of(folder):
    listed = tf.train.list_variables(os.path.join(folder, "variables", "variables"))
    return {name: shape for name, shape in listed if not name.startswith("_CHECKPOINTABLE")}


def test_a_process_with_tensorflow_alone_gets_the_same_probabilities(trained, images, tmp_path):
    folder = export_saved_model(trained, main_only, str(tmp_path / "saved_model"), images, {})
    assert folder == str(tmp_path / "saved_model" / "1")
    np.save(tmp_path / "images.npy", images)
    script = [sys.executable, "-c", LOAD_AND_RUN, folder, str(tmp_path / "images.npy"), str(tmp_path / "out.npz")]
    done = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
    outputs = np.load(tmp_path / "out.npz")
    logits = trained(images, branch="main")
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(logits), atol=1e-5)
    np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(outputs["classes"], tf.argmax(logits, -1))
    assert np.abs(tf.nn.softmax(trained(images, branch="auxiliary")) - outputs["probabilities"]).max() > 1e-2


def test_variables_are_exactly_those_of_a_main_only_network(trained, images, tmp_path):
    folder = export_saved_model(trained, main_only, str(tmp_path), images, {})
    saved = variables_of(folder)
    assert not [name for name in saved if "auxiliary" in name]
    # A dot in a key is written twice.
    paths = {name.split("/")[1].replace("..", "."): tuple(shape) for name, shape in saved.items()}
    assert paths == {path: tuple(variable.shape) for path, variable in main_only().weights_by_path().items()}
    assert set(paths) < set(trained.weights_by_path())


def test_an_auxiliary_variable_that_slips_in_fails_the_export(trained, images, tmp_path, monkeypatch):
    class Leaky(saved_model.InferenceModule):
        def __init__(self, model):
            super().__init__(model)
            self.leaked = trained.branch_variables("auxiliary")

    monkeypatch.setattr(saved_model, "InferenceModule", Leaky)
    with pytest.raises(ExportError, match="variables instead of the network's"):
        export_saved_model(trained, main_only, str(tmp_path), images, {})
    assert os.listdir(tmp_path) == []


def test_other_probabilities_fail_the_export_and_leave_nothing(trained, images, tmp_path):
    def untouchable():
        model = main_only()
        model.call = lambda images, **kwargs: tf.zeros([tf.shape(images)[0], 10]) + tf.reduce_sum(model.classifier.bias)
        return model

    with pytest.raises(ExportError, match="probabilities differ by"):
        export_saved_model(trained, untouchable, str(tmp_path), images, {})
    assert os.listdir(tmp_path) == []


def test_versions_count_up_past_other_folders(trained, images, tmp_path):
    for name in ("3", ".unfinished-1", "notes"):
        (tmp_path / name).mkdir()
    assert export_saved_model(trained, main_only, str(tmp_path), images, {}).endswith("/4")


def test_any_number_and_size_of_images(trained, images, tmp_path):
    signature = tf.saved_model.load(export_saved_model(trained, main_only, str(tmp_path), images, {})).signatures[
        "serving_default"
    ]
    for shape in ((1, 16, 16, 3), (33, 24, 20, 3)):
        batch = np.full(shape, 7.0, np.float32)
        np.testing.assert_allclose(signature(images=tf.constant(batch))["logits"], trained(batch), rtol=1e-4, atol=1e-4)


def test_export_from_replicas_averages_their_statistics(images, tmp_path, two_replicas):
    state = new_state(small_recipe(), two_replicas)
    folder = export_saved_model(state.average_model, main_only, str(tmp_path), images, {})
    probabilities = tf.saved_model.load(folder).signatures["serving_default"](images=tf.constant(images))
    expected = tf.nn.softmax(state.average_model(images, branch="main"))
    np.testing.assert_allclose(probabilities["probabilities"], expected, atol=1e-5)

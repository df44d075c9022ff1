"""The TF Hub modules: by the conventions, and fine-tuned through hub.KerasLayer."""

import json
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from efficientnet_advprop.export import ExportError, export_network, hub
from efficientnet_advprop.export.saved_model import stored_variables
from tests.exports import FAMILIES, NAMES, SIZE, served, some_images, trained_network

tensorflow_hub = pytest.importorskip("tensorflow_hub")

WEIGHT_DECAY = 1e-3


@pytest.fixture(scope="module", params=FAMILIES)
def modules(request, tmp_path_factory):
    """(trained network, version folder) of a small network of each family."""
    trained = trained_network(request.param)
    ready = served(trained, weight_decay=WEIGHT_DECAY)
    folder, _ = export_network(ready, "hub", str(tmp_path_factory.mktemp("hub")))
    return trained, folder


def test_both_modules_compute_what_the_network_computes(modules):
    """Here images are in [0, 1], in the network and its SavedModel for serving in [0, 255]."""
    trained, folder = modules
    assert folder.endswith("/hub/1")
    pixels = some_images(33)
    logits = tensorflow_hub.load(f"{folder}/classification")(tf.constant(pixels / 255))
    np.testing.assert_allclose(tf.nn.softmax(logits), tf.nn.softmax(trained(pixels)), atol=1e-5)
    layer = tensorflow_hub.KerasLayer(f"{folder}/feature_vector")
    features = trained.features(pixels).numpy()
    np.testing.assert_allclose(layer(pixels / 255), features, atol=1e-5 * np.abs(features).max())
    assert layer(pixels[:1] / 255).shape == (1, features.shape[1])


def test_modules_are_reusable_saved_models(modules):
    trained, folder = modules
    classifier = len(trained.classifier.variables)
    for kind, left_out in (("classification", 0), ("feature_vector", classifier)):
        loaded = tensorflow_hub.load(f"{folder}/{kind}")
        wanted = [path for path in trained.weights_by_path() if ".auxiliary." not in path]
        assert len(loaded.variables) == len(stored_variables(f"{folder}/{kind}")) == len(wanted) - left_out
        assert not [name for name in stored_variables(f"{folder}/{kind}") if "auxiliary" in name]
        moving = [path for path in wanted if "moving" in path]
        assert len(loaded.trainable_variables) == len(wanted) - left_out - len(moving)
        (loss,) = loaded.regularization_losses
        decayed = {id(variable) for variable in trained.decayed_variables()}
        kept = [
            variable
            for path, variable in trained.weights_by_path().items()
            if id(variable) in decayed and not (left_out and path.startswith("classifier"))
        ]
        np.testing.assert_allclose(loss(), WEIGHT_DECAY * sum(tf.nn.l2_loss(v) for v in kept), rtol=1e-5)


def test_stochastic_depth_draws_anew_in_every_call_and_only_in_training(tmp_path):
    """All images are equal: with batch statistics only stochastic depth makes examples and calls differ."""
    folder, _ = export_network(served(trained_network("efficientnet-b0")), "hub", str(tmp_path))
    module = tensorflow_hub.load(f"{folder}/classification")
    images = tf.constant(some_images(8) / 255)
    assert np.array_equal(module(images), module(images, training=False))
    before = [variable.numpy() for variable in module.variables]
    calls = [module(images, training=True).numpy() for _ in range(2)]
    assert np.abs(calls[0] - calls[1]).max() > 1e-3
    changed = [not np.array_equal(old, new) for old, new in zip(before, module.variables, strict=True)]
    assert sum(changed) == len(module.variables) - len(module.trainable_variables)  # moving statistics only


def test_a_feature_vector_learns_digits(modules):
    """A few epochs improve accuracy and change the moving statistics."""
    _, folder = modules
    digits = load_digits()
    images = tf.image.grayscale_to_rgb(
        tf.image.resize((digits.images / 16)[..., None].astype(np.float32), [SIZE, SIZE])
    ).numpy()
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:512], order[512:768]
    tf.keras.utils.set_random_seed(0)
    layer = tensorflow_hub.KerasLayer(f"{folder}/feature_vector", trainable=True)
    model = tf.keras.Sequential([tf.keras.layers.InputLayer((SIZE, SIZE, 3)), layer, tf.keras.layers.Dense(10)])
    assert len(model.losses) == 1
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(0.003), loss, ["accuracy"])
    moving = [variable for variable in layer.variables if not variable.trainable]
    statistics = [variable.numpy() for variable in moving]
    _, before = model.evaluate(images[test], digits.target[test], verbose=0)
    assert all(np.array_equal(old, new) for old, new in zip(statistics, moving, strict=True))
    model.fit(images[train], digits.target[train], batch_size=32, epochs=4, verbose=0)
    assert all(not np.array_equal(old, new) for old, new in zip(statistics, moving, strict=True))
    _, after = model.evaluate(images[test], digits.target[test], verbose=0)
    assert after > max(0.5, before + 0.2)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("kind", ["classification", "feature_vector"])
@pytest.mark.parametrize(("file", "weights_alone"), [("best.h5", True), ("best.h5", False), ("best.keras", False)])
def test_keras_saves_and_loads_a_fine_tuned_module(modules, tmp_path, kind, file, weights_alone):
    """Each file is what a ModelCheckpoint writes; Keras' .h5 needs names that are unique in a layer."""
    layer = tensorflow_hub.KerasLayer(f"{modules[1]}/{kind}", trainable=True, input_shape=(SIZE, SIZE, 3))
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(2)])
    model.compile(tf.keras.optimizers.Adam(), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, path = some_images(4) / 255, str(tmp_path / file)
    keep = tf.keras.callbacks.ModelCheckpoint(path, save_weights_only=weights_alone)
    model.fit(images, np.array([0, 1, 0, 1]), verbose=0, callbacks=[keep])
    expected = model.predict(images, verbose=0)
    for variable in model.variables:
        variable.assign_add(tf.ones_like(variable))
    if weights_alone:
        model.load_weights(path)
    else:
        model = tf.keras.models.load_model(path, custom_objects={"KerasLayer": tensorflow_hub.KerasLayer})
    np.testing.assert_array_equal(model.predict(images, verbose=0), expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (some_images(), "images hold NaN or values far outside .0, 1."),
        (some_images() * np.nan, "images hold NaN"),
        (np.zeros((0, SIZE, SIZE, 3), np.float32), "images are empty"),
        (np.zeros((SIZE, SIZE, 3), np.float32), "Could not find matching concrete function"),
        (np.zeros((1, SIZE, SIZE, 6), np.float32), "Could not find matching concrete function"),
        (np.zeros((1, SIZE, SIZE, 3), np.uint8), "Could not find matching concrete function"),
    ],
)
def test_invalid_input_is_refused(modules, images, message):
    module = tensorflow_hub.load(f"{modules[1]}/classification")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        module(tf.constant(images))


def test_archives_hold_the_modules_at_their_root(modules, tmp_path):
    _, folder = modules
    for kind in ("classification", "feature_vector"):
        with tarfile.open(f"{folder}/{kind}.tar.gz") as archive:
            assert {"saved_model.pb", "variables/variables.index", "export.json"} <= set(archive.getnames())
            archive.extractall(tmp_path / kind, filter="data")
        assert tensorflow_hub.load(str(tmp_path / kind))(tf.constant(some_images(1) / 255)).shape[0] == 1
        assert json.loads((tmp_path / kind / "export.json").read_text())["input_range"] == [0, 1]
    assert (tmp_path / "classification" / "labels.txt").read_text().splitlines() == list(NAMES)


def test_each_module_has_its_page(modules):
    trained, folder = modules
    for kind in ("classification", "feature_vector"):
        with open(f"{folder}/{kind}.md") as file:
            page = file.read()
        assert page.startswith(f"# Module {trained.spec.name.replace('-', '_')}_{kind}/1\n")
        for text in (f"<!-- asset-path: {kind}.tar.gz -->", "<!-- fine-tunable: true -->", "RGB in [0, 1]"):
            assert text in page
        assert ("logits [N, 10]" in page) == (kind == "classification")


def test_other_outputs_or_variables_fail_the_export(tmp_path, monkeypatch):
    trained = trained_network("efficientnet-b0")
    ready = served(trained)
    ready.model.classifier.bias.assign_add(np.arange(10) / 5)
    with pytest.raises(ExportError, match="probabilities of the classification module differ by"):
        export_network(ready, "hub", str(tmp_path))

    class Leaky(hub.HubModule):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.leaked = trained.branch_variables("auxiliary")

    monkeypatch.setattr(hub, "HubModule", Leaky)
    with pytest.raises(ExportError, match="the classification module holds"):
        export_network(served(trained), "hub", str(tmp_path))
    assert list(tmp_path.iterdir()) == []

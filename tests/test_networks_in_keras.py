"""Networks of `build_model` as Keras models: files, `fit` without a seed, backbones, `summary`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models import Network, build_model
from efficientnet_advprop.models.plain_norms import with_plain_norms
from efficientnet_advprop.recipes import RecipeError
from tests.small import randomize_norms
from tests.two_blocks import two_block_networks

ROOT = Path(__file__).parents[1]
TWO = ("main", "auxiliary")
_SMALL = {
    "efficientnet-b0": {"width_coefficient": 0.25, "depth_coefficient": 0.2, "survival_prob": 0.5},
    "resnet-50": {"width_coefficient": 0.125, "depth_coefficient": 0.2, "dropout_rate": 0.5},
}

# Loads what `saved` wrote; the plain model first, without this package.
_LOAD = """
import sys
sys.modules["efficientnet_advprop"] = None
import numpy as np
import tensorflow as tf
folder = sys.argv[1]
images = np.load(folder + "/images.npy")
np.save(folder + "/plain.out.npy", tf.keras.models.load_model(folder + "/plain.keras")(images))
del sys.modules["efficientnet_advprop"]
import efficientnet_advprop
from tests.two_blocks import two_block_networks
with two_block_networks():
    for name in sys.argv[2:]:
        loaded = tf.keras.models.load_model(f"{folder}/{name}.keras")
        np.save(f"{folder}/{name}.out.npy", loaded(images))
"""


def small_network(name: str = "efficientnet-b0", branches=TWO, **options) -> Network:
    """Two blocks and ten classes."""
    tf.keras.utils.set_random_seed(0)
    with two_block_networks():
        network = build_model(name, 10, branches, input_image_size=16, **_SMALL[name], **options)
    randomize_norms(network)
    return network


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.0, 255.0, (8, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module", params=list(_SMALL))
def network(request) -> Network:
    return small_network(request.param)


def functional(network: Network) -> tf.keras.Model:
    """A user's classifier on the features."""
    images = tf.keras.Input((None, None, 3))
    features = network.features(images, branch="auxiliary")
    return tf.keras.Model(images, AuxBatchNormalization()(tf.keras.layers.Dense(3)(features)))


def test_config_is_json_and_makes_the_same_network(network, two_blocks):
    copy = type(network).from_config(json.loads(json.dumps(network.get_config())))
    assert (copy.spec, copy.branches, copy.num_classes) == (network.spec, network.branches, network.num_classes)
    shapes = [{path: one.shape for path, one in each.weights_by_path().items()} for each in (network, copy)]
    assert shapes[0] == shapes[1]


def test_config_keeps_policy_and_frozen_layers(two_blocks):
    network = small_network(remat=True)
    network.stem.trainable = False
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        half = build_model(network.spec, 10)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    copy, half_copy = (tf.keras.models.clone_model(one) for one in (network, half))
    assert copy.remat and len(copy.trainable_variables) == len(network.trainable_variables) < len(half.weights) * 2
    assert [layer.compute_dtype for layer in half_copy.layers] == [layer.compute_dtype for layer in half.layers]
    assert half_copy.compute_dtype == "bfloat16"
    assert copy.compute_dtype == tf.keras.mixed_precision.global_policy().name == "float32"
    broken = network.get_config()
    broken["spec"]["depth"] = 1
    with pytest.raises(RecipeError, match="depth: no field of a NetworkSpec"):
        type(network).from_config(broken)


@pytest.fixture(scope="module")
def saved(images, tmp_path_factory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Outputs before saving and after loading in a new process, by model."""
    folder = tmp_path_factory.mktemp("saved")
    np.save(folder / "images.npy", images)
    models = {name: small_network(name) for name in _SMALL}
    models["backbone"] = functional(models["resnet-50"])
    layer_input = tf.keras.Input((16, 16, 3))
    models["layer"] = tf.keras.Model(layer_input, AuxBatchNormalization(TWO)(layer_input, branch="auxiliary"))
    models["layer"].set_weights(np.random.default_rng(1).uniform(0.5, 1.5, (8, 3)))
    for name, model in models.items():
        model(images)
        model.save(folder / f"{name}.keras")
    models["plain"] = with_plain_norms(models["layer"])
    models["plain"].save(folder / "plain.keras")
    names = [name for name in models if name != "plain"]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    script = [sys.executable, "-c", _LOAD, str(folder), *names]
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return {name: (model(images).numpy(), np.load(folder / f"{name}.out.npy")) for name, model in models.items()}


@pytest.mark.parametrize("name", [*_SMALL, "backbone", "layer", "plain"])
def test_files_load_in_a_new_process(saved, name):
    before, after = saved[name]
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_weights_of_either_format(network, images, tmp_path, suffix):
    path = str(tmp_path / f"network{suffix}")
    network.save_weights(path)
    other = small_network(network.spec.name)
    for variable in other.variables:
        variable.assign(tf.zeros_like(variable))
    other.load_weights(path)
    np.testing.assert_array_equal(other(images), network(images))
    np.testing.assert_array_equal(other(images, branch="auxiliary"), network(images, branch="auxiliary"))


def test_saved_model(images, tmp_path):
    network = small_network(branches=("main",))
    network(images)
    tf.saved_model.save(network, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded(images, training=False), network(images), rtol=1e-5, atol=1e-6)
    masks = [loaded(images, training=True).numpy() for _ in range(2)]
    assert not np.array_equal(*masks)


def fitted(images: np.ndarray, **options) -> tuple[Network, list[float]]:
    network = small_network(branches=("main",), dropout_rate=0.2)
    network.compile(tf.keras.optimizers.Adam(0.01), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    tf.keras.utils.set_random_seed(3)
    history = network.fit(images, np.arange(8), epochs=6, shuffle=False, verbose=0, **options)
    return network, history.history["loss"]


def test_fit_needs_no_seed(images, tmp_path, two_blocks):
    paths = list(small_network(branches=("main",)).weights_by_path())
    network, losses = fitted(images)
    assert losses[-1] < losses[0]
    assert list(network.weights_by_path()) == paths
    assert fitted(images.astype(np.uint8).astype(np.float32))[1] == fitted(images.astype(np.uint8))[1]
    network.save(tmp_path / "network.keras")
    loaded = tf.keras.models.load_model(tmp_path / "network.keras")
    assert int(loaded.optimizer.iterations) == 6
    assert loaded.evaluate(images, np.arange(8), verbose=0) == pytest.approx(
        network.evaluate(images, np.arange(8), verbose=0), rel=1e-5
    )


@pytest.mark.parametrize("remat", [False, True])
def test_backbone_trains_in_a_functional_model(images, remat):
    network = small_network(remat=remat)
    model = functional(network)
    features = tf.keras.Model(model.input, model.layers[1].output)
    np.testing.assert_allclose(features(images), network.features(images, branch="auxiliary"), rtol=1e-5)
    before = {branch: [variable.numpy() for variable in network.branch_variables(branch)] for branch in TWO}
    model.compile("adam", "mse")
    model.fit(images, np.zeros((8, 3)), verbose=0)
    after = {branch: [variable.numpy() for variable in network.branch_variables(branch)] for branch in TWO}
    np.testing.assert_array_equal(np.concatenate(before["main"]), np.concatenate(after["main"]))
    assert all(not np.array_equal(*both) for both in zip(before["auxiliary"], after["auxiliary"], strict=True))


def test_branches_of_one_model_share_the_network(images, tmp_path, two_blocks):
    network = small_network()
    inputs = tf.keras.Input((16, 16, 3))
    model = tf.keras.Model(inputs, [network.features(inputs, branch=branch) for branch in TWO])
    assert len(model.layers) == 2
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(network.weights)
    for ours, branch in zip(loaded(images), TWO, strict=True):
        np.testing.assert_allclose(ours, network.features(images, branch=branch), rtol=1e-5)


def test_network_is_a_layer(images):
    network = small_network()
    inputs = tf.keras.Input((16, 16, 3))
    model = tf.keras.Model(inputs, [network(inputs), network(inputs, branch="auxiliary")])
    for ours, branch in zip(model(images), TWO, strict=True):
        np.testing.assert_allclose(ours, network(images, branch=branch), rtol=1e-5)
    assert not np.array_equal(*(model(images, training=True)[0] for _ in range(2)))


@pytest.mark.parametrize("remat", [False, True])
def test_summary_shows_shapes_and_branches(remat):
    network, lines = small_network(remat=remat), []
    network.summary(print_fn=lambda line, *_, **__: lines.append(line))
    text = "\n".join(lines)
    assert "(None, 8, 8, 8)" in text and f"{network.count_params()} (" in text.replace(",", "")
    norms = sum(variable.shape.num_elements() for variable in network.branch_variables("main"))
    assert f"7 batch norms of {norms:,} parameters" in text
    assert "multiple" not in text

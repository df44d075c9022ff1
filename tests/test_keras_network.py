"""Networks of tf.keras.applications under the contract of our own: `KerasNetwork` against Keras' own model."""

import dataclasses
import inspect

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model, keras_network
from efficientnet_advprop.models.keras_network import SeededDropout, application
from efficientnet_advprop.models.weights import load_keras_weights
from efficientnet_advprop.recipes import FAMILIES, RecipeError, network_spec, validate_network
from tests.small import SEED, assert_equal_values, kept_by_estimate, kept_bytes, randomize_norms, values
from tests.tiny_keras import TINY, tiny, tiny_networks

# Keras' own, for the initializers of EfficientNetV2.
pytestmark = pytest.mark.filterwarnings("ignore:The `keras.initializers.serialize")

TWO = ("main", "auxiliary")
# One of each preprocessing: [-1, 1], inside the model, caffe's, torch's.
NETWORKS = ("MobileNetV2", "EfficientNetB0", "ResNet50", "DenseNet121")


def new_network(name: str, branches=TWO, size: int = 32, **changes):
    tf.keras.utils.set_random_seed(0)
    return build_model(f"keras:{name}", 10, branches, input_image_size=size, **changes)


def images_of(size: int = 32) -> tf.Tensor:
    return tf.random.stateless_uniform((4, size, size, 3), [1, 2], 0.0, 255.0)


@pytest.fixture(scope="module")
def mobilenet():
    network = new_network("MobileNetV2", dropout_rate=0.2)
    randomize_norms(network)
    return network


def tiny_network(branches=TWO, **changes):
    with tiny_networks():
        return new_network(TINY.removeprefix("keras:"), branches, **changes)


def keras_model(name: str) -> tf.keras.Model:
    """Keras' own, with random statistics."""
    tf.keras.utils.set_random_seed(1)
    model = application(f"keras:{name}")(include_top=False, weights=None, input_shape=(32, 32, 3))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
        if isinstance(layer, tf.keras.layers.Normalization) and layer.get_config()["mean"] is None:
            # What the ImageNet weights hold: Keras divides by this once here and, only with them, by its root behind.
            moments = np.array([[0.485, 0.456, 0.406], [0.229**2, 0.224**2, 0.225**2]])
            layer.set_weights([*moments, np.array(0)])
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_keras_own_network_on_pixels(name, tmp_path, mobilenet):
    network = mobilenet if name == "MobileNetV2" else new_network(name)
    reference = keras_model(name)
    epsilons = {layer.epsilon for layer in reference.layers if isinstance(layer, tf.keras.layers.BatchNormalization)}
    assert epsilons == {network.spec.batch_norm_epsilon}
    reference.save_weights(tmp_path / "weights.h5")
    load_keras_weights(network, str(tmp_path / "weights.h5"))
    images = images_of()
    pixels = inspect.getmodule(application(name)).preprocess_input(images.numpy().copy())
    expected = tf.reduce_mean(reference(pixels, training=False), (1, 2))
    for branch in TWO:
        features = network.features(images, branch=branch)
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5 * np.max(np.abs(expected)))


def test_constants_of_the_spec_are_those_of_the_norms():
    network = tiny_network(batch_norm_momentum=0.8, batch_norm_epsilon=0.01, sync_batch_norm=True)
    norms = [layer for layer in network.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)]
    assert len(norms) == 2 * 3
    assert {(norm.momentum, norm.epsilon, norm.synchronized) for norm in norms} == {(0.8, 0.01, True)}


def test_every_network_of_keras_with_batch_norms_is_named():
    family = next(family for family in FAMILIES if family.of_keras)
    builders = {name for name in dir(tf.keras.applications) if name[0].isupper()}
    without = {name for name in builders if name.startswith(("ConvNeXt", "VGG"))}
    assert {named.spec.name for named in family.networks} == {f"keras:{name}" for name in builders - without}


def test_paths_do_not_depend_on_what_was_built_before():
    """Keras names the layers of the first network conv2d and conv2d_1, those of the next one conv2d_2 and conv2d_3."""
    assert list(tiny_network().weights_by_path()) == list(tiny_network().weights_by_path())


def test_one_branch_is_the_same_network(mobilenet):
    one = new_network("MobileNetV2", ("auxiliary",))
    assert one.weights_by_path().keys() == {path for path in mobilenet.weights_by_path() if ".main." not in path}
    for path, variable in one.weights_by_path().items():
        variable.assign(mobilenet.weights_by_path()[path])
    images = images_of()
    np.testing.assert_array_equal(one(images, branch="auxiliary"), mobilenet(images, branch="auxiliary"))


def test_other_sizes_are_computed(mobilenet):
    assert mobilenet.features(images_of(48)).shape == (4, 1280)


def test_masks_in_a_loop_of_a_graph_are_those_of_eager_calls():
    network, images = tiny_network(), images_of()

    def logits(seed):
        return network(images, training=True, seed=seed)

    seeds = tf.constant([[1, 2], [1, 3], [1, 2]])
    in_loop = tf.function(lambda: tf.map_fn(logits, seeds, fn_output_signature=tf.float32))()
    np.testing.assert_allclose(in_loop, tf.stack([logits(seed) for seed in seeds]), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(in_loop[0], in_loop[2])
    assert np.any(in_loop[0] != in_loop[1])


def test_dropout_drops_whole_examples_with_its_rate():
    layer = SeededDropout(0.25, (None, 1, 1, 1), place=3)
    token = keras_network._SEED.set(tf.constant([5, 6]))
    kept = layer(tf.ones([4000, 2, 2, 3]), training=True).numpy()
    keras_network._SEED.reset(token)
    assert set(np.unique(kept)) == {0.0, np.float32(1 / 0.75)}
    assert np.all(kept == kept[:, :1, :1, :1])
    assert np.mean(kept > 0) == pytest.approx(0.75, abs=0.03)


def test_drop_connect_has_the_rates_of_the_spec():
    def rates(**changes):
        main = tiny_network(**changes).stem._graphs.by_branch["main"]
        return [layer.rate for layer in main.layers if isinstance(layer, SeededDropout)]

    # The tiny network's 0.2, where the published probability of survival is 0.8.
    assert (rates(), rates(survival_prob=0.9)) == (pytest.approx([0.2]), pytest.approx([0.1]))
    assert rates(survival_prob=1.0) == [0.0]


def test_pixels_reach_the_first_layer_in_float32():
    """bfloat16 has no number between 254 and 255."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = tiny_network()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert (network.compute_dtype, network(images_of()).dtype) == ("bfloat16", tf.float32)
    scaled = [layer for layer in network.stem._graphs.by_branch["main"].layers if layer.name.startswith("rescaling")]
    assert [layer.compute_dtype for layer in scaled] == ["float32"]


@pytest.mark.parametrize(("training", "statistics"), [(True, "batch"), (False, "batch"), (True, "running")])
def test_statistics_that_keras_lacks_are_refused(mobilenet, training, statistics):
    with pytest.raises(ValueError, match=f"statistics '{statistics}'"):
        mobilenet(images_of(), training=training, statistics=statistics, seed=SEED)


def test_the_estimate_of_activations(mobilenet):
    assert kept_by_estimate(mobilenet, 4, 32) == pytest.approx(kept_bytes(mobilenet, 4, 32), rel=0.25)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("keras:Xception", {"input_image_size": 64}, "takes images from 71 px on"),
        ("keras:MobileNetV2", {"width_coefficient": 0.5}, "width_coefficient 0.5: keras:MobileNetV2 has 1.0 alone"),
        ("keras:MobileNetV2", {"survival_prob": 0.5}, "survival_prob 0.5"),
        ("keras:MobileNetV2", {"preprocessing": "imagenet"}, "has keras alone"),
        ("keras:MobileNetV2", {"stem_strides": 1}, "stem_strides 1"),
        ("efficientnet-b0", {"preprocessing": "keras"}, "unknown preprocessing 'keras'"),
        ("keras:VGG16", {}, "unknown model 'keras:VGG16': did you mean "),
    ],
)
def test_settings_that_cannot_be_built_are_refused(name, changes, message):
    base = network_spec("keras:MobileNetV2") if name == "keras:VGG16" else network_spec(name)
    with pytest.raises(RecipeError, match=message):
        validate_network(dataclasses.replace(base, name=name, **changes))


def test_remat_is_refused():
    with pytest.raises(RecipeError, match="remat recomputes blocks"):
        build_model("keras:MobileNetV2", remat=True)


def test_weights_with_a_top_and_those_of_another_network(tmp_path):
    network, whole = tiny_network(), tiny()
    whole.save_weights(tmp_path / "whole.h5")
    with tiny_networks():
        load_keras_weights(network, str(tmp_path / "whole.h5"))
    np.testing.assert_array_equal(network.weights_by_path()["stem.layers.0_Conv2D.kernel"], whole.weights[0])
    before = values(network)
    tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(3,))]).save_weights(tmp_path / "other.h5")
    (tmp_path / "damaged.h5").write_bytes(b"no HDF5")
    for name in ("other.h5", "damaged.h5", "missing.h5"):
        with pytest.raises(RecipeError, match=f"keras_weights .*{name}"), tiny_networks():
            load_keras_weights(network, str(tmp_path / name))
    assert_equal_values(values(network), before)


def test_imagenet_weights_are_kerass_own(monkeypatch):
    network, asked = tiny_network(), []

    def downloaded(**arguments):
        asked.append(arguments)
        return tiny(**{**arguments, "weights": None})

    monkeypatch.setattr(tf.keras.applications, TINY.removeprefix("keras:"), downloaded)
    load_keras_weights(network, "imagenet")
    assert asked == [{"include_top": False, "weights": "imagenet", "input_shape": (224, 224, 3)}]

    def unreachable(**arguments):
        raise Exception("URL fetch failure on https://storage.googleapis.com")

    monkeypatch.setattr(tf.keras.applications, TINY.removeprefix("keras:"), unreachable)
    with pytest.raises(RecipeError, match="keras_weights imagenet: URL fetch failure"):
        load_keras_weights(network, "imagenet")

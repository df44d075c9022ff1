"""ResNets: sizes, arithmetic against a plain Keras network, padding, shortcuts, memory."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import ResNet, build_model
from efficientnet_advprop.models.layers import ConvNorm, normalize
from efficientnet_advprop.randomness import only_given_seeds
from tests.small import (
    SEED,
    assert_equal_values,
    copy_weights,
    kept_by_estimate,
    kept_bytes,
    loss_gradients,
    randomize_norms,
    values,
)

TWO = ("main", "auxiliary")

# Trainable parameters with 1000 classes (torchvision's and timm's), and gamma and beta of one branch.
SIZES = {
    "resnet-50": (25_557_032, 53_120),
    "resnet-101": (44_549_160, 105_344),
    "resnet-152": (60_192_808, 151_424),
    "resnet-200": (64_673_832, 176_000),
}
SMALL_REPEATS = (2, 2, 3, 2)  # of `small_resnet`: 0.4 times those of ResNet-50, rounded up


def small_resnet(branches=TWO, randomized=True, **options) -> ResNet:
    """A ResNet of nine bottlenecks, an eighth as wide, with ten classes; its variables are always the same."""
    tf.keras.utils.set_random_seed(0)
    model = build_model("resnet-50", 10, branches, **({"width_coefficient": 0.125, "depth_coefficient": 0.4} | options))
    if randomized:
        randomize_norms(model)
    return model


def count(variables) -> int:
    return sum(variable.shape.num_elements() for variable in variables)


@pytest.fixture
def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).uniform(0, 255, (8, 64, 64, 3)), tf.float32)


@pytest.mark.parametrize("name", SIZES)
def test_parameter_counts(name):
    trainable, norm = SIZES[name]
    model = build_model(name)
    assert (count(model.trainable_variables), count(model.weights)) == (trainable, trainable + norm)


def test_an_auxiliary_branch_adds_its_batch_norms_alone():
    one, two = build_model("resnet-50"), build_model("resnet-50", branches=TWO)
    assert count(two.trainable_variables) - count(one.trainable_variables) == SIZES["resnet-50"][1]
    assert one.weights_by_path().keys() == {path for path in two.weights_by_path() if ".auxiliary." not in path}


def test_paths_are_readable_and_unique():
    model = small_resnet()
    paths = model.weights_by_path()
    assert {
        "stem.kernel",
        "stem.norm.norms.main.gamma",
        "blocks.0.reduce.kernel",
        "blocks.0.filter.kernel",
        "blocks.0.expand.norm.norms.auxiliary.moving_variance",
        "blocks.0.shortcut.kernel",
        "classifier.kernel",
    } < paths.keys()
    assert "blocks.1.shortcut.kernel" not in paths
    assert len(paths) == len(model.weights) == len({id(variable) for variable in paths.values()})


def test_shapes():
    model = small_resnet()
    for size, sides in ((64, [16, 8, 4, 2]), (50, [13, 7, 4, 2])):
        outputs, seen = model.stem(tf.zeros([2, size, size, 3])), []
        for block in model.blocks:
            outputs = block(outputs)
            seen.append(outputs.shape[1])
        assert sorted(set(seen), reverse=True) == sides
        assert model(tf.zeros([2, size, size, 3])).shape == (2, 10)
    assert [block.output_filters for block in model.blocks] == [32, 32, 64, 64, 128, 128, 128, 256, 256]
    assert model.features(tf.zeros([2, 64, 64, 3])).shape == (2, 256)


def test_stochastic_depth_and_dropout_are_off_by_default():
    model = build_model("resnet-50")
    assert not any(block.drops for block in model.blocks)
    assert model.spec.dropout_rate == 0


def test_initial_values():
    weights = values(build_model("resnet-50"))
    for path, std in {
        "stem.kernel": np.sqrt(2 / (7 * 7 * 64)),
        "blocks.5.filter.kernel": np.sqrt(2 / (3 * 3 * 128)),
        "blocks.15.expand.kernel": np.sqrt(2 / 2048),
        "classifier.kernel": 1 / np.sqrt(3 * 2048),  # uniform within PyTorch's 1 / sqrt(features)
    }.items():
        assert weights[path].std() == pytest.approx(std, rel=0.02), path


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("kernel_size", [3, 7])
def test_symmetric_padding_centres_the_kernel(kernel_size, size):
    """A kernel that copies its central pixel: output i is input 2 i. "SAME" would copy the odd pixels of even sizes."""
    layer = ConvNorm(1, kernel_size, 2, None, {"epsilon": 1e-9}, symmetric_padding=True)
    inputs = tf.random.stateless_normal([1, size, size, 1], SEED)
    layer.build(inputs.shape)
    kernel = np.zeros(layer.kernel.shape, np.float32)
    kernel[kernel_size // 2, kernel_size // 2] = 1
    layer.kernel.assign(kernel)
    np.testing.assert_allclose(layer(inputs), inputs[:, ::2, ::2], rtol=1e-6, atol=1e-6)


def test_folded_batch_norm_equals_the_unfolded_one_with_symmetric_padding():
    layer = ConvNorm(8, 3, 2, None, {"branches": TWO}, symmetric_padding=True)
    inputs = tf.random.stateless_normal([2, 8, 8, 4], SEED)
    layer.build(inputs.shape)
    rng = np.random.default_rng(1)
    for variable in layer.norm.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    convolved = tf.nn.conv2d(tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]]), layer.kernel, 2, "VALID")
    expected = layer.norm(convolved, branch="auxiliary", statistics="running")
    np.testing.assert_allclose(layer(inputs, branch="auxiliary"), expected, rtol=1e-4, atol=1e-5)


def plain_resnet(repeats, width: int, image_size: int) -> tf.keras.Model:
    """ResNet v1.5 in Keras' own layers, named by our object paths; takes normalised images."""
    layers = tf.keras.layers

    def unit(inputs, filters, kernel_size, strides, name):
        if kernel_size > 1:
            inputs = layers.ZeroPadding2D(kernel_size // 2)(inputs)
        outputs = layers.Conv2D(filters, kernel_size, strides, use_bias=False, name=name)(inputs)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}.norm.norms.main")(outputs)

    inputs = layers.Input([image_size, image_size, 3])
    outputs = layers.ReLU()(unit(inputs, width, 7, 2, "stem"))
    outputs = layers.MaxPool2D(3, 2)(layers.ZeroPadding2D(1)(outputs))
    block = 0
    for stage, stage_repeats in enumerate(repeats):
        filters = width * 2**stage
        for repeat in range(stage_repeats):
            strides = 2 if stage and not repeat else 1
            path = layers.ReLU()(unit(outputs, filters, 1, 1, f"blocks.{block}.reduce"))
            path = layers.ReLU()(unit(path, filters, 3, strides, f"blocks.{block}.filter"))
            path = unit(path, 4 * filters, 1, 1, f"blocks.{block}.expand")
            if not repeat:
                outputs = unit(outputs, 4 * filters, 1, strides, f"blocks.{block}.shortcut")
            outputs = layers.ReLU()(layers.Add()([path, outputs]))
            block += 1
    outputs = layers.Dense(10, name="classifier")(layers.GlobalAveragePooling2D()(outputs))
    return tf.keras.Model(inputs, outputs)


def test_it_computes_what_a_plain_keras_resnet_does(images):
    model = small_resnet(("main",))
    reference = plain_resnet(SMALL_REPEATS, 8, 64)

    def twin(path):
        layer, attribute = path.rsplit(".", 1)
        return getattr(reference.get_layer(layer), attribute)

    paths = model.weights_by_path()
    assert len(paths) == len(reference.weights)
    for path, variable in paths.items():
        twin(path).assign(variable)
    normalized = normalize(images, "imagenet")
    for training in (False, True, False):  # the last with the statistics that the training call updated
        expected = reference(normalized, training=training)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(model(images, training=training), expected, rtol=1e-4, atol=1e-4 * scale)
    for path, variable in paths.items():
        np.testing.assert_allclose(variable, twin(path), rtol=1e-4, atol=1e-5, err_msg=path)


def test_zero_init_residual_starts_blocks_as_their_shortcut():
    model = small_resnet(randomized=False, zero_init_residual=True)
    for block in model.blocks:
        inputs = tf.nn.relu(tf.random.stateless_normal([2, 8, 8, block.spec.input_filters], SEED))
        for branch in TWO:
            with tf.GradientTape() as tape:
                outputs = block(inputs, training=True, branch=branch)
                loss = tf.reduce_sum(outputs**2)
            arguments = {"training": True, "branch": branch}
            shortcut = inputs if block.shortcut is None else block.shortcut(inputs, **arguments)
            np.testing.assert_array_equal(outputs, tf.nn.relu(shortcut))
            gamma, kernel = tape.gradient(loss, [block.expand.norm.norm(branch).gamma, block.expand.kernel])
            assert np.abs(gamma).max() > 0  # its gradient is not zero
            assert not np.any(kernel)


def test_zero_init_residual_is_off_by_default():
    gammas = [block.expand.norm.norm("main").gamma for block in small_resnet(randomized=False).blocks]
    assert all((gamma.numpy() == 1).all() for gamma in gammas)


def test_survival_probability_falls_linearly_with_depth():
    model = small_resnet(survival_prob=0.55)
    np.testing.assert_allclose([block.survival_prob for block in model.blocks], 1 - 0.45 * np.arange(9) / 9)
    assert [block.drops for block in model.blocks] == [False] + [True] * 8


@pytest.mark.parametrize("index", [7, 8])  # with a projection, and without
def test_stochastic_depth_drops_the_residual_path_alone(index):
    block = small_resnet(survival_prob=0.4).blocks[index]
    inputs = tf.nn.relu(tf.random.stateless_normal([32, 4, 4, block.spec.input_filters], SEED))
    shortcut = inputs if block.shortcut is None else block.shortcut(inputs)
    path = block.expand(block.filter(block.reduce(inputs)))
    outputs = block(inputs, training=True, statistics="running", seed=SEED).numpy()
    dropped = tf.nn.relu(shortcut).numpy()
    kept = tf.nn.relu(path / block.survival_prob + shortcut).numpy()
    is_kept = np.array([not np.array_equal(*pair) for pair in zip(outputs, dropped, strict=True)])
    assert 0 < is_kept.sum() < 32
    np.testing.assert_allclose(outputs[is_kept], kept[is_kept], rtol=1e-4, atol=1e-4)


def test_a_seed_is_needed_where_something_is_random(images):
    with only_given_seeds():
        with pytest.raises(ValueError, match="lacks a seed"):
            small_resnet(survival_prob=0.5)(images, training=True)
        small_resnet()(images, training=True)


@pytest.mark.parametrize("statistics", ["update", "running"])
def test_remat_changes_neither_gradients_nor_statistics(images, statistics):
    options = {"survival_prob": 0.5, "dropout_rate": 0.5}
    plain, remat = small_resnet(**options), small_resnet(**options, remat=True)
    copy_weights(plain, remat)
    expected, gradients = (loss_gradients(model, images, statistics) for model in (plain, remat))
    scale = max(np.abs(gradient).max() for gradient in expected)
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * scale)
    assert_equal_values(values(remat), values(plain), rtol=1e-5, atol=1e-6)


def test_activation_bytes_is_what_a_traced_step_keeps():
    model = build_model("resnet-50")
    # 2 %: batch statistics and the normalised images are left out of the estimate.
    assert kept_by_estimate(model, 4, 224) == pytest.approx(kept_bytes(model, 4, 224), rel=0.02)


def test_mixed_bfloat16(images):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = small_resnet()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for options in ({}, {"training": True}):
        logits = model(images, branch="auxiliary", **options)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()


def test_the_networks_compile_under_xla(images):
    """XLA does not support explicit padding in all ops."""
    model = small_resnet(depth_coefficient=0.1)
    gradients = loss_gradients(model, images)
    compiled = tf.function(loss_gradients, jit_compile=True)(model, images)
    scale = max(np.abs(gradient).max() for gradient in gradients)
    for ours, theirs in zip(compiled, gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * scale)

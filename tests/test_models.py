"""EfficientNets: sizes, arithmetic against Keras' own, the branch of each variable, randomness."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model, efficientnet, network
from efficientnet_advprop.models.layers import ConvNorm, drop_connect, normalize, silu
from efficientnet_advprop.randomness import only_given_seeds
from efficientnet_advprop.recipes import FAMILIES
from tests.small import assert_equal_values, copy_weights, randomize_norms, small_model, values
from tests.small_keras import assign_to_keras

TWO = ("main", "auxiliary")
SEED = tf.constant([1, 2])

# Trainable parameters with 1000 classes (B0-B5 as the KerasHub presets), and gamma and beta of one branch.
SIZES = {
    "efficientnet-b0": (5_288_548, 42_016),
    "efficientnet-b1": (7_794_184, 62_048),
    "efficientnet-b2": (9_109_994, 67_568),
    "efficientnet-b3": (12_233_232, 87_296),
    "efficientnet-b4": (19_341_616, 125_200),
    "efficientnet-b5": (30_389_784, 172_736),
    "efficientnet-b6": (43_040_704, 224_432),
    "efficientnet-b7": (66_347_960, 310_720),
    "efficientnet-b8": (87_413_142, 380_032),
}


def ids(variables) -> set[int]:
    return {id(variable) for variable in variables}


def count(variables) -> int:
    return sum(variable.shape.num_elements() for variable in variables)


@pytest.fixture
def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)), tf.float32)


@pytest.fixture
def mixed_bfloat16():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf.keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("name", SIZES)
def test_parameter_counts(name):
    trainable, norm = SIZES[name]
    model = build_model(name, branches=TWO)
    assert (count(model.trainable_variables), count(model.weights)) == (trainable + norm, trainable + 3 * norm)
    # One branch is two without the other (see test_paths...): half the time of building both.
    auxiliary = ids(model.branch_variables("auxiliary"))
    one_branch = [variable for variable in model.weights if id(variable) not in auxiliary]
    trainable_of_one = [variable for variable in one_branch if variable.trainable]
    assert (count(trainable_of_one), count(one_branch)) == (trainable, trainable + norm)


def test_b0_counts_with_one_branch():
    model = build_model("efficientnet-b0")
    assert (count(model.trainable_variables), count(model.weights)) == (5_288_548, 5_330_564)


def test_paths_are_readable_unique_and_independent_of_other_branches():
    one, two = small_model(("main",)).weights_by_path(), small_model().weights_by_path()
    assert {"stem.kernel", "blocks.1.squeeze_excite.reduce.bias", "classifier.kernel"} < one.keys()
    assert "blocks.1.depthwise.norm.norms.auxiliary.moving_variance" in two
    assert one.keys() == {path for path in two if ".auxiliary." not in path}
    assert len(ids(two.values())) == len(two) == len(small_model().weights)


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if not family.of_keras], ids=lambda family: family.builder
)
def test_weights_are_saved_by_keras_because_their_names_are_unique(family, tmp_path):
    small = {"width_coefficient": 0.125, "depth_coefficient": 0.2}
    model, other = (build_model(family.networks[0].spec, 10, ("main", "auxiliary"), **small) for _ in range(2))
    names = [weight.name for weight in model.weights]
    assert len(set(names)) == len(names)
    assert {"stem/kernel:0", "stem/norm/auxiliary/gamma:0", "classifier/bias:0"} < set(names)
    randomize_norms(model)
    model.save_weights(tmp_path / "weights.h5")
    other.load_weights(tmp_path / "weights.h5")
    assert_equal_values(values(other), values(model))


def test_every_variable_is_shared_or_one_branchs():
    model = small_model()
    paths = {id(variable): path for path, variable in model.weights_by_path().items()}
    owned = [ids(model.branch_variables(branch)) for branch in TWO]
    shared = paths.keys() - owned[0] - owned[1]
    assert not owned[0] & owned[1]
    for branch, variables in zip(TWO, owned, strict=True):
        assert all(f".norms.{branch}." in paths[variable] for variable in variables)
    decayed = ids(model.decayed_variables())
    assert decayed == shared
    assert {paths[variable].rsplit(".")[-1] for variable in decayed} == {"kernel", "bias"}
    assert ids(model.decayed_variables(decay_batch_norm=True)) == ids(model.trainable_variables)


def test_two_branch_checkpoint_in_a_main_only_model(images, tmp_path):
    trained, served = small_model(), small_model(("main",))
    for variable in served.weights:
        variable.assign(tf.zeros_like(variable))
    path = tf.train.Checkpoint(model=trained).write(str(tmp_path / "checkpoint"))
    status = tf.train.Checkpoint(model=served).read(path)
    status.assert_existing_objects_matched()
    status.expect_partial()
    np.testing.assert_array_equal(served(images), trained(images, branch="main"))


def test_initial_values():
    model = build_model("efficientnet-b0")
    weights = values(model)
    for path, std in {
        "stem.kernel": np.sqrt(2 / (3 * 3 * 32)),
        "head.kernel": np.sqrt(2 / 1280),
        "blocks.9.depthwise.kernel": np.sqrt(2 / (5 * 5)),
        "blocks.9.squeeze_excite.expand.kernel": np.sqrt(2 / 672),
    }.items():
        assert weights[path].std() == pytest.approx(std, rel=0.05), path
        assert abs(weights[path].mean()) < 5 * std / np.sqrt(weights[path].size), path
    # Keras' truncated normal ends at 2.3 of its standard deviations.
    assert np.abs(weights["head.kernel"]).max() > 4 * np.sqrt(2 / 1280)
    assert all(not value.any() for path, value in weights.items() if path.endswith("bias"))
    for scale in (1.0, 0.1):
        kernel = small_model(classifier_init_scale=scale).classifier.kernel.numpy()
        limit = scale / np.sqrt(10)
        assert 0.98 * limit < np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("number", range(8))
def test_b0_to_b7_compute_what_keras_does(number):
    model = build_model(f"efficientnet-b{number}", preprocessing="advprop")
    randomize_norms(model)
    for block in model.blocks:
        # Without it activations double with every block, and the rounding of huge gate inputs decides the result.
        gamma = block.project.norm.norm("main").gamma
        gamma.assign(0.2 * gamma)
    make_reference = getattr(tf.keras.applications, f"EfficientNetB{number}")
    reference = make_reference(weights=None, input_shape=(64, 64, 3), classifier_activation=None)
    assign_to_keras(model, reference)
    images = tf.constant(np.random.default_rng(1).uniform(0, 255, (4, 64, 64, 3)), tf.float32)
    # Without ImageNet weights, Keras' first layers only divide by 255: feed what makes that our normalisation.
    expected = reference(2 * images - 255, training=False)
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_silu_and_its_gradient_are_tensorflows_bit_by_bit(dtype):
    features = tf.cast(tf.concat([tf.linspace(-30.0, 30.0, 1001), [-1e4, 1e4, 0.0]], 0), dtype)
    upstream = tf.cast(tf.random.stateless_normal(features.shape, [1, 2]), dtype)

    def of(function):
        with tf.GradientTape() as tape:
            tape.watch(features)
            outputs = function(features)
        return tf.cast(outputs, tf.float32), tf.cast(tape.gradient(outputs, features, upstream), tf.float32)

    for ours, expected in zip(of(silu), of(tf.nn.silu), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_normalization():
    pixels = tf.constant([[0.0, 127.5, 255.0]])
    np.testing.assert_allclose(normalize(pixels, "advprop"), [[-1, 0, 1]], atol=1e-6)
    mean, stddev = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    normalized = normalize(tf.constant([mean, mean + stddev], tf.float32), "imagenet")
    np.testing.assert_allclose(normalized, [[0] * 3, [1] * 3], atol=1e-5)


@pytest.mark.parametrize("statistics", [None, "running", "batch"])
def test_calls_outside_training_assign_nothing(images, statistics):
    model = small_model()
    before = values(model)
    model(images, branch="auxiliary", statistics=statistics)
    assert_equal_values(values(model), before, rtol=0)


def test_training_moves_only_its_branch(images):
    model = small_model()
    before = values(model)
    model(images, training=True, branch="auxiliary")
    after = values(model)
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {path for path in before if ".auxiliary.moving_" in path}


def test_branches_with_different_batch_norms_give_different_logits(images):
    fresh = small_model(randomized=False)
    np.testing.assert_array_equal(fresh(images, branch="main"), fresh(images, branch="auxiliary"))
    model = small_model()
    difference = np.abs(model(images, branch="main") - model(images, branch="auxiliary")).max()
    assert difference > 0.01 * np.abs(model(images)).max()


@pytest.mark.parametrize("filters", [8, None])
def test_folded_batch_norm_equals_the_unfolded_one(filters):
    layer = ConvNorm(filters, 3, 2, None, {"branches": TWO})
    inputs = tf.constant(np.random.default_rng(0).normal(size=(2, 9, 9, 4)), tf.float32)
    layer.build(inputs.shape)
    rng = np.random.default_rng(1)
    for variable in layer.norm.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    if filters:
        convolved = tf.nn.conv2d(inputs, layer.kernel, 2, "SAME")
    else:
        convolved = tf.nn.depthwise_conv2d(inputs, layer.kernel, [1, 2, 2, 1], "SAME")
    expected = layer.norm(convolved, branch="auxiliary", statistics="running")
    np.testing.assert_allclose(layer(inputs, branch="auxiliary"), expected, rtol=1e-4, atol=1e-5)


def test_features_are_the_input_of_the_classifier(images):
    model = small_model()
    features = model.features(images, branch="auxiliary")
    assert features.shape == (8, model.head.filters)
    np.testing.assert_allclose(model.classifier(features), model(images, branch="auxiliary"), rtol=1e-5, atol=1e-5)


def test_drop_connect_keeps_with_its_probability():
    kept = drop_connect(tf.ones([20_000, 1, 1, 2]), 0.8, SEED).numpy()
    np.testing.assert_array_equal(kept[..., 0], kept[..., 1])  # whole examples
    np.testing.assert_allclose(np.unique(kept), [0, 1 / 0.8], rtol=1e-6)
    assert (kept > 0).mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / 20_000))


def test_survival_probability_falls_linearly_with_depth():
    model = build_model("efficientnet-b0")
    np.testing.assert_allclose([block.survival_prob for block in model.blocks], 1 - 0.2 * np.arange(16) / 16)
    assert [index for index, block in enumerate(model.blocks) if block.drops] == [2, 4, 6, 7, 9, 10, 12, 13, 14]


def test_drop_connect_drops_the_residual_path_alone(images):
    block = next(block for block in small_model(depth_coefficient=0.6, survival_prob=0.5).blocks if block.drops)
    inputs = tf.random.stateless_normal([16, 4, 4, block.spec.input_filters], SEED)
    path = block(inputs) - inputs
    kept = (block(inputs, training=True, statistics="running", seed=SEED) - inputs) / path
    factors = np.median(kept, axis=(1, 2, 3))
    np.testing.assert_allclose(np.sort(np.unique(factors.round(3))), [0, round(1 / block.survival_prob, 3)], atol=1e-3)


def test_every_random_layer_has_its_own_seed(images, monkeypatch):
    model = small_model(depth_coefficient=0.6, survival_prob=0.8, dropout_rate=0.5)
    seeds = []
    for module, name in ((efficientnet, "drop_connect"), (network, "dropout")):
        monkeypatch.setattr(module, name, lambda inputs, rate, seed: seeds.append(tuple(seed.numpy())) or inputs)
    model(images, training=True, seed=SEED)
    assert len(set(seeds)) == len(seeds) == 1 + sum(block.drops for block in model.blocks) > 2


@pytest.mark.parametrize("rates", [{"dropout_rate": 0.5}, {"depth_coefficient": 0.6, "survival_prob": 0.5}])
def test_the_seed_decides_the_masks(images, rates):
    model = small_model(**rates)

    def logits(seed, training=True):
        return model(images, training=training, statistics="running", seed=seed).numpy()

    np.testing.assert_array_equal(logits(SEED), logits(SEED))
    assert not np.array_equal(logits(SEED), logits(SEED + 1))
    np.testing.assert_array_equal(logits(None, training=False), logits(SEED, training=False))
    assert not np.array_equal(logits(None), logits(None))
    tf.keras.utils.set_random_seed(1)
    once = logits(None)
    tf.keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(logits(None), once)
    with only_given_seeds():
        np.testing.assert_array_equal(logits(SEED), logits(SEED))
        with pytest.raises(ValueError, match="lacks a seed"):
            logits(None)
    logits(None)


def test_no_seed_is_needed_where_nothing_is_random(images):
    with only_given_seeds():
        once, again = (small_model()(images, training=True) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_mixed_bfloat16(images, mixed_bfloat16):
    model = small_model(dropout_rate=0.5)
    assert {variable.dtype for variable in model.weights} == {tf.float32}
    for options in ({}, {"statistics": "batch"}, {"training": True, "seed": SEED}):
        logits = model(images, branch="auxiliary", **options)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()
    # Pixels are not rounded to bfloat16, whose step here is 1, before they are normalised.
    grey = tf.fill([1, 32, 32, 3], 130.0)
    assert not np.array_equal(model.features(grey), model.features(grey + 0.25))
    assert not np.array_equal(model(grey), model(grey + 0.25))


def test_zero_init_residual_starts_residual_blocks_as_the_identity(images):
    model = small_model(randomized=False, depth_coefficient=0.5, zero_init_residual=True)
    residual = [block for block in model.blocks if block.is_residual]
    assert residual
    inputs = {block: tf.random.stateless_normal((2, 4, 4, block.spec.input_filters), SEED) for block in residual}
    for branch in TWO:
        for block in model.blocks:
            gamma = block.project.norm.norm(branch).gamma
            np.testing.assert_array_equal(gamma, tf.fill(gamma.shape, 0.0 if block.is_residual else 1.0))
        for block in residual:
            np.testing.assert_array_equal(block(inputs[block], training=True, branch=branch), inputs[block])


def test_build_under_a_strategy(images, two_replicas):
    with two_replicas.scope():
        model = small_model()
    single = small_model()
    assert model.weights_by_path().keys() == single.weights_by_path().keys()
    copy_weights(single, model)
    logits = two_replicas.run(model, (images,))
    for replica_logits in two_replicas.experimental_local_results(logits):
        np.testing.assert_allclose(replica_logits, single(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "efficientnet-b9"}, "unknown model 'efficientnet-b9': did you mean efficientnet-b[0-8]"),
        ({"branches": ("main", "main")}, "must be distinct"),
        ({"branches": ()}, "at least one"),
        ({"preprocessing": "caffe"}, "unknown preprocessing 'caffe'; known: advprop, imagenet"),
        ({"width": 2.0}, "unknown network settings width; known: .*width_coefficient"),
        ({"remat": True, "sync_batch_norm": True}, "remat and sync_batch_norm exclude each other"),
    ],
)
def test_build_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(**({"network": "efficientnet-b0"} | arguments))


def test_call_errors(images):
    model = small_model()
    with pytest.raises(ValueError, match="unknown branch 'other'; known: main, auxiliary"):
        model(images, branch="other")
    with pytest.raises(ValueError, match="unknown statistics 'frozen'; known: update, running, batch"):
        model(images, statistics="frozen")
    with pytest.raises(ValueError, match="unknown branch 'other'; known: main, auxiliary"):
        model.branch_variables("other")

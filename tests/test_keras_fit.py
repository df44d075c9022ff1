"""`AdvProp.fit` against plain Keras and against gradients written out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.keras_api import AdvProp
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import SCHEMES, AttackSpec, TermWeights
from tests.small_keras import CLASSES, SPARSE, assert_equal_weights, fitted, images_and_labels, small_network

IFGSM = AttackSpec(method="ifgsm", epsilon_px=4.0, step_size_px=4.0, num_steps=1, random_start=False)

pytestmark = pytest.mark.filterwarnings("ignore:.*batch norms of momentum:UserWarning")


LOSSES = {
    "sparse": ("softmax", SPARSE),
    "from_logits": (None, tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
    "one_hot": (None, tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)),
    "function": ("sigmoid", lambda labels, outputs: tf.reduce_sum(tf.abs(tf.one_hot(labels, CLASSES) - outputs), -1)),
}


WEIGHTINGS = {
    "none": {},
    "classes": {"class_weight": {0: 1.0, 1: 0.0, 2: 3.0, 3: 0.5}},
    "images": {"sample_weight": np.linspace(0, 2, 16)},
}


@pytest.mark.parametrize(
    ("name", "weighting"),
    [
        ("sparse", "none"),
        ("from_logits", "images"),
        ("one_hot", "classes"),
        ("function", "images"),
    ],
)
def test_vanilla_is_what_keras_does(name, weighting):
    """Losses, metrics, weights and moving statistics, with both kinds of regularisation."""
    activation, loss = LOSSES[name]
    images, labels = images_and_labels()
    weighting = WEIGHTINGS[weighting]
    if name == "one_hot":
        labels = np.eye(CLASSES, dtype=np.float32)[labels]
    regularisers = {"kernel_regularizer": "l2", "activity_regularizer": "l1"}
    plain, inner = (small_network(activation, **regularisers) for _ in range(2))
    expected = fitted(plain, images, labels, loss, metrics=["accuracy"], validation_data=(images, labels), **weighting)
    actual = fitted(
        AdvProp(inner, scheme="vanilla"), images, labels, loss, metrics=["accuracy"],
        validation_data=(images, labels), **weighting,
    )  # fmt: skip
    for metric, values in expected.items():
        np.testing.assert_allclose(actual[metric], values, rtol=1e-5, err_msg=metric)
    assert_equal_weights(inner, plain)


def test_several_outputs_and_loss_weights_are_those_of_keras():
    images, labels = images_and_labels()
    targets = {"classes": labels, "brightness": images.mean((1, 2, 3)) / 255}
    losses, loss_weights = {"classes": SPARSE, "brightness": "mse"}, {"classes": 0.5, "brightness": 3.0}
    plain, inner = (small_network(outputs=2) for _ in range(2))
    images, targets = images[:-3], {name: values[:-3] for name, values in targets.items()}  # a last batch of 5
    expected = fitted(plain, images, targets, losses, loss_weights=loss_weights)
    actual = fitted(AdvProp(inner, scheme="vanilla"), images, targets, losses, loss_weights=loss_weights)
    np.testing.assert_allclose(actual["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(actual["loss/clean"], expected["loss"], rtol=1e-5)
    assert_equal_weights(inner, plain)


def mean_cross_entropy(labels, logits, weights=1.0):
    return tf.reduce_mean(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def moved_by_hand(model: tf.keras.Model, images, labels, per_pixel=1.0) -> np.ndarray:
    """One step of I-FGSM in plain TensorFlow, for inputs with this many units per pixel from 0."""
    inputs = tf.constant(images * per_pixel)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = mean_cross_entropy(labels, model(inputs, training=False))
    ascent = np.sign(tape.gradient(loss, inputs))
    return (np.clip(images + 4.0 * ascent, 0, 255) * per_pixel).astype(np.float32)


@pytest.mark.parametrize("per_pixel", [1.0, 1 / 255])
def test_the_gradient_of_advprop_is_the_sum_of_both_branches(per_pixel):
    """Weights, sample weights, the range of inputs: one step of SGD at rate 1 shows the gradient."""
    images, labels = images_and_labels(8)
    sample_weights = np.linspace(0.5, 2, 8).astype(np.float32)
    model, reference, auxiliary = (small_network(None) for _ in range(3))
    advprop = AdvProp(model, IFGSM, term_weights=TermWeights(adversarial=0.25), pixel_range=(0, 255 * per_pixel))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    history = fitted(
        advprop, images * np.float32(per_pixel), labels, loss, learning_rate=1.0, sample_weight=sample_weights
    )

    with tf.GradientTape() as tape:
        clean = mean_cross_entropy(labels, reference(images * np.float32(per_pixel), training=True), sample_weights)
    of_main = tape.gradient(clean, reference.trainable_variables)
    moved = moved_by_hand(auxiliary, images, labels, per_pixel)
    with tf.GradientTape() as tape:
        adversarial = mean_cross_entropy(labels, auxiliary(moved, training=True), sample_weights)
    of_auxiliary = tape.gradient(adversarial, auxiliary.trainable_variables)

    by_hand = {"loss/clean": clean, "loss/adversarial": adversarial, "loss": clean + 0.25 * adversarial}
    for name, value in by_hand.items():
        np.testing.assert_allclose(history[name], [value], rtol=1e-4, err_msg=name)
    (view,) = advprop._branches.views.values()
    norms = {variable.ref() for norm, _ in view.norms for variable in norm.weights}
    initial = small_network(None)
    for now, before, main, other in zip(
        model.trainable_variables, initial.trainable_variables, of_main, of_auxiliary, strict=True
    ):
        expected = main if now.ref() in norms else main + 0.25 * other
        np.testing.assert_allclose(before - now, expected, rtol=1e-3, atol=1e-5, err_msg=now.name)
    for now, before, other in zip(
        (partner.gamma for _, partner in view.norms),
        (layer.gamma for layer in initial.layers if hasattr(layer, "gamma")),
        (
            gradient
            for gradient, v in zip(of_auxiliary, auxiliary.trainable_variables, strict=True)
            if "gamma" in v.name
        ),
        strict=True,
    ):
        np.testing.assert_allclose(before - now, 0.25 * other, rtol=1e-3, atol=1e-5)
    for layer, after in ((model.get_layer("first_norm"), reference), (view.norms[0][1], auxiliary)):
        for statistic in ("moving_mean", "moving_variance"):
            expected = getattr(after.get_layer("first_norm"), statistic)
            np.testing.assert_allclose(getattr(layer, statistic), expected, rtol=1e-4, err_msg=statistic)


def test_joint_images_are_one_batch():
    """With an attack that moves nothing, a batch is every image twice: the gradient is twice the clean one."""
    images, labels = images_and_labels(8)
    plain, inner = (small_network() for _ in range(2))
    attack = AttackSpec(epsilon_px=0.0, num_steps=1)
    plain.compile(tf.keras.optimizers.SGD(0.2), SPARSE)
    plain.train_on_batch(np.concatenate([images, images]), np.concatenate([labels, labels]))
    history = fitted(AdvProp(inner, attack, scheme="joint"), images, labels, learning_rate=0.1)
    np.testing.assert_allclose(history["loss"], [2 * history["loss/clean"][0]], rtol=1e-6)
    assert_equal_weights(inner, plain)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_trains(scheme):
    images, labels = images_and_labels(32)
    inputs = {"images": images, "images_augmented": images[:, :, ::-1]} if scheme == "fine_grained" else images
    model = small_network(dropout=0.1)
    advprop = AdvProp(model, scheme=scheme)
    advprop.compile("adam", SPARSE, metrics=["accuracy"])
    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(16, drop_remainder=True)
    history = advprop.fit(data, epochs=2, verbose=0, validation_data=data).history
    terms = {term.name for phase in advprop.schedule.all_phases for term in phase.terms}
    assert {name for name in history if "/" in name} == {
        f"{kind}/{term}" for kind in ("loss", "top1") for term in terms
    }
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} < set(history)
    assert all(np.isfinite(values).all() for values in history.values())
    assert advprop.predict(inputs, verbose=0).shape == (32, CLASSES)
    np.testing.assert_array_equal(advprop.predict(inputs, verbose=0), model.predict(images, verbose=0))


def test_a_network_of_ours_trains_and_goes_on_after_loading(two_blocks, tmp_path):
    """Its own branches, batch statistics in the attack, dropout with the step's seed."""
    images, labels = images_and_labels()
    branches, small = ("main", "auxiliary"), {"width_coefficient": 0.25, "depth_coefficient": 0.2}
    network = build_model("efficientnet-b0", CLASSES, branches, **small)
    before = [variable.numpy() for branch in branches for variable in network.branch_variables(branch)]
    advprop = AdvProp(network, AttackSpec(num_steps=1, batch_norm_mode="batch"))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    history = fitted(advprop, images, labels, loss)
    assert {"loss/clean", "loss/adversarial"} < set(history)
    after = [variable.numpy() for branch in branches for variable in network.branch_variables(branch)]
    assert not any(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    advprop.save(tmp_path / "advprop.keras")
    loaded = tf.keras.models.load_model(tmp_path / "advprop.keras")
    for ours in (advprop, loaded):
        ours.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    assert_equal_weights(loaded, advprop)
    with pytest.raises(ValueError, match=r"no branch 'auxiliary': build_model\('efficientnet-b0'"):
        AdvProp(build_model("efficientnet-b0", CLASSES, **small))
    with pytest.raises(ValueError, match=r"take pixels in \(0, 255\)"):
        AdvProp(network, pixel_range=(-1, 1))


def test_adversarial_then_clean_switches_at_an_epoch():
    images, labels = images_and_labels()
    model = small_network()
    advprop = AdvProp(model, IFGSM, scheme="adversarial_then_clean", clean_from_epoch=2)
    history = fitted(advprop, images, labels, epochs=5)
    assert (len(history["loss/adversarial"]), len(history["loss/clean"])) == (2, 3)
    with pytest.raises(ValueError, match="clean_from_epoch 2 is not inside the run's 2 epochs"):
        advprop.fit(images, labels, epochs=2)


@pytest.mark.parametrize("options", [{"steps_per_execution": 2}, {"jit_compile": True}, {"run_eagerly": True}])
def test_ways_of_running_a_step_agree(options):
    images, labels = images_and_labels()
    networks = [small_network(), small_network()]
    for network, given in zip(networks, ({}, options), strict=True):
        advprop = AdvProp(network, AttackSpec(epsilon_px=1.0, num_steps=2))
        advprop.compile(tf.keras.optimizers.SGD(0.01), SPARSE, **given)
        advprop.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    for first, second in zip(*(network.weights for network in networks), strict=True):
        # A sign that rounding flips moves one pixel.
        np.testing.assert_allclose(first, second, rtol=1e-2, atol=2e-3)


def test_two_replicas_with_the_same_images_are_as_one(two_replicas):
    """Batches whose halves are equal: sums over replicas, means in logs, no raw values added up."""
    images, labels = images_and_labels(8)
    regularisers = {"activity_regularizer": "l1", "kernel_regularizer": "l2"}
    one = small_network(**regularisers)
    with two_replicas.scope():
        two = small_network(**regularisers)
    logs = []
    for network, (x, y) in (
        (one, (images, labels)),
        (two, (np.concatenate([images, images]), np.concatenate([labels, labels]))),
    ):
        advprop = AdvProp(network, IFGSM)
        assert advprop.distribute_strategy is network.distribute_strategy
        with network.distribute_strategy.scope():
            advprop.compile(tf.keras.optimizers.SGD(0.01), SPARSE, metrics=["accuracy"])
        logs.append(advprop.fit(x, y, batch_size=len(y), shuffle=False, verbose=0).history)
    for name, values in logs[0].items():
        np.testing.assert_allclose(logs[1][name], values, rtol=1e-4, err_msg=name)
    assert_equal_weights(two, one, rtol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.filterwarnings("ignore:.*bfloat16:UserWarning")
def test_mixed_precision(policy):
    """Losses are those of float32 about; with float16 the loss scale does not reach the pixels or the weights."""
    images, labels = images_and_labels()
    attack = AttackSpec(epsilon_px=4.0, num_steps=2)
    expected = fitted(AdvProp(small_network(), attack, pixel_range=(-1, 1)), images / 127.5 - 1, labels)
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        advprop = AdvProp(small_network(), attack, pixel_range=(-1, 1))
        actual = fitted(advprop, images / 127.5 - 1, labels)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert isinstance(advprop.optimizer, tf.keras.mixed_precision.LossScaleOptimizer) == (policy == "mixed_float16")
    np.testing.assert_allclose(actual["loss"], expected["loss"], rtol=0.03)
    assert all(np.isfinite(weight).all() for weight in advprop.get_weights())

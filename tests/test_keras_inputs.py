"""What `AdvProp` and `adversarial_images` take: ranges of pixels, models, losses; and what they refuse."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from efficientnet_advprop.keras_api import AdvProp, PixelRange, adversarial_images
from efficientnet_advprop.keras_api.schedule import warn_of_momentum
from efficientnet_advprop.recipes import AttackSpec
from tests.small_keras import CLASSES, images_and_labels, small_network

SPARSE = "sparse_categorical_crossentropy"
bounds = st.floats(-300, 300)


@given(st.lists(st.tuples(bounds, st.floats(1, 600)), min_size=3, max_size=3))
@settings(max_examples=25, deadline=None)
def test_black_and_white_are_0_and_255(channels):
    low, high = zip(*((low, low + span) for low, span in channels), strict=True)
    pixel_range = PixelRange(low, high)
    for bound, pixel in ((low, 0.0), (high, 255.0)):
        inputs = np.broadcast_to(np.float32(bound), (1, 2, 2, 3))
        np.testing.assert_allclose(pixel_range.to_pixels(inputs), np.full((1, 2, 2, 3), pixel), atol=0.05)
    pixels = np.linspace(0, 255, 12, dtype=np.float32).reshape(1, 2, 2, 3)
    np.testing.assert_allclose(pixel_range.to_pixels(pixel_range.from_pixels(pixels)), pixels, atol=0.05)


@pytest.mark.parametrize(
    "given_range", [(0, 0), (1, 0), (0, float("nan")), (0,), "01", ((0, 0), (1, 1, 1)), 255, (0, 1, 2)]
)
def test_other_ranges_are_refused(given_range):
    with pytest.raises(ValueError, match="pixel_range"):
        AdvProp(small_network(), pixel_range=given_range)


@pytest.mark.parametrize("pixel_range", [(0, 255), (-1, 1), ((-1.0, 0.0, -2.0), (1.0, 1.0, 2.0))])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attacks_stay_in_their_ball_in_pixels(pixel_range, norm):
    epsilon = 6.0 if norm == "linf" else 40.0
    attack = AttackSpec(norm=norm, epsilon_px=epsilon, step_size_px=epsilon / 3, num_steps=4)
    images, labels = images_and_labels()
    model = small_network()
    inputs = PixelRange.of(pixel_range).from_pixels(images)
    moved = adversarial_images(model, inputs, labels, attack, SPARSE, pixel_range)
    pixels = PixelRange.of(pixel_range).to_pixels(moved).numpy()
    change = (pixels - images).reshape(len(images), -1)
    lengths = np.abs(change).max(-1) if norm == "linf" else np.linalg.norm(change, axis=-1)
    assert np.all(lengths < epsilon * 1.001)
    assert np.all(lengths > epsilon * 0.9)
    assert pixels.min() > -1e-3
    assert pixels.max() < 255.001
    losses = [tf.keras.losses.sparse_categorical_crossentropy(labels, model(x)) for x in (inputs, moved)]
    assert np.mean(losses[1] > losses[0]) > 0.9


@pytest.mark.parametrize("one_hot", [False, True])
def test_random_targets_are_other_classes(one_hot):
    """Many steps towards a class end in a class that is not the label."""
    images, labels = images_and_labels()
    attack = AttackSpec(epsilon_px=200.0, step_size_px=20.0, num_steps=30, target="random")
    given_labels, loss = (np.eye(CLASSES)[labels], "categorical_crossentropy") if one_hot else (labels, SPARSE)
    model = small_network()
    predicted = model(adversarial_images(model, images, given_labels, attack, loss)).numpy().argmax(-1)
    assert np.mean(predicted != labels) > 0.9
    assert len(set(predicted)) > 2


def subclassed() -> tf.keras.Model:
    class Subclassed(tf.keras.Model):
        def call(self, inputs):
            return inputs

    return Subclassed()


def with_input(**options: object) -> tf.keras.Model:
    inputs = tf.keras.Input(**options)
    return tf.keras.Model(inputs, tf.keras.layers.BatchNormalization()(inputs))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (subclassed, "not a functional or Sequential"),
        (lambda: with_input(shape=(4,)), "one input of floating-point images"),
        (lambda: tf.keras.Sequential([tf.keras.Input((8, 8, 3)), tf.keras.layers.Flatten()]), "has no"),
    ],
)
def test_models_that_cannot_be_trained_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        AdvProp(make())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "madry"}, "madry"),
        ({"attack": AttackSpec(batch_norm_mode="batch")}, "have 'running' alone"),
        ({"attack": AttackSpec(method="fgsm")}, "fgsm"),
        ({"scheme": "fast_advprop", "attack": AttackSpec(num_steps=5)}, "one untargeted step"),
        ({"attack": "pgd"}, "'pgd' must be an instance of AttackSpec"),
        ({"clean_from_epoch": 3}, "no effect with scheme advprop"),
        ({"scheme": "joint", "fast_adversarial_share": 0.5}, "no effect with scheme joint"),
        ({"scheme": "adversarial_then_clean", "clean_from_epoch": 1.5}, "must be a whole number"),
        ({"scheme": "fast_advprop", "fast_adversarial_share": 1.0}, r"outside \(0, 1\)"),
        ({"scheme": "trades", "attack": AttackSpec(random_start=False)}, "random_start"),
    ],
)
def test_settings_that_a_scheme_does_not_allow_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AdvProp(small_network(), **options)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "no loss"),
        (tf.keras.losses.MeanSquaredError(reduction="sum"), "reduction 'sum'"),
        ({"other": "mse"}, "names no output 'other'; outputs: classes"),
        (["mse", "mse"], "2 values for 1 outputs"),
    ],
)
def test_losses_that_are_no_means_over_examples_are_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        AdvProp(small_network()).compile("sgd", loss)


@pytest.mark.parametrize("options", [{"scheme": "trades"}, {"attack": AttackSpec(target="random")}])
def test_classes_are_needed(options):
    with pytest.raises(ValueError, match="categorical cross-entropy"):
        AdvProp(small_network(), **options).compile("sgd", "mse")


@pytest.mark.filterwarnings("ignore:.*batch norms of momentum:UserWarning")
@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({}, lambda images, labels: (images,), "labelled images"),
        ({"scheme": "fast_advprop"}, lambda images, labels: (images, labels), "batches of one size"),
        ({"scheme": "adversarial_then_clean"}, lambda images, labels: (images, labels), "at least 2 epochs"),
        ({"scheme": "fine_grained"}, lambda images, labels: (images, labels), "'images_augmented' is missing"),
    ],
)
def test_batches_without_what_the_scheme_needs_are_refused(options, data, message):
    advprop = AdvProp(small_network(), **options)
    advprop.compile("sgd", SPARSE)
    with pytest.raises(ValueError, match=message):
        advprop.fit(*data(*images_and_labels()), verbose=0)


@pytest.mark.filterwarnings("ignore:.*batch norms of momentum:UserWarning")
def test_a_loss_of_the_whole_batch_cannot_be_attacked():
    advprop = AdvProp(small_network())
    advprop.compile("sgd", lambda labels, outputs: tf.reduce_mean(outputs))
    with pytest.raises(ValueError, match="one per example"):
        advprop.fit(*images_and_labels(), verbose=0)


def test_a_short_run_with_slow_statistics_warns():
    advprop = AdvProp(small_network(momentum=0.999))
    advprop.compile("sgd", SPARSE)
    with pytest.warns(UserWarning, match=r"momentum 0\.999: after the run's 2 steps"):
        advprop.fit(*images_and_labels(), batch_size=8, verbose=0)


def test_the_default_momentum_warns_below_seven_hundred_steps():
    with pytest.warns(UserWarning, match=r"the run's 600 steps .* still hold 0\.24 %"):
        warn_of_momentum(small_network(momentum=0.99), 600)
    warn_of_momentum(small_network(momentum=0.99), 700)


def test_lengths_on_the_scale_of_0_to_1_warn():
    with pytest.warns(UserWarning, match=r"epsilon_px 0\.0157 .*8/255 is 8"):
        AdvProp(small_network(), AttackSpec(epsilon_px=4 / 255, num_steps=1))
    AdvProp(small_network(), AttackSpec(epsilon_px=0.5, num_steps=1))


def test_a_train_step_of_the_models_class_is_said_not_to_be_used():
    class Own(tf.keras.Model):
        def train_step(self, data):
            raise NotImplementedError

    network = small_network()
    with pytest.warns(UserWarning, match="the train_step of Own is not used"):
        AdvProp(Own(network.inputs, network.outputs))


@pytest.mark.filterwarnings("ignore:.*batch norms of momentum:UserWarning")
@pytest.mark.parametrize(("scale", "pixel_range"), [(1 / 255, (0, 255)), (1, (0, 1))])
def test_images_of_another_range_warn(scale, pixel_range):
    images, labels = images_and_labels()
    advprop = AdvProp(small_network(), pixel_range=pixel_range)
    advprop.compile("sgd", SPARSE)
    with pytest.warns(UserWarning, match="the images have values from"):
        advprop.fit(images * scale, labels, verbose=0)


def test_the_compiled_loss_is_attacked_with_its_weights():
    images, labels = images_and_labels()
    model, targets = small_network(outputs=2), {"classes": labels, "brightness": images.mean((1, 2, 3)) / 255}
    losses, attack = {"classes": SPARSE, "brightness": "mse"}, AttackSpec(num_steps=1)
    model.compile("sgd", losses, loss_weights={"classes": 1.0, "brightness": 0.0})
    compiled = adversarial_images(model, images, targets, attack)
    only = adversarial_images(model, images, targets, attack, loss={"classes": SPARSE})
    both = adversarial_images(model, images, targets, attack, loss=losses)
    assert np.mean(compiled == only) > 0.99 > np.mean(compiled == both)


def test_frozen_norms_warn_and_follow():
    """`compile` makes the view's norms as trainable as the model's own."""
    model = small_network()
    advprop = AdvProp(model)
    model.trainable = False
    with pytest.warns(UserWarning, match="no norm of small is trained"):
        advprop.compile("sgd", SPARSE)
    assert advprop.trainable_variables == []
    model.trainable = True
    advprop.compile("sgd", SPARSE)
    own = [variable.ref() for variable in advprop._branches.trainable_variables]
    assert own == [variable.ref() for variable in advprop.trainable_variables]
    assert len(own) == len(model.trainable_variables) + 4


def test_a_model_for_each_branch_of_the_scheme():
    model = small_network()
    advprop = AdvProp(model)
    assert advprop.branch_model("main") is model
    images, _ = images_and_labels()
    np.testing.assert_array_equal(advprop.branch_model("auxiliary")(images), model(images))
    assert advprop.branch_model("auxiliary").weights[1] is not model.weights[1]
    with pytest.raises(ValueError, match="branch 'augmented' is not among those of the scheme: main, auxiliary"):
        advprop.branch_model("augmented")

"""Properties of attacks (ball, range, purity, reproducibility), and closed forms on a linear loss."""

import dataclasses

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from efficientnet_advprop.attacks import attack_loss, perturb, starting_point
from efficientnet_advprop.recipes import AttackSpec, RecipeError

SEED = tf.constant([3, 5])
PGD = AttackSpec(epsilon_px=4.0, step_size_px=1.0, num_steps=5)


def linear_loss(weights: np.ndarray):
    return lambda images: tf.reduce_sum(images * weights, axis=(1, 2, 3))


def some_images(rng: np.random.Generator, low: float = 0.0, high: float = 255.0) -> tf.Tensor:
    return tf.constant(rng.uniform(low, high, (3, 4, 5, 3)), tf.float32)


specs = st.builds(
    AttackSpec,
    method=st.sampled_from(["pgd", "gd"]),
    norm=st.sampled_from(["linf", "l2"]),
    epsilon_px=st.floats(0, 32),
    step_size_px=st.floats(0.1, 8),
    num_steps=st.integers(1, 6),
    random_start=st.booleans(),
)


@hypothesis.given(spec=specs, number=st.integers(0, 10_000))
@hypothesis.settings(max_examples=60, deadline=None)
def test_result_stays_in_the_ball_and_in_range(spec, number):
    rng = np.random.default_rng(number)
    images = some_images(rng, -45.0, 300.0)  # official bicubic overshoots this far
    weights = rng.normal(size=images.shape).astype(np.float32)
    result = perturb(linear_loss(weights), images, spec, tf.constant([number, 1])).numpy()
    assert result.min() >= 0
    assert result.max() <= 255
    offset = result - np.clip(images, 0, 255)
    distance = np.abs(offset).max() if spec.norm == "linf" else np.sqrt((offset**2).sum((1, 2, 3))).max()
    allowed = spec.epsilon_px
    if spec.method == "gd":
        allowed = spec.num_steps * spec.step_size_px + (spec.epsilon_px if spec.random_start else 0)
    assert distance <= allowed + 1e-3  # float32 rounding of pixels of up to 255


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_on_a_linear_loss_reaches_the_closed_form_optimum(norm):
    """Far from 0 and 255 the maximum over the ball is one radius along the gradient's sign or direction."""
    rng = np.random.default_rng(0)
    images = some_images(rng, 100, 150)
    weights = rng.normal(size=images.shape).astype(np.float32)
    spec = AttackSpec(norm=norm, epsilon_px=4.0, step_size_px=3.0, num_steps=40)
    result = perturb(linear_loss(weights), images, spec, SEED).numpy()
    direction = np.sign(weights)
    if norm == "l2":
        direction = weights / np.sqrt((weights**2).sum((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(result, images + 4.0 * direction, atol=5e-3 if norm == "l2" else 1e-4)


def test_gd_leaves_the_ball_and_ifgsm_starts_at_the_clean_image():
    images, weights = tf.fill((1, 2, 2, 3), 100.0), np.ones((1, 2, 2, 3), np.float32)
    gd = AttackSpec("gd", epsilon_px=1.0, step_size_px=1.0, num_steps=5, random_start=False)
    ifgsm = AttackSpec("ifgsm", epsilon_px=9.0, step_size_px=1.0, num_steps=5, random_start=False)
    for spec in (gd, ifgsm):
        np.testing.assert_array_equal(perturb(linear_loss(weights), images, spec, SEED), images + 5)


def numpy_attack(weights: np.ndarray, images: np.ndarray, spec: AttackSpec) -> np.ndarray:
    """The attacks by their definitions, without a random start, on the loss `sum(weights * images)`."""

    def length(x: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(x).sum((1, 2, 3), keepdims=True))

    moved = images.astype(np.float64)
    for _ in range(spec.num_steps):
        if spec.norm == "linf":
            moved = moved + spec.step_size_px * np.sign(weights)
        else:
            moved = moved + spec.step_size_px * weights / length(weights)
        if spec.method != "gd":
            offset = moved - images
            if spec.norm == "linf":
                offset = np.clip(offset, -spec.epsilon_px, spec.epsilon_px)
            else:
                offset = offset * np.minimum(1, spec.epsilon_px / np.maximum(length(offset), 1e-12))
            moved = images + offset
        moved = np.clip(moved, 0, 255)
    return moved


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("method", ["pgd", "ifgsm", "gd", "none"])
@pytest.mark.parametrize(("epsilon_px", "step_size_px", "num_steps"), [(4, 1, 3), (4, 1, 7), (2, 3, 2), (40, 16, 4)])
def test_attacks_equal_their_definitions(method, norm, epsilon_px, step_size_px, num_steps):
    """Against NumPy, also near 0 and 255, where L2 steps are both projected and clipped."""
    rng = np.random.default_rng(0)
    images = some_images(rng, 0, 255)
    weights = rng.normal(size=images.shape).astype(np.float32)
    spec = AttackSpec(method, norm, epsilon_px, step_size_px, num_steps, random_start=False)
    result = perturb(linear_loss(weights), images, spec, SEED).numpy()
    expected = images.numpy() if method == "none" else numpy_attack(weights, images.numpy(), spec)
    np.testing.assert_allclose(result, expected, atol=1e-3)


@pytest.mark.parametrize("length", [1e-30, 1e-10, 1e30])
def test_an_l2_step_has_its_length_however_small_or_large_the_gradient(length):
    """In float32 the squares of a small gradient are 0, and those of a large gradient infinite."""
    images = tf.fill((1, 4, 4, 3), 100.0)
    weights = np.random.default_rng(1).normal(size=images.shape).astype(np.float32)
    spec = AttackSpec(norm="l2", epsilon_px=9.0, step_size_px=3.0, num_steps=1, random_start=False)
    moved = perturb(linear_loss((length * weights).astype(np.float32)), images, spec, SEED)
    np.testing.assert_allclose(moved, perturb(linear_loss(weights), images, spec, SEED), atol=1e-4)
    assert np.linalg.norm(moved - images) == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize("method", ["pgd", "gd"])
def test_steps_continue_from_the_random_start(method):
    """The closed form from the random start, which an attack on a constant loss with the same seed returns."""
    rng = np.random.default_rng(2)
    images = some_images(rng, 50, 200)
    weights = rng.normal(size=images.shape).astype(np.float32)
    spec = AttackSpec(method, epsilon_px=8.0, step_size_px=3.0, num_steps=2)
    start = perturb(linear_loss(np.zeros_like(weights)), images, spec, SEED).numpy()
    expected = start + 6 * np.sign(weights)
    if method == "pgd":
        expected = np.clip(expected, images - 8, images + 8)
    np.testing.assert_allclose(perturb(linear_loss(weights), images, spec, SEED), expected, atol=1e-4)


@hypothesis.given(number=st.integers(0, 10_000), num_classes=st.integers(2, 12))
@hypothesis.settings(max_examples=40, deadline=None)
def test_a_random_target_is_never_the_true_class(number, num_classes):
    """A step decreases the logit of the true class, for every image."""
    true = np.random.default_rng(number).integers(0, num_classes, 64)
    spec = AttackSpec(target="random", epsilon_px=4.0, step_size_px=1.0, num_steps=1, random_start=False)
    images = tf.fill((64, 1, 1, num_classes), 100.0)
    loss = attack_loss(lambda x: x[:, 0, 0, :] / 50, tf.one_hot(true, num_classes), spec, tf.constant([number, 7]))
    moved = perturb(loss, images, spec, SEED).numpy()[:, 0, 0, :] - 100
    assert (moved[np.arange(64), true] == -1).all()  # every logit except the target's decreases
    assert ((moved == 1).sum(-1) == 1).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_fills_the_ball(norm):
    """A constant loss does not change the random start: uniform in the cube, or in the ball (radius ~ U^(1/d))."""
    images = tf.fill((2000, 1, 1, 3), 100.0)
    spec = AttackSpec(norm=norm, epsilon_px=4.0, num_steps=1)
    offset = perturb(lambda x: tf.reduce_sum(0.0 * x, axis=(1, 2, 3)), images, spec, SEED).numpy() - 100
    if norm == "linf":
        assert abs(offset.mean()) < 0.15
        assert abs(offset.std() - 8 / np.sqrt(12)) < 0.1
    else:
        fraction_inside_half = np.mean(np.sqrt((offset**2).sum((1, 2, 3))) < 2)
        assert abs(fraction_inside_half - 1 / 8) < 0.03


def test_a_normal_start_is_projected_by_the_first_step_only():
    """As in the official TRADES code: x + 0.001 * randn, then step, projection, clipping."""
    images = tf.fill((2000, 1, 1, 3), 100.0)
    spec = AttackSpec(epsilon_px=0.1, step_size_px=0.05, num_steps=1, start_std_px=0.255)
    clean, start = starting_point(images, spec, SEED)
    offset = (start - clean).numpy()
    assert abs(offset.mean()) < 0.01
    assert abs(offset.std() - 0.255) < 0.01
    assert np.abs(offset).max() > 0.5  # far outside the ball
    moved = perturb(linear_loss(np.ones(images.shape, np.float32)), images, spec, SEED).numpy() - 100
    np.testing.assert_allclose(moved, np.clip(offset + 0.05, -0.1, 0.1), atol=1e-4)
    black = starting_point(tf.zeros_like(images), spec, SEED)[1].numpy()
    np.testing.assert_allclose(black, np.maximum(offset, 0), atol=1e-4)
    assert "normal start of 0.255 px" in spec.summary()


def test_same_seed_same_result_other_seed_another():
    rng = np.random.default_rng(1)
    images, weights = some_images(rng), rng.normal(size=(3, 4, 5, 3)).astype(np.float32)
    spec = dataclasses.replace(PGD, num_steps=1)
    first, second, third = (perturb(linear_loss(weights), images, spec, [9, n]).numpy() for n in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_graph_does_not_grow_with_the_number_of_steps():
    def count_nodes(num_steps: int) -> int:
        spec = dataclasses.replace(PGD, num_steps=num_steps)
        attack = tf.function(lambda x: perturb(linear_loss(np.ones((1, 4, 4, 3), np.float32)), x, spec, SEED))
        graph = attack.get_concrete_function(tf.TensorSpec((1, 4, 4, 3))).graph.as_graph_def()
        return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

    assert count_nodes(1) == count_nodes(50)


def test_gradient_stops_at_the_result():
    images = tf.Variable(tf.fill((1, 2, 2, 3), 50.0))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(perturb(linear_loss(np.ones((1, 2, 2, 3), np.float32)), images, PGD, SEED))
    assert tape.gradient(total, images) is None


def test_untargeted_loss_is_the_smoothed_cross_entropy():
    logits, labels = tf.constant([[2.0, 0.0, -1.0]]), tf.constant([[1.0, 0.0, 0.0]])
    loss = attack_loss(lambda _: logits, labels, PGD, SEED, label_smoothing=0.1)(tf.zeros((1, 1, 1, 3)))
    smoothed = 0.9 * labels.numpy() + 0.1 / 3
    log_probabilities = logits.numpy() - np.log(np.exp(logits.numpy()).sum())
    np.testing.assert_allclose(loss, -(smoothed * log_probabilities).sum(-1), rtol=1e-6)


def test_random_target_is_uniform_over_the_classes_outside_the_labels_support():
    labels = np.zeros((4000, 5), np.float32)
    labels[:, 1] = 0.7
    labels[:, 3] = 0.3  # a mixed label
    spec = dataclasses.replace(PGD, target="random")
    # Minus the cross-entropy of class k is its log softmax, which differs for every class: the loss identifies k.
    logits = tf.constant([[0.0, -1.0, -2.0, -3.0, -4.0]] * len(labels))
    loss = attack_loss(lambda _: logits, tf.constant(labels), spec, SEED)(tf.zeros((len(labels), 1, 1, 3))).numpy()
    log_probabilities = tf.nn.log_softmax(logits[0]).numpy()
    chosen = np.abs(loss[:, None] - log_probabilities).argmin(-1)
    fractions = np.bincount(chosen, minlength=5) / len(labels)
    np.testing.assert_allclose(fractions, [1 / 3, 0, 1 / 3, 0, 1 / 3], atol=0.03)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epsilon_px", -1.0, "attack epsilon_px -1 is outside"),
        ("epsilon_px", 300.0, r"attack epsilon_px 300 is outside \[0, 255\]"),
        ("step_size_px", 0.0, "step_size_px 0 is outside"),
        ("num_steps", 0, "attack num_steps 0 is outside"),
        ("start_std_px", -0.5, "start_std_px -0.5 is outside"),
        ("start_std_px", float("nan"), "start_std_px nan is not a finite number"),
        ("method", "fgsm", "known: pgd, ifgsm, gd, none"),
        ("target", "least_likely", "known: untargeted, random"),
        ("batch_norm_mode", "main", "known: running, batch"),
        ("norm", "l1", "known: linf, l2"),
    ],
)
def test_impossible_attacks_are_refused(field, value, message):
    with pytest.raises(RecipeError, match=message):
        dataclasses.replace(PGD, **{field: value}).validate()


def test_ifgsm_with_a_random_start_is_refused():
    with pytest.raises(RecipeError, match="random_start must be false"):
        AttackSpec("ifgsm", random_start=True).validate()

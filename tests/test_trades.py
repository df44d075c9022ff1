"""TRADES against its formulas in NumPy, on a linear softmax model."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.attacks import starting_point
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import override
from efficientnet_advprop.training.loop import make_step_loop
from efficientnet_advprop.training.losses import LabelLosses, kl_divergence
from efficientnet_advprop.training.objective import TermsObjective, micro_batch_gradients
from tests.small import new_state, small_recipe, train_iterator

SEED = tf.constant([1, 2])
BETA = 6.0
SMOOTHING = 0.1
IMAGES = (6, 2, 2, 3)
CLASSES = 4


class LinearSoftmax:
    """Logits are pixels / 255 times weights, for every branch and all statistics."""

    def __init__(self) -> None:
        weights = np.random.default_rng(1).normal(0, 2, (np.prod(IMAGES[1:]), CLASSES))
        self.weights = tf.Variable(weights, dtype=tf.float32)
        self.trainable_variables = [self.weights]

    def __call__(self, images, training, branch, statistics=None, seed=None):
        assert branch == "main"
        return tf.reshape(images / 255.0, [-1, self.weights.shape[0]]) @ self.weights


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def numpy_logits(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255.0 @ weights


def numpy_kl(clean: np.ndarray, adversarial: np.ndarray, weights: np.ndarray) -> float:
    """KL(clean || adversarial), the mean over images."""
    log_p, log_q = (log_softmax(numpy_logits(images, weights)) for images in (clean, adversarial))
    return (np.exp(log_p) * (log_p - log_q)).sum(-1).mean()


def numpy_loss(clean: np.ndarray, adversarial: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    smoothed = (1 - SMOOTHING) * labels + SMOOTHING / CLASSES
    cross_entropy = -(smoothed * log_softmax(numpy_logits(clean, weights))).sum(-1).mean()
    return cross_entropy + BETA * numpy_kl(clean, adversarial, weights)


def numpy_attack(start: np.ndarray, clean: np.ndarray, weights: np.ndarray, spec) -> np.ndarray:
    """With p constant, the gradient of KL(p || q) with respect to the logits of q is q - p."""
    p, moved = np.exp(log_softmax(numpy_logits(clean, weights))), start
    for _ in range(spec.num_steps):
        q = np.exp(log_softmax(numpy_logits(moved, weights)))
        ascent = ((q - p) @ weights.T).reshape(clean.shape)
        moved = np.clip(moved + spec.step_size_px * np.sign(ascent), clean - spec.epsilon_px, clean + spec.epsilon_px)
        moved = np.clip(moved, 0, 255)
    return moved


@pytest.fixture
def batch() -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(0)
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, IMAGES[0])]
    return {"images": tf.constant(rng.uniform(0, 255, IMAGES), tf.float32), "labels": tf.constant(labels)}


@pytest.fixture
def terms():
    recipe = override(
        small_recipe("trades"), {"attack.epsilon_px": 8.0, "attack.step_size_px": 3.0, "attack.num_steps": 4}
    )
    return recipe.phases[0].terms


def attacked(objective: TermsObjective, terms, batch, seed=SEED) -> np.ndarray:
    """The adversarial images of `gradients`: of the second term of the first pass."""
    return objective._term_images(terms[1], batch, fold(fold(seed, 0), 1)).numpy()


def test_the_attack_climbs_the_divergence_from_fixed_clean_predictions(batch, terms):
    model, spec = LinearSoftmax(), terms[1].attack
    moved = attacked(TermsObjective(model, terms, LabelLosses(SMOOTHING)), terms, batch)
    _, start = starting_point(batch["images"], spec, fold(fold(fold(SEED, 0), 1), 1))
    clean, weights = (value.numpy().astype(np.float64) for value in (batch["images"], model.weights))
    np.testing.assert_allclose(moved, numpy_attack(start.numpy().astype(np.float64), clean, weights, spec), atol=1e-3)
    assert 7.9 < np.abs(moved - clean).max() <= 8.001
    assert numpy_kl(clean, moved, weights) > 10 * numpy_kl(clean, start.numpy(), weights)


def test_loss_and_gradient_are_the_papers(batch, terms):
    """The gradient by finite differences of the whole loss: it flows into clean and adversarial predictions."""
    model = LinearSoftmax()
    objective = TermsObjective(model, terms, LabelLosses(SMOOTHING))
    (gradient,), metrics = objective.gradients(batch, SEED)
    moved = attacked(objective, terms, batch).astype(np.float64)
    clean, labels, weights = (value.numpy().astype(np.float64) for value in (*batch.values(), model.weights))
    kl = numpy_kl(clean, moved, weights)
    assert metrics["loss/adversarial"].numpy() == pytest.approx(kl, rel=1e-4)
    total = float(metrics["loss/clean"] + BETA * metrics["loss/adversarial"])
    assert total == pytest.approx(numpy_loss(clean, moved, labels, weights), rel=1e-5)
    expected = np.zeros_like(weights)
    for place in np.ndindex(weights.shape):
        offset = np.zeros_like(weights)
        offset[place] = 1e-5
        above, below = (numpy_loss(clean, moved, labels, weights + sign * offset) for sign in (1, -1))
        expected[place] = (above - below) / 2e-5
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


def test_labels_have_no_part_in_the_divergence(batch, terms):
    results = []
    for labels, smoothing in ((batch["labels"], 0.0), (tf.roll(batch["labels"], 1, -1), 0.5)):
        objective = TermsObjective(LinearSoftmax(), terms, LabelLosses(smoothing))
        results.append(objective.gradients({**batch, "labels": labels}, SEED)[1])
    assert results[0]["loss/adversarial"] == results[1]["loss/adversarial"]
    assert results[0]["loss/clean"] != results[1]["loss/clean"]


def test_micro_batches_are_the_mean_of_their_pieces(batch, terms):
    objective = TermsObjective(LinearSoftmax(), terms, LabelLosses(SMOOTHING))
    halves = [{name: value[i : i + 3] for name, value in batch.items()} for i in (0, 3)]
    parts = [objective.gradients(half, fold(SEED, index)) for index, half in enumerate(halves)]
    (gradient,), metrics = micro_batch_gradients(objective, batch, SEED, 2)
    np.testing.assert_allclose(gradient, (parts[0][0][0] + parts[1][0][0]) / 2, rtol=1e-5, atol=1e-6)
    mean = (parts[0][1]["loss/adversarial"] + parts[1][1]["loss/adversarial"]) / 2
    np.testing.assert_allclose(metrics["loss/adversarial"], mean, rtol=1e-5)


def test_the_divergence_of_sure_predictions_is_finite():
    sure = tf.constant([[200.0, -200.0, 0.0]])
    np.testing.assert_allclose(kl_divergence(sure, -sure), [400.0], rtol=1e-6)
    np.testing.assert_array_equal(kl_divergence(sure, sure), [0.0])


@pytest.mark.usefixtures("two_blocks")
def test_two_replicas_train_in_micro_batches(two_replicas):
    changes = {"optimizer__lr_warmup_epochs": 0.0, "optimizer__base_learning_rate": 0.16}
    recipe = small_recipe("trades", train_batch_size=16, micro_batches=2, network__dropout_rate=0.0, **changes)
    recipe.validate()
    state = new_state(recipe, two_replicas)
    loop = make_step_loop(state, recipe, two_replicas, recipe.phases[0].terms, 10)
    seen = []
    for _ in range(6):
        loop.run(train_iterator(recipe, two_replicas), tf.constant(1))  # the first batch, again and again
        metrics, not_finite = loop.metrics.take()
        assert not not_finite
        seen.append(metrics)
    assert seen[-1]["loss/clean"] < seen[0]["loss/clean"] - 0.1
    assert all(metrics["loss/adversarial"] > 0 for metrics in seen)

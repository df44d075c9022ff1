"""The worst case under attack, on networks whose worst case has a closed form."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.evaluation.worst_case import logits_after_one_step, logits_at_random_point, worst_logits
from efficientnet_advprop.recipes import AttackSpec

SIDE = 3
SEED = tf.constant([3, 4])


@pytest.fixture
def images():
    """Far enough from black and white that no ball is clipped."""
    return tf.constant(np.random.default_rng(0).uniform(60, 190, (16, SIDE, SIDE, 3)), tf.float32)


@pytest.fixture
def weights():
    return np.random.default_rng(1).normal(0, 0.02, (SIDE * SIDE * 3, 2)).astype(np.float32)


def linear(weights):
    return lambda images: tf.reshape(images - 125.0, [images.shape[0], -1]) @ weights


def margins(logits, labels):
    """The wrong logit minus the true one, of two classes."""
    logits = np.asarray(logits)
    rows = np.arange(len(labels))
    return logits[rows, 1 - labels] - logits[rows, labels]


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 2.0), ("l2", 12.0)])
def test_a_linear_network_loses_the_dual_norm(images, weights, norm, epsilon, restarts):
    """In the ball the margin of a linear network grows by epsilon times the dual norm of the weights' difference."""
    labels = np.arange(16) % 2
    spec = AttackSpec(norm=norm, epsilon_px=epsilon, step_size_px=epsilon, num_steps=8)
    worst = worst_logits(linear(weights), images, tf.constant(labels), spec, restarts, SEED)
    difference = weights[:, 1] - weights[:, 0]
    dual = np.abs(difference).sum() if norm == "linf" else np.linalg.norm(difference)
    clean = margins(linear(weights)(images), labels)
    np.testing.assert_allclose(margins(worst, labels), clean + epsilon * dual, rtol=1e-4, atol=1e-4)
    one_step = logits_after_one_step(linear(weights), images, tf.constant(labels), spec)
    np.testing.assert_allclose(margins(one_step, labels), clean + epsilon * dual, rtol=1e-4, atol=1e-4)


def test_every_point_on_the_way_counts(images):
    """Wrong only in a narrow band that the steps cross: the last point is correct again, an earlier one is not."""
    clean = tf.reduce_mean(images, axis=(1, 2, 3))

    def band(points):
        moved = tf.reduce_mean(points, axis=(1, 2, 3)) - clean
        score = tf.where(tf.abs(moved - 1.0) < 0.3, 5.0 + 0.01 * moved, 0.1 * moved - 5.0)
        return tf.stack([tf.zeros_like(score), score], -1)

    spec = AttackSpec(method="ifgsm", epsilon_px=4.0, step_size_px=1.0, num_steps=4, random_start=False)
    labels = tf.zeros([16], tf.int32)
    assert (margins(worst_logits(band, images, labels, spec, 1, SEED), labels.numpy()) > 0).all()
    assert (margins(logits_after_one_step(band, images, labels, spec), labels.numpy()) < 0).all()


def test_the_clean_image_counts_and_more_restarts_never_raise_the_accuracy(images):
    """Ripples shorter than a step: the result depends on the start."""
    frequencies = tf.constant(np.random.default_rng(2).normal(0, 2.0, (SIDE * SIDE * 3, 2)), tf.float32)

    def ripples(points):
        return tf.sin(tf.reshape(points, [points.shape[0], -1]) @ frequencies)

    labels = np.arange(16) % 2
    spec = AttackSpec(epsilon_px=1.0, step_size_px=0.5, num_steps=3)
    found = [margins(ripples(images), labels)]
    for restarts in (1, 2, 6):
        found.append(margins(worst_logits(ripples, images, tf.constant(labels), spec, restarts, SEED), labels))
        assert (found[-1] >= found[-2]).all()
    assert (found[-1] > found[1]).any()


def test_one_graph_serves_all_strengths(images, weights):
    traces = []

    @tf.function(autograph=False)
    def worst(epsilon):
        traces.append(epsilon)
        spec = dataclasses.replace(AttackSpec(num_steps=2), epsilon_px=epsilon, step_size_px=epsilon)
        return worst_logits(linear(weights), images, tf.zeros([16], tf.int32), spec, 1, SEED)

    labels = np.zeros(16, int)
    weak, strong = (margins(worst(tf.constant(epsilon)), labels) for epsilon in (1.0, 3.0))
    clean = margins(linear(weights)(images), labels)
    np.testing.assert_allclose(strong - clean, 3 * (weak - clean), rtol=1e-3)
    assert len(traces) == 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_is_in_the_ball_and_is_not_the_attack(images, norm):
    seen = []

    def record(points):
        seen.append(points.numpy())
        return tf.zeros([points.shape[0], 2])

    spec = AttackSpec(method="ifgsm", norm=norm, epsilon_px=3.0, random_start=False)
    logits_at_random_point(record, images, spec, SEED)
    offset = (seen[0] - images.numpy()).reshape(16, -1)
    sizes = np.abs(offset).max(axis=1) if norm == "linf" else np.linalg.norm(offset, axis=1)
    assert (sizes <= 3.0 + 1e-4).all()
    assert (sizes > 2.0).all()  # of 27 dimensions, nearly all of the ball's volume is near its border

"""Loss gradients with respect to pixels."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.evaluation import loss_gradients, require_gradients, share_in_squares
from efficientnet_advprop.recipes import RecipeError
from efficientnet_advprop.reporting import rescaled
from tests.linear_network import Linear, softmax, some_images
from tests.small import small_model

pytestmark = pytest.mark.usefixtures("two_blocks")


def test_the_gradient_of_a_linear_network_is_the_one_on_paper():
    model, images, labels = Linear(), some_images(5), np.array([0, 1, 2, 0, 1])
    for branch, factor in (("main", 1.0), ("auxiliary", 2.0)):
        weights = factor * model.weights
        expected = (softmax(images.reshape(5, -1) @ weights) - np.eye(3)[labels]) @ weights.T
        found = loss_gradients(model, images, labels, branch)
        np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-3, atol=1e-7)


def test_the_gradient_of_a_network_agrees_with_finite_differences():
    model, images, labels = small_model(), some_images(2, size=16), np.array([3, 7])
    for branch in ("main", "auxiliary"):
        gradient = loss_gradients(model, images, labels, branch)
        direction = gradient / np.sqrt((gradient**2).sum((1, 2, 3), keepdims=True))

        def losses(shown, branch=branch):
            logits = model(tf.constant(shown), branch=branch)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits).numpy()

        slopes = (losses(images + 2 * direction) - losses(images - 2 * direction)) / 4
        np.testing.assert_allclose(slopes, (gradient * direction).sum((1, 2, 3)), rtol=0.05)


def test_a_network_without_gradients_is_refused_by_name():
    class Rounded(Linear):
        def __call__(self, images, **arguments):
            return super().__call__(tf.cast(tf.cast(images, tf.int32), tf.float32), **arguments)

    require_gradients(Linear(), 4, "file")
    with pytest.raises(RecipeError, match=r"^file gives no gradient .*visualize needs the checkpoint$"):
        require_gradients(Rounded(), 4, "file")


def test_a_network_whose_gradients_the_device_cannot_compute_is_refused_by_name():
    class Grouped(Linear):
        def __call__(self, images, **arguments):
            pixels = tf.repeat(tf.cast(images, tf.float64), 2, -1)  # on a CPU groups have gradients in float32 alone
            with tf.device("CPU"):
                found = tf.nn.conv2d(pixels, tf.ones([1, 1, 2, 3], tf.float64), 1, "SAME")
            return super().__call__(tf.cast(found, tf.float32), **arguments)

    with pytest.raises(RecipeError, match=r"^file gives no gradient .*roup.*visualize needs the checkpoint$"):
        require_gradients(Grouped(), 4, "file")


def test_what_squares_leave_of_a_gradient():
    rng = np.random.default_rng(0)
    coarse = rng.normal(0, 1, (5, 8, 8, 3))
    assert share_in_squares(1e-30 * coarse.repeat(4, 1).repeat(4, 2), 4) == pytest.approx(1)
    assert share_in_squares(np.pad(coarse, ((0, 0), (0, 1), (0, 2), (0, 0))), 1) == pytest.approx(1)
    assert share_in_squares(rng.normal(0, 1, (5, 64, 64, 3)), 4) == pytest.approx(1 / 16, rel=0.05)
    assert share_in_squares(np.zeros((1, 4, 4, 3)), 4) == 0


def test_a_gradient_is_clipped_at_three_deviations():
    gradient = np.random.default_rng(0).normal(5, 2, (50, 50, 3))
    gradient[0, 0] = (1e3, -1e3, 5)
    mean, deviation = gradient.mean(), gradient.std()
    clipped = np.clip(gradient, mean - 3 * deviation, mean + 3 * deviation)
    np.testing.assert_allclose(rescaled(gradient), (clipped - (mean - 3 * deviation)) / (6 * deviation), atol=1e-12)
    assert (rescaled(gradient).min(), rescaled(gradient).max()) == (0, 1)

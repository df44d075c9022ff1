"""Image synthesis with a classifier: seeds, masks, steps, and the images that it starts from."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import class_images, open_source
from efficientnet_advprop.evaluation import OUTSIDE_WEIGHT, SEED_VARIANCE, gaussian_seeds, masked_images, synthesize
from efficientnet_advprop.recipes import (
    AttackSpec,
    InputOptions,
    generation_attack,
    inpainting_attack,
    mask_side_px,
    seed_grain_px,
)
from tests.linear_network import Linear, softmax, some_images
from tests.small import one_cpu, small_recipe

SEED = tf.constant([3, 4])


def each_step(steps):
    return iter(steps)


@pytest.mark.parametrize("grain", [1, 2])
def test_a_seed_has_mean_and_covariance_of_its_class(grain):
    """Of 4,000 samples; the images are far from 0 and 255, where samples are clipped."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(0, 6, (6, 4 * 4 * 3))
    images = 128 + (rng.normal(0, 1, (40, 6)) @ mixing).reshape(40, 4, 4, 3)
    samples = gaussian_seeds(images, grain, 4000, SEED)
    blocks = samples.reshape(4000, 4 // grain, grain, 4 // grain, grain, 3)
    assert np.ptp(blocks, axis=(2, 4)).max() == 0  # squares of equal pixels
    coarse = images.reshape(40, 4 // grain, grain, 4 // grain, grain, 3).mean((2, 4)).reshape(40, -1)
    found = blocks[:, :, 0, :, 0].reshape(4000, -1)
    covariance = np.cov(coarse.T, bias=True) + 255**2 * SEED_VARIANCE * np.eye(coarse.shape[1])
    size = np.abs(covariance).max()
    np.testing.assert_allclose(found.mean(0), coarse.mean(0), atol=5 * (size / 4000) ** 0.5)
    np.testing.assert_allclose(np.cov(found.T), covariance, atol=0.12 * size)
    assert np.array_equal(gaussian_seeds(images, grain, 4000, SEED), samples)


def test_a_masked_square_has_the_mean_colour_and_the_rest_stays():
    images = some_images(20, size=12)
    masked, masks = masked_images(images, 5, SEED)
    assert masks.sum((1, 2, 3)).tolist() == [25.0] * 20
    assert (masks.any(2).sum((1, 2)).tolist(), masks.any(1).sum((1, 2)).tolist()) == ([5] * 20, [5] * 20)
    assert len({mask.tobytes() for mask in masks}) > 10  # places differ
    np.testing.assert_array_equal(masked * (1 - masks), images * (1 - masks))
    means = np.broadcast_to(images.mean((1, 2), keepdims=True), images.shape)
    np.testing.assert_allclose(masked[masks[..., 0] > 0], means[masks[..., 0] > 0], rtol=1e-6)
    whole, _ = masked_images(images, 12, SEED)  # the largest square fits
    np.testing.assert_allclose(whole, means, rtol=1e-6)


def losses_of(model, images, labels, branch):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(tf.constant(images), branch=branch)).numpy()


@pytest.mark.parametrize("branch", ["main", "auxiliary"])
def test_synthesis_lowers_the_loss_within_its_ball(branch, two_replicas):
    model, start, labels = Linear(), some_images(4), [0, 1, 2, 0]
    start[0] -= 20  # outside of [0, 255]
    clean = np.clip(start, 0, 255)
    spec = AttackSpec("pgd", "l2", epsilon_px=100.0, step_size_px=30.0, num_steps=6, random_start=False)
    made, probabilities = synthesize(one_cpu(), model, branch, start, labels, spec, each_step)
    assert made.min() >= 0
    assert made.max() <= 255
    lengths = np.sqrt(((made - clean) ** 2).sum((1, 2, 3)))
    assert (lengths <= 100 * (1 + 1e-5)).all()
    assert lengths.max() > 90
    before, after = (losses_of(model, images, labels, branch) for images in (clean, made))
    assert (after < before).all()
    np.testing.assert_allclose(probabilities, np.exp(-after), rtol=1e-4)
    again, _ = synthesize(two_replicas, model, branch, start, labels, spec, each_step)
    np.testing.assert_allclose(again, made, atol=1e-3)


def test_one_step_of_inpainting_is_the_one_on_paper():
    """From the masked image the penalty has no gradient; from the second step on it pulls back outside."""
    model, images, labels = Linear(), some_images(3), np.array([2, 0, 1])
    masked, masks = masked_images(images, 2, SEED)
    spec = AttackSpec("pgd", "l2", epsilon_px=1e5, step_size_px=60.0, num_steps=2, random_start=False)
    expected = masked.copy()
    for _ in range(2):
        pull = 2 * OUTSIDE_WEIGHT * (expected - masked) * (1 - masks) / 255**2 / masked[0].size
        weights = model.weights
        of_class = (softmax(expected.reshape(3, -1) @ weights) - np.eye(3)[labels]) @ weights.T
        gradient = of_class.reshape(masked.shape) + pull
        expected = np.clip(expected - 60 * gradient / np.sqrt((gradient**2).sum((1, 2, 3), keepdims=True)), 0, 255)
    made, _ = synthesize(one_cpu(), model, "main", masked, labels, spec, each_step, masks)
    np.testing.assert_allclose(made, expected, atol=0.05)
    free, _ = synthesize(one_cpu(), model, "main", masked, labels, spec, each_step)
    outside = [np.abs((one - masked) * (1 - masks)).sum() for one in (made, free)]
    assert outside[0] < outside[1]


def test_lengths_are_the_published_ones_at_their_sizes():
    """Of the authors' notebooks, in [0, 1]."""
    for attack, size, (epsilon, step, steps) in (
        (generation_attack, 32, (30, 0.5, 60)),
        (generation_attack, 224, (40, 1, 60)),
        (inpainting_attack, 224, (21.6, 0.1, 720)),
    ):
        spec = attack(size)
        spec.validate()
        assert (spec.norm, spec.num_steps, spec.random_start) == ("l2", steps, False)
        assert (spec.epsilon_px / 255, spec.step_size_px / 255) == pytest.approx((epsilon, step))
        assert attack(2 * size if size > 64 else size // 2).epsilon_px == pytest.approx(
            spec.epsilon_px * (2 if size > 64 else 0.5)
        )
    assert [mask_side_px(size) for size in (8, 32, 224)] == [2, 9, 60]
    assert [seed_grain_px(size) for size in (32, 66, 224)] == [1, 1, 4]


def test_training_images_of_classes_are_those_of_the_data():
    recipe = small_recipe(data__train_images_per_class=3, data__num_train_images=30)
    source = open_source(recipe.data, None)
    found = class_images(source, recipe, [7, 2], InputOptions())
    assert {label: images.shape for label, images in found.items()} == {7: (3, 16, 16, 3), 2: (3, 16, 16, 3)}
    of_all = [
        (tf.cast(tf.round(image), tf.uint8).numpy().tobytes(), int(label))
        for _, (image, label) in source.records(recipe, "train").as_numpy_iterator()
    ]
    for label, images in found.items():
        assert {image.tobytes() for image in images} == {image for image, of in of_all if of == label}
    assert class_images(source, recipe, [7], InputOptions())[7].tobytes() == found[7].tobytes()

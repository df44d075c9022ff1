"""Evaluators on networks whose answers are known by construction."""

import math

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.evaluation import CleanAccuracy, PgdAccuracy, adversarial_examples, run_all
from efficientnet_advprop.recipes import EVALUATION_ATTACK, AttackSpec
from tests.small import one_cpu

NUM_CLASSES = 7


class PixelReader:
    """Says of each image what its first pixel says, through main; the class after it, through auxiliary."""

    num_classes = NUM_CLASSES

    def __call__(self, images, training=False, branch="main", statistics=None):
        assert not training
        shift = {"main": 0, "auxiliary": 1}[branch]
        said = (tf.cast(images[:, 0, 0, 0], tf.int32) + shift) % NUM_CLASSES
        ranks = (said[:, tf.newaxis] - tf.range(NUM_CLASSES)) % NUM_CLASSES  # 0 for the class said, then down from it
        return -tf.cast(ranks, tf.float32)


class Threshold:
    """Two classes: is the mean pixel above 100? The logit's slope is known, so is the attack's effect."""

    num_classes = 2

    def __call__(self, images, training=False, branch="main", statistics=None):
        above = tf.reduce_mean(images, axis=(1, 2, 3)) - 100.0
        return tf.stack([-above, above], -1)


def batches(strategy, said, labels, batch_size):
    """Distributed batches, the last one padded with images that would count as right if the mask were ignored."""
    count = -(-len(said) // batch_size) * batch_size
    images = np.zeros((count, 2, 2, 3), np.float32)
    images[: len(said)] = np.asarray(said, np.float32)[:, None, None, None]
    padded = np.zeros(count, np.int32)
    padded[: len(labels)] = labels
    mask = (np.arange(count) < len(said)).astype(np.float32)
    values = {"images": images, "labels": padded, "mask": mask, "bad": np.zeros_like(mask)}
    dataset = tf.data.Dataset.from_tensor_slices(values)
    return lambda: strategy.experimental_distribute_dataset(dataset.batch(batch_size, drop_remainder=True))


@pytest.fixture(params=[1, 2], ids=["one_replica", "two_replicas"])
def strategy(request):
    return one_cpu() if request.param == 1 else request.getfixturevalue("two_replicas")


def test_clean_accuracy_by_hand_with_a_tail_batch(strategy):
    said = [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3]
    labels = [0, 1, 2, 3, 4, 5, 5, 6, 0, 3, 4]  # right: the first six. Then said minus one (x3), said plus one (x2).
    evaluator = CleanAccuracy(strategy, PixelReader(), batches(strategy, said, labels, 4), 11, ("main", "auxiliary"))
    results = run_all([evaluator])
    assert results["top1_main"] == pytest.approx(6 / 11)
    # Through auxiliary everything said is one higher: right where the label is said plus one.
    assert results["top1_auxiliary"] == pytest.approx(2 / 11)
    # The label said plus one has the last of seven ranks through main, said minus one the second.
    assert results["top5_main"] == pytest.approx(9 / 11)
    normaliser = math.log(sum(math.exp(-rank) for rank in range(NUM_CLASSES)))
    assert results["loss_main"] == pytest.approx((6 * 0 + 3 * 1 + 2 * 6) / 11 + normaliser, rel=1e-5)


def test_a_pass_with_another_number_of_images_is_an_error():
    strategy = one_cpu()
    evaluator = CleanAccuracy(strategy, PixelReader(), batches(strategy, [1, 2, 3], [1, 2, 3], 2), 4, ("main",))
    with pytest.raises(RuntimeError, match="counted 3 images and 0 bad ones instead of 4"):
        run_all([evaluator])


def test_top5_of_fewer_than_five_classes_is_all():
    strategy = one_cpu()
    evaluator = CleanAccuracy(strategy, Threshold(), batches(strategy, [150, 50], [0, 0], 2), 2, ("main",))
    results = run_all([evaluator])
    assert (results["top1_main"], results["top5_main"]) == (0.5, 1.0)


def test_pgd_accuracy_is_that_of_the_closed_form(strategy):
    """Moving every pixel by 4 turns exactly the images within 4 of the threshold."""
    said = [90, 97, 99, 101, 103, 110]
    labels = [0, 0, 0, 1, 1, 1]
    evaluator = PgdAccuracy(
        strategy, Threshold(), batches(strategy, said, labels, 4), 6, "main", EVALUATION_ATTACK, seed=0
    )
    assert run_all([evaluator]) == {"top1_pgd": pytest.approx(2 / 6)}


def test_examples_to_look_at(two_replicas):
    strategy = two_replicas
    spec = AttackSpec(epsilon_px=4.0, num_steps=10)
    found = adversarial_examples(
        strategy, Threshold(), batches(strategy, [97, 90, 103, 110], [0, 0, 1, 1], 4)(), "main", spec, 8, seed=0
    )
    # The first replica's share of the batch.
    np.testing.assert_array_equal(found.labels, [0, 0])
    np.testing.assert_array_equal(found.clean_classes, [0, 0])
    np.testing.assert_array_equal(found.adversarial_classes, [1, 0])
    np.testing.assert_allclose(found.adversarial - found.clean, 4.0)

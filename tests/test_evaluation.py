"""Accuracy under attack, on networks whose predictions are known by construction."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.evaluation import PredictionCollector, adversarial_examples, strength, under_attack
from efficientnet_advprop.recipes import EVALUATION_ATTACK, AttackSpec
from tests.small import one_cpu

NUM_CLASSES = 7


class PixelReader:
    """Predicts the class in the first pixel through the main branch, the next class through the auxiliary one."""

    num_classes = NUM_CLASSES

    def __call__(self, images, training=False, branch="main", statistics=None):
        assert not training
        shift = {"main": 0, "auxiliary": 1}[branch]
        said = (tf.cast(images[:, 0, 0, 0], tf.int32) + shift) % NUM_CLASSES
        ranks = (said[:, tf.newaxis] - tf.range(NUM_CLASSES)) % NUM_CLASSES  # 0 for the class said, then down from it
        return -tf.cast(ranks, tf.float32)


class Threshold:
    """Two classes: is the mean pixel above 100? The slope of the logit, and so the effect of the attack, is known."""

    num_classes = 2

    def __call__(self, images, training=False, branch="main", statistics=None):
        above = tf.reduce_mean(images, axis=(1, 2, 3)) - 100.0
        return tf.stack([-above, above], -1)


def batches(strategy, said, labels, batch_size):
    """Distributed batches, the last one padded with images that would count as correct without the mask."""
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


@pytest.mark.parametrize(("success", "kinds"), [("last", ["pgd"]), ("any", ["clean", "noise", "one_step", "pgd"])])
def test_accuracy_under_attack_is_that_of_the_closed_form(strategy, success, kinds):
    """Changing every pixel by 4 changes the class of exactly the images within 4 of the threshold."""
    said = [90, 97, 99, 101, 103, 110]
    labels = [0, 0, 0, 1, 1, 1]
    predict = under_attack(Threshold(), "main", EVALUATION_ATTACK, success, restarts=1, seed=0)
    collector = PredictionCollector(strategy, predict)
    predictions, _ = collector.collect(batches(strategy, said, labels, 4)(), 6, strength(EVALUATION_ATTACK))
    assert sorted(predictions) == kinds
    assert predictions["pgd"].scores()["top1"] == pytest.approx(2 / 6)


def test_only_the_last_point_counts_or_any():
    """Wrong only in a narrow band that steps of 1 px cross: "any" finds it, "last" does not."""

    class Band:
        num_classes = 2

        def __call__(self, images, training=False, branch="main"):
            mean = tf.reduce_mean(images, axis=(1, 2, 3))
            wrong = tf.where(tf.abs(mean - 101.0) < 0.3, 5.0 + 0.01 * mean, 0.1 * mean - 20.0)
            return tf.stack([tf.zeros_like(wrong), wrong], -1)

    attack = AttackSpec("ifgsm", epsilon_px=4.0, step_size_px=1.0, num_steps=4, random_start=False)
    top1 = {}
    for success in ("last", "any"):
        collector = PredictionCollector(one_cpu(), under_attack(Band(), "main", attack, success, 1, seed=0))
        predictions, _ = collector.collect(batches(one_cpu(), [100], [0], 1)(), 1, strength(attack))
        top1[success] = predictions["pgd"].scores()["top1"]
    assert top1 == {"last": 1.0, "any": 0.0}


def test_examples_to_look_at(two_replicas):
    strategy = two_replicas
    spec = AttackSpec(epsilon_px=4.0, num_steps=10)
    found = adversarial_examples(
        strategy, Threshold(), batches(strategy, [97, 90, 103, 110], [0, 0, 1, 1], 4)(), "main", spec, 8, seed=0
    )
    # The first replica's part of the batch.
    np.testing.assert_array_equal(found.labels, [0, 0])
    np.testing.assert_array_equal(found.clean_classes, [0, 0])
    np.testing.assert_array_equal(found.adversarial_classes, [1, 0])
    np.testing.assert_allclose(found.adversarial - found.clean, 4.0)

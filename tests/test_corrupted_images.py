"""Images corrupted on the fly: which, how each host and batch corrupts them, what a pass counts."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import eval_dataset, evaluation_images, open_source
from efficientnet_advprop.evaluation import PredictionCollector, corrupted_dataset, kept_in_memory, through_branches
from efficientnet_advprop.evaluation.corruptions import corrupt
from efficientnet_advprop.recipes import STUDY_BENCHMARKS, override
from tests.small import one_cpu, small_recipe


def test_evaluation_images_are_evenly_spaced():
    recipe = small_recipe()
    source = open_source(recipe.data, None)
    every, labels = evaluation_images(source, recipe, 1000)
    assert (every.shape, every.dtype, labels.shape) == ((360, 16, 16, 3), np.uint8, (360,))
    few, few_labels = evaluation_images(source, recipe, 7)
    places = [number * 360 // 7 for number in range(7)]
    np.testing.assert_array_equal(few, every[places])
    np.testing.assert_array_equal(few_labels, labels[places])


def test_a_pass_counts_each_corrupted_image():
    class SumOfPixels(tf.keras.Model):
        """Predicts a digit of the sum of all pixels, which every corruption changes."""

        def call(self, images, training, branch):
            assert not training
            assert branch == "main"
            total = tf.reduce_sum(tf.cast(images, tf.int32), axis=(1, 2, 3))
            return tf.one_hot(total // 100 % 10, 10)

    recipe = override(small_recipe(), {"cadence.eval_batch_size": 2})
    source, number = open_source(recipe.data, None), 5
    collector = PredictionCollector(one_cpu(), through_branches(SumOfPixels(), ("main",)))
    images, labels = evaluation_images(source, recipe, number)
    found = []
    for name in STUDY_BENCHMARKS.corruptions:
        context = tf.distribute.InputContext()
        clean = eval_dataset(source, recipe, context, num_images=number)
        predictions, _ = collector.collect(corrupted_dataset(clean, context, name, 2), number)
        hits = [
            corrupt(image, name, 2, seed).sum(dtype=int) // 100 % 10 == label
            for seed, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
        found.append(predictions["main"].scores()["top1"])
        assert found[-1] == pytest.approx(np.mean(hits))
    assert 0 < np.mean(found) < 1


def test_hosts_and_batches_corrupt_each_image_alike():
    recipe = override(small_recipe(), {"cadence.eval_batch_size": 4})
    source = open_source(recipe.data, None)

    def images(hosts, host):
        context = tf.distribute.InputContext(hosts, host, num_replicas_in_sync=hosts)
        clean = eval_dataset(source, recipe, context, num_images=7)
        batches = corrupted_dataset(clean, context, "gaussian_noise", 3)
        return np.concatenate([batch["images"][batch["mask"] > 0] for batch in batches.as_numpy_iterator()])

    one = images(1, 0)
    np.testing.assert_array_equal(images(2, 0), one[0::2])
    np.testing.assert_array_equal(images(2, 1), one[1::2])
    expected = corrupt(evaluation_images(source, recipe, 7)[0][5], "gaussian_noise", 3, seed=5)
    np.testing.assert_array_equal(one[5], expected)


def test_images_kept_in_memory_are_read_once_and_corrupted_alike():
    recipe = override(small_recipe(), {"cadence.eval_batch_size": 4})
    context, read = tf.distribute.InputContext(), []
    clean = eval_dataset(open_source(recipe.data, None), recipe, context, num_images=7)

    def seen(batch):
        tf.py_function(lambda: read.append(1), [], [])
        return batch

    kept = kept_in_memory(clean.map(seen))
    assert kept.element_spec["images"].dtype == tf.uint8
    for name in ("gaussian_noise", "contrast"):
        both = (corrupted_dataset(batches, context, name, 3) for batches in (clean, kept))
        for expected, batch in zip(*(batches.as_numpy_iterator() for batches in both), strict=True):
            np.testing.assert_array_equal(batch["images"], expected["images"])
    assert len(read) == 2  # batches, in two passes

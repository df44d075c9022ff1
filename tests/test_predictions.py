"""Collected predictions of networks whose predictions are known by construction."""

import math

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.evaluation import PredictionCollector, Predictions
from efficientnet_advprop.recipes import BENCHMARKS
from tests.small import one_cpu
from tests.test_evaluation import NUM_CLASSES, PixelReader, batches


@pytest.fixture(params=[1, 2], ids=["one_replica", "two_replicas"])
def strategy(request):
    return one_cpu() if request.param == 1 else request.getfixturevalue("two_replicas")


def through(*branches):
    return lambda batch, number: {branch: PixelReader()(batch["images"], branch=branch) for branch in branches}


SHOWN = [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3]
# The first six are right, then a prediction is one too high (3 times) or too low (2 times).
LABELS = [0, 1, 2, 3, 4, 5, 5, 6, 0, 3, 4]


def test_scores_of_several_branches_by_hand_with_a_tail_batch(strategy):
    predictions, num_bad = PredictionCollector(strategy, through("main", "auxiliary")).collect(
        batches(strategy, SHOWN, LABELS, 4)(), 11
    )
    assert num_bad == 0
    main, auxiliary = predictions["main"].scores(), predictions["auxiliary"].scores()
    assert main["top1"] == pytest.approx(6 / 11)
    assert auxiliary["top1"] == pytest.approx(2 / 11)
    # PixelReader ranks downwards from its first class: the class above it is the last of seven.
    assert main["top5"] == pytest.approx(9 / 11)
    normaliser = math.log(sum(math.exp(-rank) for rank in range(NUM_CLASSES)))
    assert main["loss"] == pytest.approx((6 * 0 + 3 * 1 + 2 * 6) / 11 + normaliser, rel=1e-5)
    assert sorted(predictions["main"].labels) == sorted(LABELS)


def test_confusions_are_the_most_frequent_mistakes_first(strategy):
    shown, labels = [1, 1, 1, 2, 2, 3, 6], [0, 0, 0, 3, 3, 3, 5]
    predictions, _ = PredictionCollector(strategy, through("main")).collect(batches(strategy, shown, labels, 2)(), 7)
    assert predictions["main"].confusions(2) == [(0, 1, 3), (3, 2, 2)]
    assert predictions["main"].confusions(9) == [(0, 1, 3), (3, 2, 2), (5, 6, 1)]


def test_the_200_way_rule_reads_only_the_columns_of_the_200_classes(strategy):
    """1,000 logits: the most likely class is outside of the 200 for half of the images."""
    columns = BENCHMARKS["imagenet_a"].classes
    inside, outside = columns[7], 0
    assert outside not in columns

    def predict(batch, number):
        shown = tf.cast(batch["images"][:, 0, 0, 0], tf.int32)  # 0: right of 1,000; 1: right of 200; 2: wrong in both
        wrong = columns[8]
        best = tf.where(shown == 0, inside, tf.where(shown == 1, outside, wrong))
        second = tf.where(shown == 2, outside, inside)
        return {"main": 2.0 * tf.one_hot(best, 1000) + tf.one_hot(second, 1000)}

    shown = [0, 0, 1, 1, 1, 2]
    collector = PredictionCollector(strategy, predict, columns)
    predictions, _ = collector.collect(batches(strategy, shown, [inside] * 6, 4)(), 6)
    scores = predictions["main"].scores()
    assert scores["top1"] == pytest.approx(2 / 6)
    assert scores["top1_of_200"] == pytest.approx(5 / 6)


def test_arguments_of_a_pass_reach_the_network_without_another_graph():
    strategy, traces = one_cpu(), []

    def predict(batch, number, shift):
        traces.append(shift)
        return {"main": PixelReader()(batch["images"] + shift)}

    collector = PredictionCollector(strategy, predict)
    for shift, expected in ((0.0, 1.0), (1.0, 0.0)):
        predictions, _ = collector.collect(batches(strategy, [0, 1, 2], [0, 1, 2], 2)(), 3, (tf.constant(shift),))
        assert predictions["main"].scores()["top1"] == expected
    assert len(traces) == 1


def test_bad_images_are_counted_and_no_predictions():
    strategy = one_cpu()
    batch = {
        "images": tf.zeros([3, 2, 2, 3]),
        "labels": tf.constant([0, 0, 1]),
        "mask": tf.constant([1.0, 0.0, 1.0]),
        "bad": tf.constant([0.0, 1.0, 0.0]),
    }
    predictions, num_bad = PredictionCollector(strategy, through("main")).collect([batch], 3)
    assert num_bad == 1
    assert predictions["main"].scores()["top1"] == 0.5


def test_logits_that_are_not_finite_are_wrong_except_in_the_padding():
    """Without a check, top_k of NaN would rank classes 0 and 1 first."""
    strategy, nan = one_cpu(), float("nan")
    logits = tf.constant([[2.0, 1.0, 0.0], [nan, nan, nan], [0.0, np.inf, 0.0], [0.0, 0.0, 1.0], [nan, nan, nan]])
    mask = tf.constant([1.0, 1.0, 1.0, 1.0, 0.0])
    batch = {"images": logits, "labels": tf.constant([0, 0, 1, 2, 0]), "mask": mask, "bad": tf.zeros([5])}
    collector = PredictionCollector(strategy, lambda batch, number: {"main": batch["images"]})
    predictions, num_bad = collector.collect([batch], 4)
    assert num_bad == 0
    assert predictions["main"].scores()["top1"] == 2 / 4


def test_another_number_of_images_is_an_error():
    strategy = one_cpu()
    with pytest.raises(RuntimeError, match="counted 3 images and 0 bad ones instead of 4"):
        PredictionCollector(strategy, through("main")).collect(batches(strategy, [1, 2, 3], [1, 2, 3], 2)(), 4)


def test_equal_logits_go_to_the_lower_class_and_few_classes_have_few_ranks():
    strategy = one_cpu()
    collector = PredictionCollector(strategy, lambda batch, number: {"main": tf.zeros([batch["labels"].shape[0], 2])})
    predictions, _ = collector.collect(batches(strategy, [0, 0], [0, 1], 2)(), 2)
    np.testing.assert_array_equal(predictions["main"].ranked, [[0, 1], [0, 1]])


def test_scores_without_a_mistake_have_no_confusions():
    predictions = Predictions(np.array([1, 2]), np.array([[1, 0], [2, 0]]), np.array([0.1, 0.3]))
    assert predictions.scores() == {"top1": 1.0, "top5": 1.0, "loss": pytest.approx(0.2)}
    assert predictions.confusions(5) == []

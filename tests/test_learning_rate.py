"""The learning rate against the official formula, calculated by hand."""

import json
import math

import pytest
import tensorflow as tf

from efficientnet_advprop.recipes import OptimizerSpec
from efficientnet_advprop.recipes.optimizer_spec import SCHEDULES
from efficientnet_advprop.training.learning_rate import learning_rate_schedule

# The official run on ImageNet: 350 epochs at 2048 images a step.
BATCH_SIZE = 2048
STEPS_PER_EPOCH = 1281167 / BATCH_SIZE  # 625.57
TRAIN_STEPS = 218949
PEAK = 0.128
WARMUP_STEPS = 3127

FLOAT32 = 1e-5  # relative rounding: 0.97**145 in float32 has an error of 4e-6


def official_schedule(**changes):
    spec = OptimizerSpec(**({"lr_step_epochs": (30.0, 60.0)} | changes))
    return learning_rate_schedule(spec, BATCH_SIZE, STEPS_PER_EPOCH, TRAIN_STEPS)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (1, PEAK / 3127),
        (1502, PEAK * 1502 / 3127),  # the first drop, hidden by the warm-up
        (3126, PEAK * 3126 / 3127),
        (3127, PEAK * 0.97**2),  # the decay counts from step 0: two drops so far
        (4504, PEAK * 0.97**2),  # the third is at 3 * 2.4 * 625.57 = 4504.1
        (4505, PEAK * 0.97**3),
        (15014, PEAK * 0.97**10),  # with 1501 steps per drop this would start at 15010, with 1502 at 15020
        (15013, PEAK * 0.97**9),
        (218948, PEAK * 0.97**145),
    ],
)
def test_the_official_recipe(step, rate):
    assert float(official_schedule()(step)) == pytest.approx(rate, rel=FLOAT32)


RESNET = {"lr_schedule": "step", "base_learning_rate": 0.1, "lr_decay_factor": 0.1, "lr_warmup_epochs": 0.0}
RESNET_EPOCHS = (30.0, 60.0, 90.0, 100.0)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.1),
        (150_136, 0.1),  # 30 epochs of 5004.56 steps end at 150,136.8
        (150_137, 0.01),
        (300_273, 0.01),  # at 300,273.5
        (300_274, 0.001),
        (450_410, 0.001),  # at 450,410.3
        (450_411, 1e-4),
        (500_455, 1e-4),  # at 500,455.9
        (500_456, 1e-5),
        (525_477, 1e-5),
    ],
)
def test_the_step_schedule_drops_where_an_epoch_ends(step, rate):
    spec = OptimizerSpec(lr_step_epochs=RESNET_EPOCHS, **RESNET)
    schedule = learning_rate_schedule(spec, 256, 1281167 / 256, 525_478)
    assert float(schedule(step)) == pytest.approx(rate, rel=FLOAT32)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (10, 0.1 * 10 / 40),
        (30, 0.1 * 30 / 40),  # the first drop, at step 20, is hidden by the warm-up
        (40, 0.02),
        (49, 0.02),
        (50, 0.004),  # epoch 5 begins with step 50
    ],
)
def test_the_step_schedule_counts_from_step_zero_under_a_warm_up(step, rate):
    changes = {"lr_step_epochs": (2.0, 5.0), "lr_decay_factor": 0.2, "lr_warmup_epochs": 4.0}
    schedule = learning_rate_schedule(OptimizerSpec(**(RESNET | changes)), 256, 10, 100)
    assert float(schedule(step)) == pytest.approx(rate, rel=FLOAT32)


@pytest.mark.parametrize("step", [WARMUP_STEPS, 50_000, TRAIN_STEPS // 2, 200_000])
def test_cosine_counts_from_step_zero(step):
    expected = PEAK * 0.5 * (1 + math.cos(math.pi * step / TRAIN_STEPS))
    assert float(official_schedule(lr_schedule="cosine")(step)) == pytest.approx(expected, rel=FLOAT32)


def test_cosine_ends_at_zero():
    assert float(official_schedule(lr_schedule="cosine")(TRAIN_STEPS)) == pytest.approx(0, abs=1e-8)


def test_constant_stays_at_the_peak():
    schedule = official_schedule(lr_schedule="constant")
    assert float(schedule(WARMUP_STEPS - 1)) == pytest.approx(PEAK * 3126 / 3127, rel=FLOAT32)
    assert float(schedule(WARMUP_STEPS)) == pytest.approx(PEAK, rel=FLOAT32)
    assert float(schedule(10 * TRAIN_STEPS)) == pytest.approx(PEAK, rel=FLOAT32)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_without_warm_up_the_first_rate_is_the_peak(kind):
    assert float(official_schedule(lr_schedule=kind, lr_warmup_epochs=0.0)(0)) == pytest.approx(PEAK, rel=FLOAT32)


@pytest.mark.parametrize(("batch_size", "peak"), [(256, 0.016), (32, 0.002), (4096, 0.256)])
def test_the_rate_is_linear_in_the_batch_size(batch_size, peak):
    schedule = learning_rate_schedule(OptimizerSpec(lr_schedule="constant", lr_warmup_epochs=0.0), batch_size, 10, 100)
    assert float(schedule(50)) == pytest.approx(peak, rel=FLOAT32)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="poly"):
        official_schedule(lr_schedule="poly")


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_survives_serialisation(kind):
    schedule = official_schedule(lr_schedule=kind)
    config = json.loads(json.dumps(tf.keras.optimizers.schedules.serialize(schedule)))
    again = tf.keras.optimizers.schedules.deserialize(config)
    for step in (10, 5_000, 100_000):
        assert float(again(step)) == float(schedule(step))


@pytest.mark.parametrize("kind", SCHEDULES)
def test_graphs_and_eager_calls_agree(kind):
    schedule = official_schedule(lr_schedule=kind)
    in_graph = tf.function(schedule, input_signature=[tf.TensorSpec([], tf.int64)])
    for step in (10, 5_000, 100_000):
        rate = in_graph(tf.constant(step, tf.int64))
        assert rate.dtype == tf.float32
        assert float(rate) == pytest.approx(float(schedule(step)), rel=FLOAT32)

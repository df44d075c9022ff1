"""Grappler, batch arithmetic, and whether XLA can compile a function."""

import hypothesis
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import tpu_utils
from tpu_utils import DeviceError


def test_graph_optimizer():
    options = tf.config.optimizer.get_experimental_options()
    try:
        for enabled in (False, True):
            tpu_utils.set_graph_optimizer(enabled)
            assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is not enabled
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False} | options)


positive = st.integers(1, 1 << 20)


@hypothesis.given(micro_batch=positive, micro_batches=positive, replicas=positive)
def test_batches_that_divide(micro_batch, micro_batches, replicas):
    per_replica = micro_batch * micro_batches
    assert tpu_utils.per_replica_batch_size(per_replica * replicas, replicas, micro_batches) == per_replica


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((100, 8), "global batch 100 does not divide over 8 replicas"),
        (
            (96, 8, 5),
            "global batch 96 gives each of 8 replicas 12, which does not divide into 5 micro-batches",
        ),
        ((0, 8), "global batch 0, 8 replicas, 1 micro-batches: each must be at least 1"),
        ((8, 8, -1), "global batch 8, 8 replicas, -1 micro-batches: each must be at least 1"),
    ],
)
def test_batches_that_do_not_divide(batch, message):
    with pytest.raises(DeviceError) as raised:
        tpu_utils.per_replica_batch_size(*batch)
    assert str(raised.value) == message


IMAGES = tf.ones([2, 8, 8, 3])


def test_a_step_with_a_loop_lowers():
    kernel = tf.Variable(tf.random.stateless_normal([3, 3, 3, 4], [1, 2]))

    def loss(images):
        return tf.reduce_sum(tf.nn.conv2d(images, kernel, 1, "SAME") ** 2)

    def ascend(step, images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = loss(images)
        return step + 1, images + tf.sign(tape.gradient(value, images))

    def train_step(batch):
        _, images = tf.while_loop(lambda step, _: step < 3, ascend, (0, batch["images"]))
        with tf.GradientTape() as tape:
            value = loss(images)
        kernel.assign_sub(0.1 * tape.gradient(value, kernel))
        return {"loss": value}

    hlo = tpu_utils.lower_to_hlo(train_step, {"images": IMAGES})
    assert "f32[2,8,8,3]" in hlo
    assert " convolution(" in hlo
    assert " while(" in hlo


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: tf.py_function(tf.abs, [x], tf.float32), "no kernel for EagerPyFunc (node EagerPyFunc)"),
        (lambda x: tf.image.resize(x, [4, 4], "bicubic"), "no kernel for ResizeBicubic (node resize/ResizeBicubic)"),
        (
            lambda x: tf.zeros([tf.cast(x[0, 0, 0, 0], tf.int32)]),
            "`zeros` with op Fill must be a compile-time constant",
        ),
        (lambda x: tf.reduce_sum(tf.boolean_mask(x, x > 0)), "that of Where (node boolean_mask/Where) depends"),
    ],
    ids=["python", "no kernel", "shape from a value", "bounded shape"],
)
def test_what_does_not_lower_is_named(function, reason):
    with pytest.raises(DeviceError) as raised:
        tpu_utils.lower_to_hlo(function, IMAGES)
    message = str(raised.value)
    assert reason in message
    assert "\n" not in message

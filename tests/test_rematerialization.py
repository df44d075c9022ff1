"""Rematerialisation: the same gradients and statistics with less memory, and the estimate of that memory."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import network_spec
from tests.small import (
    assert_equal_values,
    copy_weights,
    kept_by_estimate,
    kept_bytes,
    loss_gradients,
    small_model,
    values,
)
from tpu_utils import lower_to_hlo


@pytest.fixture
def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)), tf.float32)


def assert_equal_gradients(ours: list[tf.Tensor], theirs: list[tf.Tensor]) -> None:
    """Within 1e-4 of the largest: a beta in front of another batch norm has gradient zero, that is, rounding noise."""
    scale = max(np.abs(gradient).max() for gradient in theirs)
    assert scale > 0
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize(
    ("statistics", "compiled"), [("update", False), ("running", False), ("batch", False), ("update", True)]
)
def test_remat_changes_neither_gradients_nor_statistics(images, statistics, compiled):
    options = {"dropout_rate": 0.5, "survival_prob": 0.5}
    plain, remat = small_model(**options), small_model(**options, remat=True)
    copy_weights(plain, remat)
    gradients = [
        (tf.function(loss_gradients) if compiled else loss_gradients)(model, images, statistics)
        for model in (plain, remat)
    ]
    assert_equal_gradients(gradients[1], gradients[0])
    assert_equal_values(values(remat), values(plain), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("two_blocks")
def test_remat_under_xla_recomputes_behind_barriers(images):
    """Else XLA merges the recomputation with the first computation, and nothing is saved."""
    plain, remat = small_model(), small_model(remat=True)
    copy_weights(plain, remat)
    programs = [lower_to_hlo(functools.partial(loss_gradients, model), images) for model in (plain, remat)]
    assert [program.count(" opt-barrier(") for program in programs] == [0, len(remat.blocks)]
    gradients = [tf.function(loss_gradients, jit_compile=True)(model, images) for model in (plain, remat)]
    assert_equal_gradients(gradients[1], gradients[0])
    assert_equal_values(values(remat), values(plain), rtol=1e-5, atol=1e-6)


def test_remat_on_two_replicas(images, two_replicas, two_blocks):
    with two_replicas.scope():
        plain, remat = small_model(), small_model(remat=True)
        copy_weights(plain, remat)
    halves = tf.split(images, 2)
    distributed = two_replicas.experimental_distribute_values_from_function(
        lambda context: halves[context.replica_id_in_sync_group]
    )

    def gradients(model):
        run = tf.function(lambda inputs: two_replicas.run(loss_gradients, (model, inputs)))
        return tf.nest.flatten([two_replicas.experimental_local_results(value) for value in run(distributed)])

    assert_equal_gradients(gradients(remat), gradients(plain))
    assert_equal_values(values(remat), values(plain), rtol=1e-5, atol=1e-6)


def test_remat_allows_more_than_one_gradient(images):
    model = small_model(remat=True)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(model(images, training=True, branch="auxiliary"))
    before = values(model)
    first, second = (tape.gradient(loss, model.head.kernel) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert_equal_values(values(model), before, rtol=0)


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-b3"])
def test_activation_bytes_is_what_a_traced_step_keeps(name):
    model = build_model(name)
    image_size = network_spec(name).input_image_size
    # 2 %: gates, batch statistics and the normalised images are left out of the estimate.
    assert kept_by_estimate(model, 4, image_size) == pytest.approx(kept_bytes(model, 4, image_size), rel=0.02)


def test_remat_keeps_less():
    plain, remat = small_model(), small_model(remat=True)
    between_blocks = kept_bytes(remat, 8, 64)
    assert between_blocks < 0.3 * kept_bytes(plain, 8, 64)
    estimate = kept_by_estimate(plain, 8, 64, remat=True)
    assert between_blocks < estimate < kept_by_estimate(plain, 8, 64)

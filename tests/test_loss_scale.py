"""float16: the dynamic loss scale, skipped steps, exact resume, attacks, and what float16 cannot hold."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.attacks import attack_loss, perturb
from efficientnet_advprop.evaluation.logits import logits_through
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.layers import spatial_means
from efficientnet_advprop.recipes import AttackSpec
from efficientnet_advprop.training import loss_scale as scaling
from efficientnet_advprop.training.interruption import Interrupted
from efficientnet_advprop.training.loss_scale import LossScale
from efficientnet_advprop.training.step import StepMetrics, make_objective, make_replica_step
from tests.small import copy_weights, new_state, one_cpu, small_recipe, values
from tests.test_training import DETERMINISTIC, checkpoints_of, run_training

pytestmark = pytest.mark.usefixtures("two_blocks")


@pytest.fixture(autouse=True)
def float16():
    """Keras' policy in this file."""
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    tf.keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def float32_model():
    """(recipe) -> a network in float32."""

    def make(recipe):
        tf.keras.mixed_precision.set_global_policy("float32")
        try:
            return build_model(recipe.network, 10, recipe.branches)
        finally:
            tf.keras.mixed_precision.set_global_policy("mixed_float16")

    return make


def batch_of(seed: int = 0) -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(seed)
    images = tf.constant(rng.uniform(0, 255, (8, 16, 16, 3)), tf.float32)
    return {"images": images, "labels": tf.one_hot(rng.integers(0, 10, 8), 10)}


def everything(state) -> dict[str, np.ndarray]:
    """All that a run goes on with, but the scale."""
    slots = {f"optimizer/{index}": value.numpy() for index, value in enumerate(state.optimizer.variables)}
    averages = {f"average/{path}": value for path, value in values(state.average_model).items()}
    return {**values(state.model), **averages, **slots}


def scale_of(state) -> tuple[float, int]:
    return float(state.loss_scale.value.numpy()), int(state.loss_scale.good_steps.numpy())


@pytest.mark.parametrize(("scheme", "scale"), [("advprop", 1.0), ("advprop", 2.0**15), ("fast_advprop", 2.0**15)])
def test_gradients_and_losses_do_not_depend_on_the_scale_and_are_those_of_float32(scheme, scale, float32_model):
    """Without decay and an attack; gradients as vectors. Scale 1 is large enough for this network."""
    recipe = small_recipe(scheme, attack__method="none", network__dropout_rate=0.0)
    exact, rounded = float32_model(recipe), build_model(recipe.network, 10, recipe.branches)
    copy_weights(exact, rounded)
    loss_scale = LossScale()
    loss_scale.value.assign(scale)
    terms, seed = recipe.phases[0].terms, tf.constant([1, 2])
    expected, losses = make_objective(exact, recipe, terms).gradients(batch_of(), seed)
    scaled, scaled_losses = make_objective(rounded, recipe, terms, loss_scale).gradients(batch_of(), seed)
    gradients = loss_scale.unscaled(scaled)
    assert {gradient.dtype for gradient in gradients} == {tf.float32}
    distance = tf.linalg.global_norm([a - b for a, b in zip(gradients, expected, strict=True)])
    assert distance < 0.02 * tf.linalg.global_norm(expected)
    for name in ("loss/clean", "loss/adversarial"):
        np.testing.assert_allclose(scaled_losses[name], losses[name], rtol=2e-3)


def test_the_scale_doubles_after_finite_steps_and_halves_down_to_one(monkeypatch):
    monkeypatch.setattr(scaling, "STEPS_BEFORE_DOUBLING", 3)
    scale = LossScale()
    scale.value.assign(4.0)
    helps, seen = [], []
    for is_finite in (True, True, True, True, False, True, False, False, False, False):
        helps.append(bool(scale.update(tf.constant(is_finite))))
        seen.append((float(scale.value), int(scale.good_steps)))
    assert seen == [(4, 1), (4, 2), (8, 0), (8, 1), (4, 0), (4, 1), (2, 0), (1, 0), (1, 0), (1, 0)]
    assert helps == [False, False, False, False, True, False, True, True, False, False]


def test_one_replica_that_overflows_makes_all_skip_the_step(two_replicas):
    """Images that are no numbers on the second replica alone, so that its statistics are none either.

    Weights, slots, averages and statistics stay to the bit; the next step, on good images, moves all of them.
    """
    recipe = small_recipe("vanilla", optimizer__lr_warmup_epochs=0.0)
    state = new_state(recipe, two_replicas)
    step, names = make_replica_step(state, recipe, recipe.phases[0].terms, 2)
    with two_replicas.scope():
        metrics = StepMetrics(names)
    batch = batch_of()

    @tf.function(autograph=False)
    def run(is_bad):
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            images = tf.where(is_bad & (replica == 1), np.nan, batch["images"])
            metrics.update(step({**batch, "images": images}))

        two_replicas.run(on_replica)

    def copies(variable):
        return np.stack([copy.numpy() for copy in two_replicas.experimental_local_results(variable)])

    def all_copies():
        models = (state.model, state.average_model)
        of_models = [copies(v) for model in models for v in model.weights_by_path().values()]
        return of_models + [copies(variable) for variable in state.optimizer.variables[1:]]

    before = all_copies()
    run(tf.constant(True))
    for value, kept in zip(all_copies(), before, strict=True):
        np.testing.assert_array_equal(value, kept)
    assert (state.step, scale_of(state)) == (1, (2.0**14, 0))
    taken, not_finite = metrics.take()
    assert (taken["skipped_steps"], not_finite) == (1.0, [])
    assert np.isfinite(list(taken.values())).all()  # those of the first replica
    run(tf.constant(False))
    assert all(not np.array_equal(value, kept) for value, kept in zip(all_copies(), before, strict=True))
    assert (state.step, scale_of(state), metrics.take()[0]["skipped_steps"]) == (2, (2.0**14, 1), 0.0)


def test_resume_after_an_overflow_is_exact(tmp_path, monkeypatch):
    """Six steps, or three and three: the scale overflows first, doubles after two steps and overflows again."""
    monkeypatch.setattr(scaling, "INITIAL_SCALE", 2.0**21)
    monkeypatch.setattr(scaling, "STEPS_BEFORE_DOUBLING", 2)
    recipe = small_recipe("vanilla", train_steps=6, cadence__iterations_per_loop=1, network__survival_prob=0.8)
    whole, recorder = run_training(recipe, tmp_path / "whole")
    signals = iter([None, None, None, 15])
    with pytest.raises(Interrupted, match="at step 3"):
        run_training(recipe, tmp_path / "parts", stop_signal=lambda: next(signals))
    parts, rest = run_training(recipe, tmp_path / "parts")
    skipped = [values["skipped_steps"] for _, values in recorder.trained]
    assert sum(skipped[:3]) > 0 < sum(skipped[3:])
    assert sum(skipped) < 6
    assert rest.trained == recorder.trained[3:]
    assert scale_of(whole) == scale_of(parts)
    ours, theirs = everything(whole), everything(parts)
    for name in ours:
        np.testing.assert_array_equal(theirs[name], ours[name], err_msg=name)


def test_a_run_that_no_scale_helps_ends_with_its_losses_names(tmp_path):
    recipe = small_recipe("vanilla", train_steps=8, cadence__iterations_per_loop=1)
    state = new_state(recipe, one_cpu())
    state.loss_scale.value.assign(4.0)
    gamma = state.model.branch_variables("main")[0]
    gamma.assign(tf.fill(gamma.shape, np.nan))
    with pytest.raises(FloatingPointError, match="not finite in steps 3 to 3: loss/clean, gradient_norm"):
        run_training(recipe, tmp_path, state)
    assert state.step == 3


def test_a_run_may_go_on_in_another_precision(tmp_path):
    """A checkpoint in float32 has no scale. What a run in float16 leaves is read without it, and the other way."""
    recipe = small_recipe("vanilla")
    state = new_state(recipe, one_cpu())
    state.loss_scale.value.assign(64.0)
    state.optimizer.iterations.assign(7)
    checkpoints_of(state, recipe, tmp_path).save()
    tf.keras.mixed_precision.set_global_policy("float32")
    exact = new_state(recipe, one_cpu())
    again = checkpoints_of(exact, recipe, tmp_path)
    assert (exact.loss_scale, again.restore_latest()) == (None, 7)
    exact.optimizer.iterations.assign(8)
    again.save()
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "checkpoints" / "step-8"))]
    assert not [name for name in names if "loss_scale" in name]
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    back = new_state(recipe, one_cpu())
    assert (checkpoints_of(back, recipe, tmp_path).restore_latest(), scale_of(back)) == (8, (2.0**15, 0))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attacks_are_those_of_float32_for_most_pixels(norm, float32_model):
    """PGD2 of training, with its scale, and of evaluation."""
    changes = {"attack__num_steps": 2, "attack__epsilon_px": 4.0, "attack__step_size_px": 2.0, "attack__norm": norm}
    recipe = small_recipe(**changes, **DETERMINISTIC)
    exact, rounded = float32_model(recipe), build_model(recipe.network, 10, recipe.branches)
    copy_weights(exact, rounded)
    term = recipe.attacking_terms[0]
    batch, seed = batch_of(), tf.constant([1, 2])
    expected, scaled = (
        make_objective(model, recipe, [term], scale)._term_images(term, batch, seed)
        for model, scale in ((exact, None), (rounded, LossScale()))
    )
    loss_fn = attack_loss(logits_through(rounded, "auxiliary"), batch["labels"], term.attack, seed, 0.1)
    evaluated = perturb(loss_fn, batch["images"], term.attack, seed)
    for images in (scaled, evaluated):
        if norm == "linf":
            assert np.mean(np.abs(images - expected) > 0.01) < 0.05
        else:
            moved, reference = images - batch["images"], expected - batch["images"]
            assert tf.norm(moved - reference) < 0.05 * tf.norm(reference)


def test_gradients_that_overflow_move_no_pixel():
    """A scale that no float16 holds: the attack stays where it is, and no pixel is infinite or not a number."""
    recipe = small_recipe(attack__random_start=False)
    model, scale = build_model(recipe.network, 10, recipe.branches), LossScale()
    scale.value.assign(2.0**40)
    term = recipe.attacking_terms[0]
    images = make_objective(model, recipe, [term], scale)._term_images(term, batch_of(), tf.constant([1, 2]))
    np.testing.assert_array_equal(images, batch_of()["images"])


def test_the_evaluations_gradient_does_not_vanish():
    """A loss of 1e-5 at the logits: float16 ends at 6e-8, and its gradients at the images are far below."""
    recipe = small_recipe()
    model = build_model(recipe.network, 10, recipe.branches)
    confident = tf.one_hot(tf.zeros(8, tf.int32), 10)
    model.classifier.bias.assign(12.0 * confident[0])
    loss_fn = attack_loss(logits_through(model, "main"), confident, AttackSpec(), tf.constant([1, 2]))
    with tf.GradientTape() as tape:
        images = batch_of()["images"]
        tape.watch(images)
        loss = loss_fn(images)
    gradient = tape.gradient(loss, images)
    assert float(tf.reduce_max(loss)) < 1e-3
    assert np.mean(gradient != 0) > 0.9


def test_the_mean_of_more_values_than_float16_counts_has_a_gradient():
    images = tf.fill([1, 256, 256, 1], tf.constant(2.0, tf.float16))
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = 1024.0 * tf.cast(spatial_means(images)[0, 0], tf.float32)
    assert float(loss) == 2048.0
    np.testing.assert_array_equal(tape.gradient(loss, images), tf.fill(images.shape, 2.0**-6))

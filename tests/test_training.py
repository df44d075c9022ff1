"""Step and loop: replicas, retracing, XLA, exact resume, stopping, values that are not finite."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import Network
from efficientnet_advprop.models.weights import open_weights
from efficientnet_advprop.recipes import (
    SCHEMES,
    Phase,
    Recipe,
    RecipeError,
    Scheme,
    TermWeights,
    WeightsRecord,
    named_recipe,
)
from efficientnet_advprop.training.checkpoints import Checkpoints, find
from efficientnet_advprop.training.interruption import Interrupted, StopRequest
from efficientnet_advprop.training.loop import make_step_loop, train
from efficientnet_advprop.training.step import make_replica_step
from tests.small import new_state, one_cpu, small_recipe, train_iterator, values
from tpu_utils import lower_to_hlo

pytestmark = pytest.mark.usefixtures("two_blocks")

# The order of the images is the only randomness left, so replicas can equal a single device.
DETERMINISTIC = {
    "network__dropout_rate": 0.0,
    "network__survival_prob": 1.0,
    "attack__random_start": False,
    "optimizer__lr_warmup_epochs": 0.0,
}


class Recorder:
    """A callback that records all values."""

    def __init__(self):
        self.trained, self.evaluated = [], []

    def train_values(self, step, values):
        self.trained.append((step, values))

    def eval_values(self, step, values):
        self.evaluated.append((step, values))


def checkpoints_of(state, recipe: Recipe, model_dir) -> Checkpoints:
    record = WeightsRecord(recipe, tuple("0123456789"))
    return Checkpoints(state, record, str(model_dir), str(model_dir), recipe.cadence.keep_checkpoint_max)


def run_training(recipe: Recipe, model_dir, state=None, evaluate=None, last_evaluated_step=0, **stopping):
    strategy = one_cpu()
    state = state or new_state(recipe, strategy)
    checkpoints = checkpoints_of(state, recipe, model_dir)
    checkpoints.restore_latest()
    recorder = Recorder()
    train(
        state,
        recipe,
        strategy,
        lambda start: train_iterator(recipe, strategy, start),
        checkpoints,
        evaluate,
        last_evaluated_step,
        [recorder],
        **{"stop_signal": lambda: None, **stopping},
    )
    return state, recorder


def run_steps(recipe: Recipe, strategy: tf.distribute.Strategy, num_steps: int):
    state = new_state(recipe, strategy)
    loop = make_step_loop(state, recipe, strategy, recipe.phases[0].terms, num_steps)
    loop.run(train_iterator(recipe, strategy), tf.constant(num_steps))
    return state, loop.metrics.take()[0]


def test_two_replicas_with_synchronised_statistics_equal_one_device(two_replicas):
    """Losses, weights, averages and statistics after three steps.

    Sums over the batch have another order, so values agree up to float32 rounding. Adam, and the sign in the attack,
    would turn the rounding of near-zero gradients into whole steps, hence SGD and only three steps.
    """
    recipe = small_recipe(
        network__sync_batch_norm=True,
        optimizer__optimizer="momentum",
        optimizer__base_learning_rate=0.5,
        **DETERMINISTIC,
    )
    single, single_metrics = run_steps(recipe, one_cpu(), 3)
    double, double_metrics = run_steps(recipe, two_replicas, 3)
    fresh = values(new_state(recipe, one_cpu()).model)
    for kind in ("model", "average_model"):
        ours, theirs = values(getattr(single, kind)), values(getattr(double, kind))
        for path in ours:
            np.testing.assert_allclose(theirs[path], ours[path], rtol=2e-3, atol=2e-5, err_msg=path)
    moved = sum(not np.array_equal(fresh[path], value) for path, value in values(single.model).items())
    assert moved == len(fresh)
    for name in single_metrics:
        if name != "gradient_norm":  # each replica's own
            assert double_metrics[name] == pytest.approx(single_metrics[name], rel=1e-4), name


def test_micro_batches_on_two_replicas_equal_one_device(two_replicas):
    """Four micro-batches in both cases: two on each of two replicas, or four on one device.

    Moving statistics differ, because they are updated once per micro-batch.
    """
    changes = {"optimizer__optimizer": "momentum", "optimizer__base_learning_rate": 0.5, **DETERMINISTIC}
    single, single_metrics = run_steps(small_recipe("vanilla", micro_batches=4, **changes), one_cpu(), 1)
    double, double_metrics = run_steps(small_recipe("vanilla", micro_batches=2, **changes), two_replicas, 1)
    ours, theirs = values(single.model), values(double.model)
    for path in ours:
        if "moving" not in path:
            np.testing.assert_allclose(theirs[path], ours[path], rtol=1e-3, atol=1e-5, err_msg=path)
    assert double_metrics["loss/clean"] == pytest.approx(single_metrics["loss/clean"], rel=1e-4)


@pytest.mark.parametrize("decay_batch_norm", [False, True])
def test_batch_norms_decay_on_request_alone(decay_batch_norm):
    """Through the loss, and decoupled in adamw, where an update without gradient shrinks the decayed variables."""
    changes = {"optimizer__decay_batch_norm": decay_batch_norm, "optimizer__weight_decay": 0.1}
    recipe = small_recipe(**changes)
    state = new_state(recipe, one_cpu())
    decayed = state.model.trainable_variables if decay_batch_norm else state.model.decayed_variables()
    expected = 0.1 * sum(float(tf.nn.l2_loss(variable)) for variable in decayed)
    step, _ = make_replica_step(state, recipe, recipe.phases[0].terms, 1)
    metrics = step({"images": tf.fill((4, 16, 16, 3), 100.0), "labels": tf.one_hot([0, 1, 2, 3], 10)})
    assert float(metrics["loss/weight_decay"]) == pytest.approx(expected, rel=1e-5)

    constant = {"optimizer__lr_schedule": "constant", "optimizer__lr_warmup_epochs": 0.0}
    state = new_state(small_recipe(optimizer__optimizer="adamw", **constant, **changes), one_cpu())
    before = values(state.model)
    state.optimizer.apply_gradients([(tf.zeros(v.shape), v) for v in state.model.trainable_variables])
    gammas = [path for path in before if path.endswith("gamma")]
    shrunk = {path: bool((state.model.weights_by_path()[path].numpy() < before[path]).all()) for path in gammas}
    assert set(shrunk.values()) == {decay_batch_norm}


def test_a_resnet_trains_with_its_own_recipe():
    """Two weighted terms, SGD with the step schedule and decay of all variables, through the loop."""
    recipe = dataclasses.replace(
        small_recipe(network__name="resnet-50", network__width_coefficient=0.125, attack__num_steps=2),
        optimizer=named_recipe("resnet-50", "imagenet", "advprop").optimizer,
        term_weights=TermWeights(0.5, 0.5),
    )
    state, metrics = run_steps(recipe, one_cpu(), 2)
    assert state.step == 2
    assert all(np.isfinite(value) for value in metrics.values())
    assert state.learning_rate() == pytest.approx(0.1 * 8 / 256)


def test_replicas_draw_different_noise(two_replicas):
    recipe = small_recipe(network__dropout_rate=0.0)
    strategy = two_replicas
    state = new_state(recipe, strategy)
    images, labels = tf.fill((4, 16, 16, 3), 100.0), tf.one_hot([0, 1, 2, 3], 10)
    seen = []  # in the order of the replicas; each traces the step
    call = type(state.model).call

    def spy(model, images, **kwargs):
        if kwargs.get("branch") == "auxiliary" and kwargs.get("training"):
            seen.append(images)
        return call(model, images, **kwargs)

    state.model.call = spy.__get__(state.model)
    step, _ = make_replica_step(state, recipe, recipe.phases[0].terms, 2)

    @tf.function(autograph=False)
    def run():
        strategy.run(step, args=({"images": images, "labels": labels},))
        return seen

    first, second = run()
    assert not np.array_equal(first, second)
    assert np.abs(first - images).max() <= 1


def test_the_loop_is_traced_once_for_any_number_of_steps():
    recipe, strategy = small_recipe(), one_cpu()
    state = new_state(recipe, strategy)
    loop = make_step_loop(state, recipe, strategy, recipe.phases[0].terms, 100)
    iterator = train_iterator(recipe, strategy)
    for num_steps in (1, 3, 2):
        loop.run(iterator, tf.constant(num_steps))
    assert loop.run.experimental_get_tracing_count() == 1
    assert state.step == 6


def test_a_forgotten_seed_stops_the_step(two_blocks, monkeypatch):
    """A seed that the network draws, as in Keras' `fit`, would be another one after a resume."""
    recipe = small_recipe(network__dropout_rate=0.2)
    state = new_state(recipe, tf.distribute.get_strategy())
    step, _ = make_replica_step(state, recipe, recipe.phases[0].terms, 1)
    batch = next(train_iterator(recipe, one_cpu()))
    batch = {name: batch[name] for name in ("images", "labels")}
    given = Network._seed
    monkeypatch.setattr(Network, "_seed", lambda self, training, seed: given(self, training, None))
    with pytest.raises(ValueError, match="lacks a seed"):
        tf.function(step)(batch)


def test_the_official_step_with_all_its_randomness_lowers_to_xla():
    """RMSProp, dropout, drop connect, random start: a TPU can run every operation."""
    recipe = small_recipe(
        optimizer__optimizer="rmsprop", network__survival_prob=0.8, attack__num_steps=3, attack__target="random"
    )
    state = new_state(recipe, tf.distribute.get_strategy())
    step, _ = make_replica_step(state, recipe, recipe.phases[0].terms, 1)
    batch = next(train_iterator(recipe, one_cpu()))
    batch = {name: batch[name] for name in ("images", "labels")}
    program = lower_to_hlo(step, batch)
    assert "while" in program
    assert "convolution" in program
    assert program.count(" opt-barrier(") == 1  # between the passes, which control dependencies do not order under XLA
    graph = tf.function(step).get_concrete_function(batch).graph
    assert not [op for op in graph.get_operations() if "Barrier" in op.type]


def test_the_step_compiles_under_xla_with_the_same_updates():
    """Static shapes, as a TPU needs them, in the loop of the attack too. One device, two blocks, PGD2, 16 px."""
    recipe = small_recipe(attack__num_steps=2, attack__epsilon_px=2.0, optimizer__optimizer="momentum", **DETERMINISTIC)
    after = {}
    for jit_compile in (False, True):
        state = new_state(recipe, tf.distribute.get_strategy())
        step, _ = make_replica_step(state, recipe, recipe.phases[0].terms, 1)
        batch = next(train_iterator(recipe, one_cpu()))
        losses = tf.function(step, jit_compile=jit_compile)({name: batch[name] for name in ("images", "labels")})
        after[jit_compile] = values(state.model), losses
    for name, loss in after[False][1].items():
        np.testing.assert_allclose(after[True][1][name], loss, rtol=1e-3, err_msg=name)
    for path, value in after[False][0].items():
        np.testing.assert_allclose(after[True][0][path], value, rtol=1e-3, atol=1e-4, err_msg=path)


def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    """Weights, averages, optimizer slots, statistics; with dropout, drop connect and random starts."""
    recipe = small_recipe(train_steps=8, cadence__iterations_per_loop=2, network__survival_prob=0.8)
    whole, whole_recorder = run_training(recipe, tmp_path / "whole")

    signals = iter([None, signal.SIGTERM])  # stops after the first loop
    with pytest.raises(Interrupted) as stopped:
        run_training(recipe, tmp_path / "parts", stop_signal=lambda: next(signals))
    assert stopped.value.step == 1
    parts, parts_recorder = run_training(recipe, tmp_path / "parts")

    assert whole.step == parts.step == 8
    for kind in ("model", "average_model"):
        ours, theirs = values(getattr(whole, kind)), values(getattr(parts, kind))
        for path in ours:
            np.testing.assert_array_equal(theirs[path], ours[path], err_msg=path)
    for ours, theirs in zip(whole.optimizer.variables, parts.optimizer.variables, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    assert parts_recorder.trained == whole_recorder.trained[1:]


def test_sigterm_saves_and_says_where(tmp_path):
    recipe = small_recipe("vanilla", train_steps=50, cadence__iterations_per_loop=1)
    previous = signal.getsignal(signal.SIGTERM)

    class Killer(Recorder):
        def train_values(self, step, values):
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    state, strategy = new_state(recipe, one_cpu()), one_cpu()
    checkpoints = checkpoints_of(state, recipe, tmp_path)
    with StopRequest() as stop, pytest.raises(Interrupted, match="SIGTERM at step 3") as stopped:
        train(
            state,
            recipe,
            strategy,
            lambda start: train_iterator(recipe, strategy, start),
            checkpoints,
            None,
            0,
            [Killer()],
            lambda: stop.signal_number,
        )
    assert stopped.value.signal_number == signal.SIGTERM
    assert tf.train.latest_checkpoint(str(tmp_path / "checkpoints")).endswith("step-3")
    assert signal.getsignal(signal.SIGTERM) == previous


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    """Only the adversarial term is not finite: the error names it and the steps, and the last checkpoint stays."""
    recipe = small_recipe(train_steps=8, cadence__iterations_per_loop=2, cadence__steps_per_eval=4)
    state = new_state(recipe, one_cpu())

    def set_to_nan() -> dict[str, float]:
        for variable in state.model.branch_variables("auxiliary"):
            variable.assign(tf.fill(variable.shape, np.nan))
        return {"top1_main": 0.5}

    with pytest.raises(FloatingPointError, match=r"not finite in steps 5 to 6: loss/adversarial, gradient_norm"):
        run_training(recipe, tmp_path, state, evaluate=set_to_nan)
    again = new_state(recipe, one_cpu())
    assert checkpoints_of(again, recipe, tmp_path).restore_latest() == 4
    assert all(np.isfinite(value).all() for value in values(again.model).values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    recipe = small_recipe()
    state = new_state(recipe, one_cpu())
    state.model.branch_variables("main")[0].assign(tf.fill(state.model.branch_variables("main")[0].shape, np.inf))
    with pytest.raises(FloatingPointError, match=r"norms\.main"):
        checkpoints_of(state, recipe, tmp_path).save()
    assert tf.train.latest_checkpoint(str(tmp_path / "checkpoints")) is None


def test_evaluations_checkpoints_and_the_best_one(tmp_path):
    cadence = {"cadence__iterations_per_loop": 5, "cadence__steps_per_eval": 2, "cadence__keep_checkpoint_max": 2}
    recipe = small_recipe("vanilla", train_steps=7, **cadence)
    accuracies = iter([0.3, 0.6, 0.6, 0.5])
    state, recorder = run_training(recipe, tmp_path, evaluate=lambda: {"top1_main": next(accuracies)})
    assert [step for step, _ in recorder.trained] == [1, 2, 4, 5, 6, 7]
    assert recorder.evaluated == [
        (2, {"top1_main": 0.3}),
        (4, {"top1_main": 0.6}),
        (6, {"top1_main": 0.6}),
        (7, {"top1_main": 0.5}),
    ]
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("*.index"))
    assert kept == ["step-6.index", "step-7.index"]
    assert [path.name for path in (tmp_path / "best").glob("*.index")] == ["step-4.index"]
    assert [open_weights(find(str(tmp_path), which)).step for which in ("best", "last")] == [4, 7]
    checkpoints = checkpoints_of(new_state(recipe, one_cpu()), recipe, tmp_path)
    assert not checkpoints.save_if_best({"top1_main": 0.6})
    assert state.learning_rate() == recorder.trained[-1][1]["learning_rate"]


def test_an_evaluation_missed_by_a_killed_process_is_run_on_resume(tmp_path):
    recipe = small_recipe("vanilla", train_steps=4, cadence__iterations_per_loop=2, cadence__steps_per_eval=2)

    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(recipe, tmp_path, evaluate=killed)
    _, recorder = run_training(recipe, tmp_path, evaluate=lambda: {"top1_main": 0.5})
    assert [step for step, _ in recorder.evaluated] == [2, 4]
    _, recorder = run_training(recipe, tmp_path, evaluate=lambda: {"top1_main": 0.5}, last_evaluated_step=4)
    assert (recorder.trained, recorder.evaluated) == ([], [])


def test_a_damaged_or_foreign_checkpoint_is_one_clear_error(tmp_path):
    recipe = small_recipe(train_steps=1)
    checkpoints_of(new_state(recipe, one_cpu()), recipe, tmp_path).save()
    wider = small_recipe(train_steps=1, network__width_coefficient=0.5)
    vanilla = small_recipe("vanilla", train_steps=1)
    folder = str(tmp_path)
    with pytest.raises(RecipeError, match="is of another network"):
        checkpoints_of(new_state(wider, one_cpu()), wider, folder).restore_latest()
    # A network with fewer branches finds all its variables in the file, but the optimizer's slots differ.
    with pytest.raises(RecipeError, match="is of another network"):
        checkpoints_of(new_state(vanilla, one_cpu()), vanilla, folder).restore_latest()
    data = next((tmp_path / "checkpoints").glob("*.data-*"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(RecipeError, match="cannot be read"):
        checkpoints_of(new_state(recipe, one_cpu()), recipe, folder).restore_latest()
    with pytest.raises(RecipeError, match="no checkpoint in"):
        find(folder, "best")


def test_phases_switch_their_terms_at_their_epoch(tmp_path, monkeypatch):
    """A scheme of two phases: adversarial images until epoch 0.01 (two steps), then clean images."""

    def two_phases(settings):
        (advprop,) = SCHEMES["advprop"].phases(settings)
        clean, adversarial = advprop.terms
        return (Phase(0.01, (dataclasses.replace(adversarial, branch="main"),)), Phase(None, (clean,)))

    monkeypatch.setitem(SCHEMES, "two_phases", Scheme("two_phases", "this test", two_phases))
    recipe = dataclasses.replace(small_recipe(train_steps=4), scheme="two_phases")
    _, recorder = run_training(recipe, tmp_path)
    assert [
        (step, sorted(name for name in values if name.startswith("loss/"))) for step, values in recorder.trained
    ] == [
        (1, ["loss/adversarial", "loss/weight_decay"]),
        (2, ["loss/adversarial", "loss/weight_decay"]),
        (4, ["loss/clean", "loss/weight_decay"]),
    ]

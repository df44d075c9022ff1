"""Every scheme on a tiny network: which images change which statistics, and whole runs."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import CLEAN, KL_FROM_CLEAN, SCHEMES, AttackSpec, Recipe, override
from efficientnet_advprop.training import objective as objectives
from efficientnet_advprop.training.interruption import Interrupted
from efficientnet_advprop.training.losses import TERM_LOSSES
from efficientnet_advprop.training.step import OBJECTIVES, make_objective
from tests.small import assert_equal_values, small_recipe, values
from tests.test_training import run_training

SEED = tf.constant([1, 2])

PHASES = [(scheme, index) for scheme in SCHEMES for index in range(len(small_recipe(scheme).phases))]
OF_TERMS = [pair for pair in PHASES if SCHEMES[pair[0]].objective == "terms"]

pytestmark = pytest.mark.usefixtures("two_blocks")


@pytest.fixture
def batch() -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(0)
    images = rng.uniform(40, 200, (8, 16, 16, 3))
    return {
        "images": tf.constant(images, tf.float32),
        "images_augmented": tf.constant(255 - images, tf.float32),
        "labels": tf.one_hot(rng.integers(0, 10, 8), 10),
    }


def tiny_recipe(scheme: str, **changes: object) -> Recipe:
    return small_recipe(scheme, network__dropout_rate=0.0, **changes)


def three_branches(recipe: Recipe) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(0)
    return build_model(recipe.network, 10, ("main", "augmented", "auxiliary"))


def after_a_step(recipe: Recipe, phase: int, batch: dict[str, tf.Tensor]) -> tf.keras.Model:
    model = three_branches(recipe)
    make_objective(model, recipe, recipe.phases[phase].terms).gradients(batch, SEED)
    return model


def moved_branches(before: tf.keras.Model, after: tf.keras.Model) -> set[str]:
    """Branches with a difference in their moving statistics."""
    ours, theirs = values(before), values(after)
    return {
        branch
        for branch in before.branches
        for path in ours
        if f".norms.{branch}.moving" in path and not np.array_equal(ours[path], theirs[path])
    }


def stem_mean(model: tf.keras.Model, branch: str) -> np.ndarray:
    return values(model)[f"stem.norm.norms.{branch}.moving_mean"]


@pytest.mark.parametrize(("scheme", "phase"), PHASES)
def test_all_names_of_a_scheme_exist(scheme, phase):
    """The objective, the losses of the terms, and the clean term of the same pass for `KL_FROM_CLEAN`."""
    assert scheme == SCHEMES[scheme].name
    assert SCHEMES[scheme].objective in OBJECTIVES
    terms = tiny_recipe(scheme).phases[phase].terms
    assert {term.loss for term in terms} <= set(TERM_LOSSES)
    clean = {(term.view, term.branch) for term in terms if term.name == CLEAN and term.attack is None}
    assert {(term.view, term.branch) for term in terms if term.loss == KL_FROM_CLEAN} <= clean


@pytest.mark.parametrize(("scheme", "phase"), PHASES)
def test_a_scheme_changes_only_the_statistics_of_its_branches(scheme, phase, batch):
    recipe = tiny_recipe(scheme)
    used = {term.branch for term in recipe.phases[phase].terms}
    assert moved_branches(three_branches(recipe), after_a_step(recipe, phase, batch)) == used


@pytest.mark.parametrize(("scheme", "phase"), OF_TERMS)
def test_a_shift_of_the_adversarial_images_changes_only_their_branch(scheme, phase, batch, monkeypatch):
    recipe = tiny_recipe(scheme)
    plain = after_a_step(recipe, phase, batch)
    perturb = objectives.perturb
    monkeypatch.setattr(objectives, "perturb", lambda *arguments: perturb(*arguments) + 50.0)
    shifted = after_a_step(recipe, phase, batch)
    attacked = {term.branch for term in recipe.phases[phase].terms if term.attack}
    assert moved_branches(plain, shifted) == attacked


@pytest.mark.parametrize("scheme", ["joint", "trades"])
def test_joint_training_is_batch_norm_over_both_halves(batch, scheme):
    """The stem's moving mean equals that of one call on the concatenation of clean and adversarial images."""
    recipe = tiny_recipe(scheme, attack__epsilon_px=40.0, attack__step_size_px=40.0)
    model, reference = after_a_step(recipe, 0, batch), three_branches(recipe)
    objective = make_objective(three_branches(recipe), recipe, recipe.phases[0].terms)
    (terms,) = objective._passes.values()
    pass_seed = objectives.fold(SEED, 0)
    clean, adversarial = (
        objective._term_images(term, batch, objectives.fold(pass_seed, index)) for index, term in enumerate(terms)
    )
    assert np.abs(adversarial - clean).max() > 30
    reference(tf.concat([clean, adversarial], 0), training=True, branch="main", seed=SEED)
    assert_equal_values(values(reference), values(model), rtol=1e-6)


def test_the_attack_of_one_branch_goes_through_it_with_running_statistics(batch, monkeypatch):
    """In joint and adversarial training the attack uses the batch norms that the images then train.

    TRADES computes the clean predictions through them first.
    """
    called = []
    network = type(three_branches(tiny_recipe("joint")))
    call = network.call

    def spy(model, images, **arguments):
        called.append((arguments["training"], arguments["branch"], arguments.get("statistics")))
        return call(model, images, **arguments)

    monkeypatch.setattr(network, "call", spy)
    for scheme in ("adversarial", "joint"):
        called.clear()
        after_a_step(tiny_recipe(scheme), 0, batch)
        assert called == [(False, "main", "running"), (True, "main", None)]
    called.clear()
    after_a_step(tiny_recipe("trades"), 0, batch)
    assert called == [(False, "main", "running"), (False, "main", "running"), (True, "main", None)]


def test_fine_grained_gives_each_branch_its_own_view(batch):
    """The main branch and the attack get the images without augmentation, the augmented branch those with it."""
    recipe = tiny_recipe("fine_grained", attack__method="none", attack__random_start=False)
    model = after_a_step(recipe, 0, batch)
    np.testing.assert_array_equal(stem_mean(model, "auxiliary"), stem_mean(model, "main"))
    reference = three_branches(recipe)
    reference(batch["images_augmented"], training=True, branch="augmented", seed=SEED)
    np.testing.assert_array_equal(stem_mean(model, "augmented"), stem_mean(reference, "augmented"))
    assert not np.allclose(stem_mean(model, "augmented"), stem_mean(model, "main"))


def test_without_perturbation_the_second_branch_gets_the_clean_images(batch):
    """The ablation of AdvProp that keeps the auxiliary batch norms without an attack."""
    model = after_a_step(tiny_recipe("advprop", attack__method="none"), 0, batch)
    ours = values(model)
    for path in ours:
        if ".norms.main.moving" in path:
            np.testing.assert_array_equal(ours[path.replace(".main.", ".auxiliary.")], ours[path], err_msg=path)
    assert AttackSpec("none").summary() == "no perturbation"


def test_every_variable_is_of_one_part(batch):
    model = three_branches(tiny_recipe("fine_grained"))
    parts = model.partition()
    assert list(parts) == ["shared", "main", "augmented", "auxiliary"]
    ids = [id(variable) for variables in parts.values() for variable in variables]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(variable) for variable in model.weights_by_path().values()}
    by_id = {id(variable): path for path, variable in model.weights_by_path().items()}
    for part, variables in parts.items():
        owners = {by_id[id(variable)].split(".norms.")[1].split(".")[0] for variable in variables if part != "shared"}
        assert owners == ({part} if part != "shared" else set())
    assert not [variable for variable in parts["shared"] if ".norms." in by_id[id(variable)]]


def test_adversarial_then_clean_resumes_across_the_switch_bit_for_bit(tmp_path):
    """Six steps with the switch after the third; interrupted before, at and after the switch."""
    recipe = small_recipe("adversarial_then_clean", train_steps=6, cadence__iterations_per_loop=1)
    recipe = override(recipe, {"network.survival_prob": 0.8})
    whole, recorder = run_training(recipe, tmp_path / "whole")
    terms = [[name for name in means if name.startswith("top1/")] for _, means in recorder.trained]
    assert terms == [["top1/adversarial"]] * 3 + [["top1/clean"]] * 3

    for loops in (2, 1, 2):  # stopped at steps 2, 3 and 5
        signals = iter([None] * loops + [15])
        with pytest.raises(Interrupted):
            run_training(recipe, tmp_path / "parts", stop_signal=lambda signals=signals: next(signals))
    parts, last_recorder = run_training(recipe, tmp_path / "parts")
    assert last_recorder.trained == recorder.trained[5:]
    for kind in ("model", "average_model"):
        assert_equal_values(values(getattr(parts, kind)), values(getattr(whole, kind)), rtol=0, atol=0)
    for ours, theirs in zip(whole.optimizer.variables, parts.optimizer.variables, strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_fast_advprop_trains_through_the_loop_and_resumes(tmp_path):
    recipe = small_recipe("fast_advprop", train_steps=4, cadence__iterations_per_loop=2)
    whole, recorder = run_training(recipe, tmp_path / "whole")
    assert {"loss/clean", "loss/noise", "loss/adversarial", "loss/weight_decay"} < set(recorder.trained[0][1])
    signals = iter([None, 15])
    with pytest.raises(Interrupted):
        run_training(recipe, tmp_path / "parts", stop_signal=lambda: next(signals))
    parts, _ = run_training(recipe, tmp_path / "parts")
    assert_equal_values(values(parts.average_model), values(whole.average_model), rtol=0, atol=0)


def test_the_best_checkpoint_is_that_of_the_branch_asked_for(tmp_path):
    changes = {"train_steps": 4, "cadence__iterations_per_loop": 2, "cadence__steps_per_eval": 2}
    recipe = small_recipe(cadence__eval_branch="auxiliary", **changes)
    results = iter([{"top1_main": 0.3, "top1_auxiliary": 0.6}, {"top1_main": 0.5, "top1_auxiliary": 0.4}])
    run_training(recipe, tmp_path, evaluate=lambda: next(results))
    assert [path.name for path in (tmp_path / "best").glob("*.index")] == ["step-2.index"]
    assert (tmp_path / "best" / "best.json").read_text() == '{"step": 2, "top1_auxiliary": 0.6}\n'

"""Images of a user's own: the recipe that fits them, a frozen backbone, and runs that go on as recorded."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies

import flags
import main
from efficientnet_advprop.evaluation import ResultsFile
from efficientnet_advprop.models.weights import open_weights
from efficientnet_advprop.modes.recorded import began_with
from efficientnet_advprop.modes.study import trial_folder
from efficientnet_advprop.recipes import (
    SCHEMES,
    DataFacts,
    Phase,
    WeightsFacts,
    differences,
    from_json,
    named_recipe,
    override,
    recipe_for,
    to_json,
)
from efficientnet_advprop.recipes.own_images import batch_size_for
from efficientnet_advprop.recipes.terms import with_frozen_start
from efficientnet_advprop.training import run_folder
from efficientnet_advprop.training.loop import make_step_loop
from tests.command_line import refused, run, run_main, set_flags
from tests.small import new_state, one_cpu, small_recipe, train_iterator, values
from tests.studies import finished

B0 = "efficientnet-b0"
THOUSAND = {"data.num_train_images": 1000}
pytestmark = pytest.mark.usefixtures("few_blocks")

TINY = ("--width_coefficient=0.25", "--depth_coefficient=0.2", "--input_image_size=16")


def of_imagenet(of_other_classes=True, recipe=None):
    return WeightsFacts("w", {"network.name": B0}, 1000, recipe, of_other_classes=of_other_classes)


@pytest.mark.parametrize(
    ("images", "weights", "batch", "steps", "optimizer"),
    [
        (200, of_imagenet(), 16, 500, "momentum"),
        (1_000, of_imagenet(), 64, 500, "momentum"),
        (20_000, of_imagenet(), 256, 10_000, "momentum"),
        (499_999, of_imagenet(), 256, 10_000, "momentum"),
        (500_000, of_imagenet(), 256, 20_000, "momentum"),
        (200, of_imagenet(of_other_classes=False), 16, 500, "momentum"),
        (1_281_167, of_imagenet(of_other_classes=False), 2048, 218_949, "rmsprop"),
        (200, None, 16, 2_000, "rmsprop"),
        (99_999, None, 256, 39_062, "rmsprop"),
        (100_000, None, 2048, 17_089, "rmsprop"),
        (None, of_imagenet(), 2048, 218_949, "rmsprop"),
        (None, None, 2048, 218_949, "rmsprop"),
    ],
)
def test_number_of_images_and_weights_choose_the_recipe(images, weights, batch, steps, optimizer):
    given = {} if images is None else {"data.num_train_images": images}
    recipe = override(recipe_for(B0, "imagenet", "advprop", given, weights), given)
    assert (recipe.train_batch_size, recipe.total_steps, recipe.optimizer.optimizer) == (batch, steps, optimizer)
    recipe.validate()
    assert from_json(to_json(recipe)) == recipe


@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
def test_a_data_set_with_a_recipe_of_its_own_keeps_it_without_weights_of_other_classes(dataset):
    named = named_recipe(B0, dataset, "advprop")
    count = {"data.num_train_images": named.data.num_train_images}
    assert recipe_for(B0, dataset, "advprop", count) == named
    assert recipe_for(B0, dataset, "advprop", count, of_imagenet(of_other_classes=False)) == named
    tuned = recipe_for(B0, dataset, "advprop", count, of_imagenet())
    assert tuned.optimizer.optimizer == "momentum" and tuned.data.train_crop == named.data.train_crop


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_fine_tuned_with_a_mean_of_cross_entropies(scheme):
    recipe = override(recipe_for(B0, "imagenet", scheme, THOUSAND, of_imagenet()), THOUSAND)
    recipe.validate()
    if SCHEMES[scheme].weights == named_recipe(B0, "imagenet", "vanilla").term_weights:
        assert all(sum(term.weight for term in phase.terms) == pytest.approx(1) for phase in recipe.phases)
    assert recipe.data.augment_name == ("autoaugment" if scheme == "fine_grained" else "none")


def test_weights_of_a_run_bring_their_network_and_crops():
    trained = small_recipe(network__stem_strides=1)
    recipe = recipe_for(B0, "imagenet", "advprop", THOUSAND, of_imagenet(recipe=trained))
    assert recipe.network.input_image_size == 16 and recipe.network.stem_strides == 1
    assert (recipe.data.train_crop, recipe.data.eval_crop) == ("pad_and_crop", "none")
    assert recipe.data.flip is trained.data.flip


@settings(deadline=None)
@given(strategies.integers(1, 10_000_000))
def test_a_batch_is_a_power_of_two_and_an_epoch_has_eight_steps(images):
    batch = batch_size_for(images)
    assert batch & (batch - 1) == 0 and 8 <= batch <= 256
    assert batch == 8 or images // batch >= 8
    assert batch == 256 or images // (2 * batch) < 8


def test_the_momentum_of_batch_norms_is_that_of_kornblith():
    def momentum(images):
        given = {"data.num_train_images": images}
        return recipe_for(B0, "imagenet", "vanilla", given, of_imagenet()).network.batch_norm_momentum

    assert momentum(1_000) == 0.9
    assert momentum(51_200) == pytest.approx(1 - 10 / 200)


PHASES = strategies.lists(strategies.floats(0.5, 20), max_size=3, unique=True).map(
    lambda ends: (*(Phase(end, ()) for end in sorted(ends)), Phase(None, ()))
)


@settings(deadline=None)
@given(PHASES, strategies.floats(0.25, 25))
def test_a_frozen_start_covers_its_epochs_and_changes_no_other(phases, until):
    def at(phases, epoch):
        return next(phase for phase in phases if phase.until_epoch is None or epoch < phase.until_epoch)

    frozen = with_frozen_start(phases, until)
    ends = [phase.until_epoch for phase in frozen if phase.until_epoch is not None]
    assert ends == sorted(set(ends)) and until in ends
    for epoch in np.linspace(0, 30, 61):
        assert at(frozen, epoch).classifier_only == (epoch < until)
        assert at(frozen, epoch).terms is at(phases, epoch).terms
    assert with_frozen_start(phases, 0) == phases


@pytest.mark.usefixtures("two_blocks")
@pytest.mark.parametrize("scheme", ["advprop", "fast_advprop"])
def test_frozen_steps_change_the_classifier_alone(scheme):
    recipe, strategy = small_recipe(scheme, optimizer__lr_warmup_epochs=0.0, train_batch_size=8), one_cpu()
    state = new_state(recipe, strategy)
    before = values(state.model)
    loop = make_step_loop(state.with_frozen_backbone(), recipe, strategy, recipe.phases[0].terms, 2)
    loop.run(train_iterator(recipe, strategy), tf.constant(2))
    changed = {path for path, value in values(state.model).items() if not np.array_equal(value, before[path])}
    assert changed == {"classifier.kernel", "classifier.bias"}
    assert state.step == 2


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Twelve training and four evaluation images of each of two classes, which differ in colour."""
    folder = tmp_path_factory.mktemp("flowers")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for channel, name in enumerate(("rose", "iris")):
            place = folder / split / name
            place.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 100, (16, 16, 3))
                pixels[:, :, channel] += 150
                (place / f"{index}.png").write_bytes(tf.io.encode_png(pixels.astype(np.uint8)).numpy())
    return str(folder)


@pytest.fixture(scope="module")
def digits_weights(tmp_path_factory):
    """Two steps of a narrow network on digits."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_main("--mode=train", f"--model={B0}", *TINY, "--train_steps=2", f"--model_dir={folder}")
    return str(folder)


def test_weights_and_own_images_need_no_other_flag(flowers, digits_weights, tmp_path, capsys):
    """The recipe is printed, works to the end, and the run goes on without a flag that chose it."""
    command = (f"--init_checkpoint={digits_weights}", f"--data_dir={flowers}", "--advprop", f"--model_dir={tmp_path}")
    out, _ = run("--mode=train", *command, "--train_steps=3", capsys=capsys)
    assert re.search(r"^recipe: fine-tuning: .*Kornblith", out, re.M)
    assert re.search(r"^  .*--train_batch_size=8 ", out, re.M)
    assert "not loaded, for another number of classes (2 here)" in out
    recorded = run_folder.recorded_recipe(str(tmp_path))
    assert recorded.network.width_coefficient == 0.25 and recorded.total_steps == 3
    printed = " ".join(line.strip() for line in out.splitlines() if line.startswith("  --"))
    given_flags = [flag for flag in printed.split() if not flag.startswith(("--train_steps", "--model="))]
    out, _ = run("--mode=train", *command, f"--model={B0}", "--train_steps=3", *given_flags, capsys=capsys)
    assert "resuming at step 3 of 3" in out  # each value that was printed is a flag with that meaning
    out, _ = run("--mode=train", f"--data_dir={flowers}", f"--model_dir={tmp_path}", capsys=capsys)
    assert "resuming at step 3 of 3" in out and f"recipe: as recorded in {tmp_path}/recipe.json" in out
    assert not differences(recorded, run_folder.recorded_recipe(str(tmp_path)))
    line = refused("--mode=train", *command, "--train_steps=3", "--momentum=0.5", capsys=capsys)
    assert "optimizer.momentum: 0.9 -> 0.5" in line


def test_few_images_without_weights_start_too(flowers, tmp_path, capsys):
    out, _ = run(
        "--mode=train", f"--data_dir={flowers}", f"--model_dir={tmp_path}", *TINY, "--train_steps=1", capsys=capsys
    )
    assert re.search(r"^recipe: fewer than 100,000 images", out, re.M)
    assert json.loads((tmp_path / "recipe.json").read_text())["train_batch_size"] == 8


def test_as_many_other_classes_get_a_new_classifier(flowers, tmp_path, capsys):
    """Equal shapes do not make a classifier of roses one of cats."""
    first = ("--mode=train", *TINY, "--train_steps=2", f"--data_dir={flowers}")
    run(*first, f"--model_dir={tmp_path}/flowers", capsys=capsys)
    for split in ("train", "val"):
        for old, new in (("rose", "cat"), ("iris", "dog")):
            target = tmp_path / "pets" / split / new
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(f"{flowers}/{split}/{old}")
    still = ("--base_learning_rate=1e-30", "--train_steps=1", f"--init_checkpoint={tmp_path}/flowers")
    run("--mode=train", f"--data_dir={tmp_path}/pets", *still, f"--model_dir={tmp_path}/tuned", capsys=capsys)
    recipe = run_folder.recorded_recipe(f"{tmp_path}/tuned")
    trained, tuned, fresh = (new_state(recipe, one_cpu()).model for _ in range(3))
    open_weights(f"{tmp_path}/flowers").load(trained)
    open_weights(f"{tmp_path}/tuned").load(tuned)
    np.testing.assert_allclose(tuned.classifier.kernel, fresh.classifier.kernel)
    np.testing.assert_allclose(tuned.stem.kernel, trained.stem.kernel)


def test_epochs_of_a_frozen_backbone_are_within_the_run_of_given_weights(flowers, digits_weights, tmp_path, capsys):
    command = (f"--data_dir={flowers}", f"--model_dir={tmp_path}", "--mode=train", "--train_steps=2")
    line = refused(*command, *TINY, "--freeze_epochs=0.1", capsys=capsys)
    assert "freeze_epochs 0.1" in line and "init_checkpoint" in line
    weights = f"--init_checkpoint={digits_weights}"
    line = refused(*command, weights, "--freeze_epochs=1", capsys=capsys)
    assert "freeze_epochs 1 is not below the run's 0.66" in line
    out, _ = run(*command, weights, "--freeze_epochs=0.3", capsys=capsys)
    assert "trained to step 2" in out
    assert run_folder.recorded_recipe(str(tmp_path)).phases[0].classifier_only


def test_flags_of_a_recipe_give_it_again():
    recipe = recipe_for(B0, "imagenet", "trades", THOUSAND)
    given_values = " ".join(flags.as_flags(recipe, "train"))
    assert "--adversarial_weight=6" in given_values and "--train_epochs" not in given_values
    assert "--lr_decay_epoch=" not in given_values  # a cosine does not read it


def test_an_old_study_of_few_images_keeps_the_named_recipes(tmp_path):
    """Known by the record of a run, or by its results alone."""
    data = DataFacts("folder", 2, 24, 8)

    def trials(named):
        arguments = ("--mode=study", "--schemes=vanilla,advprop", "--data_dir=x", "--train_batch_size=8", "--seeds=1")
        return flags.study_from_flags(set_flags(*arguments), data, named).trials

    fitting, old = trials(named=False), trials(named=True)
    for name, kind, other in (("new", fitting, old), ("old", old, fitting)):
        study = tmp_path / name
        assert not began_with(kind, str(study))
        run_folder.record_recipe(trial_folder(str(study), kind[0]), kind[0].recipe)
        run_folder.write_summary(trial_folder(str(study), kind[0]), {"step": 1})
        assert began_with(kind, str(study)) and not began_with(other, str(study))
        ResultsFile(str(study)).write({kind[1].key: finished(kind[1])})
        shutil.rmtree(study / "cells")
        assert began_with(kind, str(study)) and not began_with(other, str(study))


@pytest.mark.parametrize("weights", [None, of_imagenet()])
def test_what_follows_from_length_and_batch_follows_from_the_given_ones(weights):
    def recipe_of(**given):
        changes = {"data.num_train_images": 6400, **given}
        return override(recipe_for(B0, "imagenet", "advprop", changes, weights), changes)

    short = recipe_of(train_epochs=5.0, train_batch_size=32)
    assert short.total_steps == 1000 and short.optimizer.lr_warmup_epochs == pytest.approx(0.25)
    assert short.optimizer.moving_average_decay == pytest.approx(0.99)
    assert short.network.batch_norm_momentum == pytest.approx(0.95)
    assert recipe_of(train_steps=2).optimizer.moving_average_decay == 0
    assert recipe_of(train_steps=2).cadence.steps_per_eval == 1


def test_a_run_that_lost_its_checkpoints_reads_its_initial_weights_again(flowers, digits_weights, tmp_path, capsys):
    """Its record names them: a shorter command must not train random weights in its place."""
    command = ("--mode=train", f"--data_dir={flowers}", f"--model_dir={tmp_path}/run")
    run(*command, f"--init_checkpoint={digits_weights}", "--train_steps=1", capsys=capsys)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    out, _ = run(*command, capsys=capsys)
    assert f"{digits_weights}/checkpoints" in out and "trained to step 1" in out
    assert run_folder.recorded_recipe(f"{tmp_path}/run").init_checkpoint == digits_weights
    # Without results another run may begin there.
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    out, _ = run(
        "--mode=train", f"--model_dir={tmp_path}/run", *TINY, "--dataset=digits", "--train_steps=1", capsys=capsys
    )
    assert run_folder.recorded_recipe(f"{tmp_path}/run").data.dataset == "digits"


def test_a_default_folder_needs_no_initial_weights_to_go_on(flowers, digits_weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ("--mode=train", f"--model={B0}", f"--data_dir={flowers}", "--train_steps=1")
    run(*command, f"--init_checkpoint={digits_weights}", capsys=capsys)
    out, _ = run(*command, "--init_checkpoint=/gone", capsys=capsys)
    assert "resuming at step 1 of 1" in out


@pytest.mark.parametrize("flag", ["train_batch_size=0", "train_steps=0", "train_epochs=nan", "train_epochs=0"])
@pytest.mark.parametrize("weights", [False, True])
def test_values_from_which_others_follow_are_refused_out_of_their_bounds(
    flag, weights, flowers, digits_weights, capsys
):
    given = (f"--init_checkpoint={digits_weights}",) if weights else ()
    name, _, value = flag.partition("=")
    line = refused(
        "--mode=train", f"--data_dir={flowers}", *given, f"--{flag}", "--model_dir=/nonexistent/x", capsys=capsys
    )
    assert name in line and value in line


def test_a_study_of_few_images_needs_no_batch_size(flowers, tmp_path, monkeypatch, capsys):
    """ImageNet's recipe, with which older versions began, is not even valid for them."""
    begun = []
    monkeypatch.setattr(main, "run_study", lambda trials, options, source: (begun.extend(trials), []))
    run("--mode=study", "--schemes=vanilla,advprop", f"--data_dir={flowers}", f"--model_dir={tmp_path}", capsys=capsys)
    assert {trial.recipe.train_batch_size for trial in begun} == {8}

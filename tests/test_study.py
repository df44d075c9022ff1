"""Studies: plan, observations, evaluation; a study from start to end, interrupted and continued."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
import tensorflow as tf

import flags
import tpu_utils
from efficientnet_advprop.data import eval_dataset, evaluation_images, open_source
from efficientnet_advprop.evaluation import (
    IMAGES,
    EvaluatedRun,
    Part,
    PredictionCollector,
    ResultsFile,
    compare,
    completed,
    corrupted_dataset,
    digest_over_seeds,
    has_to_be_observed,
    kept_in_memory,
    kinds_not_observed,
    loss_gradients,
    passes,
    plan_passes,
    read_observations,
    running_statistics,
    through_branches,
    write_observation,
)
from efficientnet_advprop.evaluation.corruptions import corrupt
from efficientnet_advprop.modes import benchmarks, study, training_run
from efficientnet_advprop.recipes import (
    EVALUATION_ATTACK,
    STUDY_BENCHMARKS,
    DataFacts,
    RecipeError,
    StudySpec,
    digest,
    named_recipe,
    override,
    plan,
)
from efficientnet_advprop.recipes.study_spec import attack_of_strength, lengthened
from tests.command_line import run_main, set_flags
from tests.made_up_results import EVALUATED
from tests.small import one_cpu, small_model, small_recipe
from tests.studies import LAST, finished, make_recipe

KEY = "efficientnet-b0-vanilla-seed-0"
DIGITS = DataFacts("digits", 10, 1437, 360)
TINY = (
    "--mode=study",
    "--dataset=digits",
    "--schemes=vanilla,advprop",
    "--width_coefficient=0.25",
    "--depth_coefficient=0.2",
    "--input_image_size=16",
    "--train_steps=2",
    "--train_batch_size=8",
    # Two steps of ten, a few images, at one severity of five below: nothing here is about their number.
    "--pgd_steps=2",
    "--benchmark_images=24",
)


def longer_recipe(model, scheme, changes):
    return make_recipe(model, scheme, {**changes, "train_epochs": 9.0})


def test_all_rows_of_the_first_seed_come_first():
    spec = StudySpec(("efficientnet-b0",), ("vanilla", "adversarial", "fast_advprop", "advprop"), 2, (1.0, 4.0))
    trials = plan(spec, make_recipe)
    rows = [
        "vanilla",
        "adversarial, epsilon 1",
        "adversarial, epsilon 4",
        "fast_advprop",  # one step by definition
        "advprop, epsilon 1",
        "advprop, epsilon 4",
        "vanilla, 3 passes",  # PGD1 and two training passes
        "vanilla, 7 passes",  # PGD5 and two
    ]
    assert [(trial.row, trial.recipe.seed) for trial in trials] == [(row, seed) for seed in (0, 1) for row in rows]
    assert [trial.recipe.attack.num_steps for trial in trials[4:6]] == [1, 5]
    assert [trial.has_equal_budget for trial in trials[:8]] == [False] * 6 + [True] * 2
    assert [trial.recipe.scheme for trial in trials[6:8]] == ["vanilla"] * 2
    assert [trial.recipe.train_epochs for trial in trials[6:8]] == [8 * 3, 8 * 7]
    assert trials[6].key == "efficientnet-b0-vanilla-3-passes-seed-0"
    assert len({trial.key for trial in trials}) == len(trials)


def test_strengths_are_the_papers_and_a_length_in_steps_or_epochs_is_multiplied():
    assert [attack_of_strength(epsilon)["attack.num_steps"] for epsilon in (0.5, 1, 2, 3, 4, 6)] == [1, 1, 3, 4, 5, 7]
    recipe = named_recipe("efficientnet-b0", "digits", "vanilla")
    assert lengthened(recipe, 3).total_steps == pytest.approx(3 * recipe.total_steps, abs=3)
    assert lengthened(override(recipe, {"train_steps": 5}), 3).total_steps == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schemes=advprop"], "schemes advprop: vanilla is needed to compare with"),
        (["--schemes=vanilla,magic"], "unknown scheme 'magic'"),
        (["--schemes=vanilla,vanilla"], "schemes vanilla, vanilla repeats a value"),
        (["--schemes=vanilla", "--models=b9"], "b9"),
        (["--schemes=vanilla", "--models="], "models names none"),
        (["--schemes=vanilla", "--seeds=0"], "study seeds 0 is outside [1, 1000]"),
        (["--schemes=vanilla,advprop", "--attack_epsilons=0,1"], "study attack_epsilons_px 0 is outside (0, 255]"),
        ([], "--mode=study needs --schemes"),
        (["--schemes=vanilla", "--model=resnet-50"], "--model is about one run: --mode=study has --models"),
        (["--schemes=vanilla", "--advprop"], "--advprop is about one run: --mode=study has --schemes"),
        (["--schemes=vanilla", "--seed=3"], "--seed is about one run: --mode=study has --seeds"),
        (["--schemes=vanilla", "--init_checkpoint=x"], "--init_checkpoint is read by"),
        (["--schemes=vanilla", "--steps_per_eval=3"], "--steps_per_eval is read by"),
        (["--schemes=vanilla", "--attack_steps=3"], "--attack_steps would have no effect: scheme vanilla makes no"),
        (["--schemes=vanilla", "--attack_epsilons=1,2"], "--attack_epsilons would have no effect"),
        (["--schemes=vanilla,advprop", "--attack_epsilons=1", "--attack_steps=3"], "--attack_steps contradicts it"),
        (["--schemes=vanilla,advprop", "--attack_epsilons=1,4", "--attack=none"], "--attack_epsilons would have no"),
        (
            ["--schemes=vanilla,advprop", "--attack_epsilons=1,2", "--attack=gd", "--attack_random_start=false"],
            "--attack_epsilons would have no effect: attack gd without a uniform random",
        ),
        (["--schemes=vanilla,fast_advprop", "--train_batch_size=2"], "fast_adversarial_share 0.2 makes 0 of"),
        (["--schemes=vanilla", "--train_epochs=nan"], "train_epochs nan"),
        (["--schemes=vanilla", "--benchmarks=pgd"], "the benchmarks of a study have to include clean"),
        (["--schemes=vanilla", "--benchmarks=clean,imagenet_a"], "measured on clean, corruptions, pgd"),
        (["--schemes=vanilla", "--benchmark_dir=imagenet_a=x"], "--benchmark_dir is read by"),
        (["--schemes=vanilla", "--benchmarks=clean", "--pgd_steps=3"], "--pgd_steps would have no effect"),
    ],
)
def test_flags_that_no_run_reads_are_refused_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        run_main("--mode=study", "--dataset=digits", *arguments)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--schemes=vanilla"], ["--seeds=2"], ["--models=resnet-50"], ["--attack_epsilons=1"]]
)
def test_flags_of_a_study_are_for_no_other_mode(arguments):
    with pytest.raises(RecipeError, match="is read by --mode=study, not by train"):
        flags.refuse_contradictions(set_flags("--mode=train", *arguments))


def test_flags_hold_for_every_run_that_reads_them():
    arguments = ("--mode=study", "--schemes=vanilla,advprop", "--seeds=1", "--attack_steps=3", "--train_epochs=2.5")
    settings = flags.study_from_flags(set_flags(*arguments), DIGITS)
    vanilla, advprop, budget = (trial.recipe for trial in settings.trials)
    assert (vanilla.train_epochs, advprop.train_epochs, budget.train_epochs) == (2.5, 2.5, 12.5)
    assert advprop.attack.num_steps == 3
    assert settings.options.model_dir == "runs/study-digits"
    assert set(settings.options.command.split()) == {"python", "main.py", *arguments}
    assert set_flags(*settings.options.command.split()[2:]).schemes == ["vanilla", "advprop"]


def test_the_default_evaluation_of_a_study():
    """Its score under attack is a run's `top1_pgd`; six corruptions, only through the main branch."""
    options = flags.study_from_flags(set_flags("--mode=study", "--schemes=vanilla,advprop"), DIGITS).options
    assert options.benchmarks == STUDY_BENCHMARKS
    assert STUDY_BENCHMARKS.attacks() == [EVALUATION_ATTACK]
    recipe = override(named_recipe("efficientnet-b0", "digits", "advprop"), {"data.num_eval_images": 10_000, "seed": 3})
    clean, pgd, *corrupted = plan_passes(recipe, None, LAST, {})
    assert (clean.num_images, clean.branches, clean.settings["images"]) == (None, (), "all")
    settings = pgd.settings
    assert (settings["success"], settings["restarts"], settings["branch"], settings["seed"]) == ("last", 1, "main", 3)
    assert len(corrupted) == 6 * 5
    assert {(one.num_images, one.branches) for one in corrupted} == {(2000, ("main",))}
    assert len({one.kind for one in corrupted}) == 1  # one graph
    chosen = ("--corruptions=contrast", "--pgd_success=any", "--pgd_norm=l2", "--benchmark_images=100")
    spec = flags.study_from_flags(set_flags("--mode=study", "--schemes=vanilla", *chosen), DIGITS).options.benchmarks
    assert (spec.made_corruptions, spec.success, spec.norm, spec.epsilons_px) == (("contrast",), "any", "l2", ())
    assert {one.num_images for one in plan_passes(recipe, None, spec, {})} == {100}


def plan_in(folder, spec=LAST, make=make_recipe):
    """(file, trial, evaluated network, passes) of each trial, as a study checks its results."""
    trials = plan(StudySpec(("efficientnet-b0",), ("vanilla", "advprop"), 2), make)
    file = ResultsFile(str(folder))
    return [(file, trial, finished(trial).evaluated, plan_passes(trial.recipe, None, spec, {})) for trial in trials]


def test_finished_trials_are_kept_by_recipe_and_evaluation(tmp_path):
    trials = [trial for _, trial, *_ in plan_in(tmp_path)]
    ResultsFile(str(tmp_path)).write({trials[1].key: finished(trials[1])})
    _, second, *_ = plan_in(tmp_path)
    assert completed(*second) == finished(trials[1])
    smoothing = lambda model, scheme, changes: make_recipe(model, scheme, {**changes, "label_smoothing": 0.0})  # noqa: E731
    for spec, make, message in (
        (LAST, smoothing, "holds efficientnet-b0-advprop-seed-0 with another recipe"),
        (dataclasses.replace(LAST, success="any"), make_recipe, "with success last against any of this command"),
        (dataclasses.replace(LAST, num_images=9), make_recipe, "with images all against 9 evenly spaced of this"),
        (
            dataclasses.replace(LAST, names=("clean", "pgd")),
            make_recipe,
            "with other benchmarks (corruptions/contrast/1",
        ),
        (dataclasses.replace(LAST, epsilons_px=(4.0, 8.0)), make_recipe, "with other benchmarks (pgd/linf/8)"),
    ):
        _, second, *_ = plan_in(tmp_path, spec, make=make)
        with pytest.raises(RecipeError, match=re.escape(message)) as raised:
            completed(*second)
        assert "\n" not in str(raised.value)


def old_result(trial, **changes):
    """A trial as a study recorded it before version 2 of the results."""
    names = ("top1_gaussian_noise", "top1_shot_noise", "top1_gaussian_blur")
    names = (*names, "top1_contrast", "top1_pixelate", "top1_jpeg_compression")
    values = {"top1_main": 0.9, "top5_main": 1.0, "loss_main": 0.2}
    if "advprop" in trial.row:
        values |= {"top1_auxiliary": 0.85, "top5_auxiliary": 0.99, "loss_auxiliary": 0.3}
    values |= {"top1_pgd": 0.25, **{name: 0.5 + place / 10 for place, name in enumerate(names)}}
    values["top1_corrupted"] = 0.75
    known = {"model": trial.model, "row": trial.row, "seed": trial.recipe.seed, "values": values, "bad_images": 0}
    known |= {"passes": 8.0, "seconds": 62.0, "precision": "float32", "recipe": digest(trial.recipe), "diverged": None}
    return {**known, **changes}


def test_results_of_an_older_study_are_read_and_completed(tmp_path):
    plans = plan_in(tmp_path)
    cells = {trial.key: old_result(trial) for _, trial, *_ in plans}
    last = plans[-1][1]
    cells[last.key] = old_result(last, values={}, diverged="not finite")
    (tmp_path / "results.json").write_text(json.dumps({"cells": cells}))
    file = ResultsFile(str(tmp_path))
    assert list(file.runs) == list(cells)
    for _, trial, evaluated, planned in plans:
        assert file.runs[trial.key].evaluated.recipe == digest_over_seeds(trial.recipe)  # the digest of seed 0
        run = completed(file, trial, evaluated, planned)
        training = run.training
        assert (training.row, training.passes, training.seconds, training.precision) == (
            trial.row,
            8.0,
            62.0,
            "float32",
        )
        if trial is last:
            assert (training.diverged, run.parts) == ("not finite", {})
            continue
        assert (run.evaluated.model, run.evaluated.seed) == (trial.model, trial.recipe.seed)
        assert run.evaluated == evaluated
        scores = run.parts["clean"].scores
        assert scores["main"] == {"top1": 0.9, "top5": 1.0, "loss": 0.2}
        assert ("auxiliary" in scores) == ("advprop" in trial.row)
        assert run.parts["pgd/linf/4"].scores == {"pgd": {"top1": 0.25}}
        assert run.parts["corruptions/gaussian_blur/mean"].scores == {"main": {"top1": pytest.approx(0.7)}}
        settings = {one.key: one.settings for one in planned}
        assert run.parts["clean"].settings == settings["clean"]
        assert run.parts["pgd/linf/4"].settings == settings["pgd/linf/4"]
        assert run.parts["corruptions/contrast/mean"].settings == settings["corruptions/contrast/1"]
        assert {part.images for part in run.parts.values()} == {360}
    # A trial of today joins the row of an older one.
    file.write({plans[0][1].key: completed(file, *plans[0][1:]), plans[3][1].key: finished(plans[3][1])})
    runs = ResultsFile(str(tmp_path)).runs
    assert plans[0][1].row == plans[3][1].row == "vanilla"
    both = compare([EvaluatedRun(key, runs[key], "vanilla") for key in (plans[0][1].key, plans[3][1].key)])
    ((row,), expected) = (both.rows, finished(plans[3][1]))
    means = {column.key: value.mean for column, value in row.values.items()}
    its = expected.parts["corruptions/contrast/1"].scores["main"]["top1"]
    assert means["corruptions/contrast/main/top1"] == pytest.approx((0.8 + its) / 2)
    assert means["corruptions/main/top1"] == pytest.approx((0.75 + its) / 2)
    assert both.notes == ()


def test_a_refused_study_leaves_older_results_as_they_were(tmp_path, capsys):
    (trial,) = plan(StudySpec(("efficientnet-b0",), ("vanilla",), 1), make_recipe)
    text = json.dumps({"cells": {trial.key: old_result(trial)}})
    (tmp_path / "results.json").write_text(text)
    arguments = ("--mode=study", "--dataset=digits", "--schemes=vanilla", "--seeds=1", f"--model_dir={tmp_path}")
    for change, message in (
        ("--use_bfloat16", "in float32, not mixed_bfloat16"),
        ("--pgd_success=any", "with success last against any"),
        ("--label_smoothing=0", "with another recipe"),
    ):
        with pytest.raises(SystemExit) as left:
            run_main(*arguments, change)
        assert left.value.code == 2
        assert message in capsys.readouterr().err
        assert (tmp_path / "results.json").read_text() == text
    run_main(*arguments)
    assert "1 of them finished before" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["version"] == 2


def test_results_of_an_older_evaluation_are_read(tmp_path):
    settings = {"pictures": "digits", "of": 360, "images": "all"}
    one = {"images": 360, "bad_images": 0, "scores": {"main": {"top1": 0.5}}, "confusions": {}, "seconds": 1.0}
    keys = ("clean", "pgd/linf/4", "corruptions/fog/1")
    values = {"evaluated": vars(EVALUATED), "parts": {key: {**one, "settings": settings} for key in keys}}
    (tmp_path / "results.json").write_text(json.dumps(values))
    file = ResultsFile(str(tmp_path))
    parts = file.start(EVALUATED).parts
    now = {"dataset": "digits", "num_eval_images": 360, "images": "all"}
    assert [parts[key].settings for key in keys] == [now, {**now, "success": "any"}, {**now, "corruptions": "all"}]


def test_the_first_run_of_a_kind_is_observed(tmp_path):
    trials = plan(StudySpec(("efficientnet-b0",), ("vanilla", "joint", "advprop"), 2), make_recipe)
    folder, arrays = str(tmp_path), {IMAGES: np.zeros((1, 2, 2, 3), np.uint8)}
    vanilla, joint, advprop, budget, *_, advprop_again, _ = trials
    wanted = [has_to_be_observed(folder, trial, trials) for trial in (vanilla, joint, advprop, budget)]
    assert wanted == [True, False, True, False]
    assert kinds_not_observed(folder, trials) == [("efficientnet-b0", "vanilla"), ("efficientnet-b0", "advprop")]
    write_observation(folder, advprop_again, arrays)  # the first one diverged, say
    assert not has_to_be_observed(folder, advprop, trials)
    assert has_to_be_observed(folder, vanilla, trials)
    assert kinds_not_observed(folder, trials) == [("efficientnet-b0", "vanilla")]
    assert {trial: list(found) for trial, found in read_observations(folder, trials).items()} == {
        advprop_again: [IMAGES]
    }
    other = plan(StudySpec(("efficientnet-b0",), ("vanilla", "joint", "advprop"), 2), longer_recipe)
    assert read_observations(folder, other) == {}  # kept of another recipe
    assert has_to_be_observed(folder, other[2], other)


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


def test_gradients_are_of_single_images_and_statistics_of_single_branches():
    model = small_model()
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    labels = np.array([1, 2, 3])
    together = loss_gradients(model, images, labels, "auxiliary")
    alone = loss_gradients(model, images[1:2], labels[1:2], "auxiliary")
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-3, atol=1e-7)
    assert np.abs(together - loss_gradients(model, images, labels, "main")).max() > 0
    statistics = running_statistics(model, ("main", "auxiliary"), 3)
    layers = list(dict.fromkeys(name.split("/")[0] for name in statistics))
    assert layers[0] == "stem.norm"
    assert layers[-1] == "head.norm"
    assert len(statistics) == 3 * 2 * 2
    expected = model.weights_by_path()["stem.norm.norms.auxiliary.moving_variance"]
    np.testing.assert_array_equal(statistics["stem.norm/auxiliary/moving_variance"], expected)


def runs_in(folder):
    """The recorded runs without their times."""
    runs = json.loads((folder / "results.json").read_text())["runs"]
    for run in runs.values():
        del run["training"]["seconds"]
        for part in run["parts"].values():
            del part["seconds"]
    return runs


def test_an_interrupted_study_continues_to_the_same_results(two_blocks, tmp_path, monkeypatch, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    trained = []
    evaluate = study._evaluate

    def stop_in_the_second(run, planned):
        trained.append((run.recipe.scheme, run.recipe.seed))
        if len(trained) == 2:
            raise KeyboardInterrupt
        return evaluate(run, planned)

    monkeypatch.setattr(study, "_evaluate", stop_in_the_second)
    monkeypatch.setattr(passes, "SEVERITIES", (3,))
    with pytest.raises(SystemExit) as left:
        run_main(*TINY, "--seeds=1", f"--model_dir={stopped}")
    assert left.value.code == 130
    assert list(runs_in(stopped)) == ["efficientnet-b0-vanilla-seed-0"]
    parts = runs_in(stopped)["efficientnet-b0-vanilla-seed-0"]["parts"]
    assert list(parts)[:2] == ["clean", "pgd/linf/4"]
    assert (parts["clean"]["images"], list(parts["pgd/linf/4"]["scores"])) == (24, ["pgd"])
    assert "1 of 3 runs are finished" in (stopped / "report.md").read_text()
    assert not (stopped / "cells/efficientnet-b0-vanilla-seed-0/checkpoints").exists()
    assert (stopped / "cells/efficientnet-b0-advprop-seed-0/checkpoints").exists()
    capsys.readouterr()
    run_main(*TINY, "--seeds=1", f"--model_dir={stopped}")
    assert trained[2:] == [("advprop", 0), ("vanilla", 0)]  # the last is the equal budget's
    output = capsys.readouterr().out
    assert "study: 3 runs, 1 of them finished before" in output
    assert "resuming at step 2 of 2" in output
    assert not list(stopped.glob("cells/*/checkpoints"))

    gradients_before = tpu_utils.registered_gradients()
    run_main(*TINY, "--seeds=2", f"--model_dir={whole}")
    assert tpu_utils.registered_gradients() == gradients_before  # no graph of a finished run stays
    results = runs_in(whole)
    assert len(results) == 6
    assert {key: run for key, run in results.items() if run["evaluated"]["seed"] == 0} == runs_in(stopped)
    assert list(results["efficientnet-b0-advprop-seed-0"]["parts"]["clean"]["scores"]) == ["main", "auxiliary"]
    assert list(results["efficientnet-b0-advprop-seed-0"]["parts"]["corruptions/contrast/3"]["scores"]) == ["main"]
    report = (whole / "report.md").read_text()
    assert "6 of 6 runs are finished" in report
    assert " ± " in report
    for figure in ("benchmarks", "gradients", "running-statistics"):
        path = f"figures/efficientnet-b0-{figure}.png"
        assert f"({path})" in report
        assert tf.io.decode_png((whole / path).read_bytes()).shape[-1] == 4
        # Of the first seed's runs, of which the continued study has trained one alone.
        if figure in ("gradients", "running-statistics"):
            assert (whole / path).read_bytes() == (stopped / path).read_bytes()
    for change, message in (
        ("--label_smoothing=0", "vanilla-seed-0 was started with another recipe (label_smoothing: 0.1 -> 0.0)"),
        ("--use_bfloat16", "holds efficientnet-b0-vanilla-seed-0 in float32, not mixed_bfloat16"),
        ("--pgd_success=any", "holds efficientnet-b0-vanilla-seed-0 with success last against any"),
    ):
        with pytest.raises(SystemExit) as left:
            run_main(*TINY, "--seeds=1", change, f"--model_dir={stopped}")
        assert left.value.code == 2
        assert message in capsys.readouterr().err


def test_a_study_keeps_the_success_criterion_of_its_results(tmp_path):
    options = flags.study_from_flags(set_flags(*TINY, "--seeds=1"), DIGITS).options
    trials = plan(StudySpec(("efficientnet-b0",), ("vanilla",), 1), make_recipe)
    source = open_source(trials[0].recipe.data, None)
    for held, wanted in ((None, "last"), ("last", "last"), ("any", "any")):
        file = ResultsFile(str(tmp_path))
        if held:
            run = finished(trials[0])
            run.parts["pgd/linf/4"].settings["success"] = held
            file.write({"of another plan": run})
        (planned,) = study._plans(trials, options, source, file)
        assert next(one for one in planned.passes if one.attack).settings["success"] == wanted


def test_a_run_that_diverges_is_recorded_and_the_next_follows(two_blocks, tmp_path, monkeypatch, capsys):
    def train(state, recipe, *rest):
        if recipe.scheme == "advprop":
            raise FloatingPointError("not finite in steps 1 to 2: loss/adversarial")

    def make(maker, one):
        is_spoilt = maker._run.recipe.scheme == "joint"  # the last update spoilt the weights, say
        scores = {"main": {"top1": 0.5, "loss": math.nan if is_spoilt else 1.0}}
        return Part(one.settings, 22, 2, {"pgd": {"top1": 0.25}} if one.attack else scores, {}, 1.0)

    monkeypatch.setattr(training_run, "train", train)
    monkeypatch.setattr(benchmarks.PassMaker, "make", make)
    arguments = (*TINY, "--schemes=vanilla,advprop,joint", "--seeds=1", f"--model_dir={tmp_path}")
    for _ in range(2):  # the second time nothing is trained again
        with pytest.raises(SystemExit) as left:
            run_main(*arguments)
        assert left.value.code == 1
        told = capsys.readouterr()
        assert "2 of 4 runs diverged: efficientnet-b0-advprop-seed-0, efficientnet-b0-joint-seed-0" in told.err
    assert "4 of them finished before" in told.out
    results = runs_in(tmp_path)
    diverged = {key.split("-")[2]: run["training"]["diverged"] for key, run in results.items()}
    assert (diverged["advprop"], diverged["joint"]) == (
        "not finite in steps 1 to 2: loss/adversarial",
        "not finite in the evaluation: loss_main",
    )
    assert results["efficientnet-b0-joint-seed-0"]["parts"] == {}
    assert results[KEY]["parts"]["clean"]["bad_images"] == 2
    report = (tmp_path / "report.md").read_text()
    assert "**Diverged**, in no table: advprop, seed 0" in report
    assert "Evaluated on 22 images" in report
    with pytest.raises(SystemExit) as left:
        run_main(
            *[one for one in TINY if not one.startswith(("--mode", "--schemes", "--pgd", "--bench"))],
            f"--model_dir={tmp_path}/cells/{KEY}",
        )
    assert left.value.code == 2
    assert "is a run of a study, whose weights were removed" in capsys.readouterr().err

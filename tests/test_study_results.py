"""A study's recorded results: what is kept, what is refused, what older versions recorded."""

import dataclasses
import json
import re

import pytest

import flags
from efficientnet_advprop.data import open_source
from efficientnet_advprop.evaluation import (
    EvaluatedRun,
    ResultsFile,
    compare,
    completed,
    digest_over_seeds,
    plan_passes,
)
from efficientnet_advprop.modes import study
from efficientnet_advprop.recipes import RecipeError, StudySpec, digest, plan
from tests.command_line import run_main, set_flags
from tests.made_up_results import EVALUATED
from tests.studies import DIGITS, LAST, TINY, finished, make_recipe


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

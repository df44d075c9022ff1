"""A study from start to end: interrupted and continued, with runs that diverge."""

import json
import math

import pytest
import tensorflow as tf

import tpu_utils
from efficientnet_advprop.evaluation import Part, passes
from efficientnet_advprop.modes import benchmarks, study, training_run
from tests.command_line import run_main
from tests.studies import TINY

KEY = "efficientnet-b0-vanilla-seed-0"


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
    rows = "vanilla; advprop; vanilla with as many passes as advprop; 1 seed"
    assert f"study: 3 runs, 1 of them finished before: {rows}\n" in output
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

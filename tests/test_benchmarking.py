"""Benchmarks through the command line: passes, resumption, SavedModels, refusals.

For ImageNet's sets see test_imagenet_benchmarks.py.
"""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from efficientnet_advprop.data import eval_dataset, open_source
from efficientnet_advprop.data.class_names import imagenet_synsets
from efficientnet_advprop.evaluation import RESULTS_FILE, collector_for, plan_passes
from efficientnet_advprop.modes import benchmarks
from efficientnet_advprop.recipes import BenchmarkSpec, named_recipe, override
from tests.command_line import run_main
from tests.small import one_cpu, small_model, small_recipe

pytestmark = pytest.mark.usefixtures("few_blocks")

SYNSETS = imagenet_synsets()


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory) -> Path:
    """A small trained network, exported."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    small = ("--input_image_size=16", "--train_epochs=8", "--base_learning_rate=0.05", "--width_coefficient=0.5")
    run_main("--advprop", "--model=efficientnet-b0", f"--model_dir={folder}", *small)
    return folder


TWO_CORRUPTIONS = "--corruptions=contrast,gaussian_noise"  # ten passes for the 75 of all


def evaluate(*arguments) -> None:
    run_main("--mode=eval", *(str(argument) for argument in arguments))


def parts_in(folder) -> dict:
    return json.loads((Path(folder) / RESULTS_FILE).read_text())["runs"]["run"]["parts"]


def test_accuracy_under_attack_of_a_run_is_at_the_last_point(digits_run, tmp_path):
    last = ("--pgd_success=last", "--pgd_epsilons=4")
    evaluate(f"--model_dir={digits_run}", "--benchmarks=pgd", *last, f"--evaluation_dir={tmp_path}")
    summary = json.loads((digits_run / "summary.json").read_text())
    assert parts_in(tmp_path)["pgd/linf/4"]["scores"]["pgd"]["top1"] == summary["top1_pgd"]


def test_clean_accuracy_is_that_of_the_run_and_the_attack_is_monotone(digits_run, tmp_path, capsys):
    evaluate(
        f"--model_dir={digits_run}",
        "--benchmarks=clean,pgd",
        "--pgd_epsilons=4,1,16",
        "--pgd_steps=5",
        f"--evaluation_dir={tmp_path}",
    )
    parts, summary = parts_in(tmp_path), json.loads((digits_run / "summary.json").read_text())
    assert list(parts) == ["clean", "pgd/linf/1", "pgd/linf/4", "pgd/linf/16"]
    assert parts["clean"]["images"] == 360
    for branch in ("main", "auxiliary"):
        for metric in ("top1", "top5", "loss"):
            assert parts["clean"]["scores"][branch][metric] == pytest.approx(summary[f"{metric}_{branch}"], rel=1e-5)
    under_attack = [parts[f"pgd/linf/{epsilon}"]["scores"] for epsilon in (1, 4, 16)]
    clean = parts["clean"]["scores"]["main"]["top1"]
    assert clean > 0.5
    assert all(scores["clean"]["top1"] == clean for scores in under_attack)
    left = [clean, *(scores["pgd"]["top1"] for scores in under_attack)]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[1] > left[3]
    for scores in under_attack:
        assert scores["pgd"]["top1"] <= scores["one_step"]["top1"]
        assert scores["pgd"]["top1"] <= scores["noise"]["top1"]
    assert "pgd/linf/16" in capsys.readouterr().out
    assert "report.md" in os.listdir(tmp_path)


def test_an_interrupted_evaluation_continues(digits_run, tmp_path, monkeypatch, capsys):
    few = ("--benchmark_images=5", f"--evaluation_dir={tmp_path}", f"--model_dir={digits_run}")
    made, make = [], benchmarks.PassMaker.make

    def stops_at_the_third(maker, one):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(one.key)
        return make(maker, one)

    with monkeypatch.context() as patched:
        patched.setattr(benchmarks.PassMaker, "make", stops_at_the_third)
        with pytest.raises(SystemExit) as stopped:
            evaluate(*few, "--benchmarks=corruptions", TWO_CORRUPTIONS)
        assert stopped.value.code == 130
    first = parts_in(tmp_path)
    assert list(first) == made
    evaluate(*few, "--benchmarks=corruptions,clean", TWO_CORRUPTIONS)
    told = capsys.readouterr().out
    assert "11 passes over images, 2 of them finished before" in told
    lines = re.findall(r"^(?:clean|corruptions)\S*(?:, mean of 5 severities)?: main", told, re.M)
    assert lines == [
        *(f"{name}, mean of 5 severities: main" for name in ("corruptions/gaussian_noise", "corruptions/contrast")),
        "clean: main",
    ]
    parts = parts_in(tmp_path)
    assert len(parts) == 11
    assert {key: parts[key] for key in first} == first
    assert all(part["images"] == 5 for part in parts.values())
    assert parts[made[0]]["settings"]["corruptions"] == "gaussian_noise, contrast"
    # A pass over other images replaces the old result.
    evaluate("--benchmark_images=6", *few[1:], "--benchmarks=clean")
    assert parts_in(tmp_path)["clean"]["images"] == 6


def test_a_saved_model_and_its_checkpoint_give_the_same_tables(digits_run, tmp_path):
    asked = ("--benchmarks=clean,pgd,corruptions", "--pgd_epsilons=2", "--pgd_steps=3", "--benchmark_images=40")
    asked = (*asked, TWO_CORRUPTIONS)
    evaluate(f"--model_dir={digits_run}", f"--evaluation_dir={tmp_path / 'checkpoint'}", *asked)
    exported = digits_run / "saved_model" / "1"
    evaluate(f"--init_checkpoint={exported}", f"--evaluation_dir={tmp_path / 'saved_model'}", *asked)
    of_checkpoint, of_saved_model = (parts_in(tmp_path / name) for name in ("checkpoint", "saved_model"))
    assert list(of_checkpoint) == list(of_saved_model)
    for key, part in of_saved_model.items():
        for name, scores in part["scores"].items():
            assert scores == pytest.approx(of_checkpoint[key]["scores"][name], rel=1e-4), key
            assert scores["top1"] == of_checkpoint[key]["scores"][name]["top1"]
        assert part["settings"] == of_checkpoint[key]["settings"]


def test_parts_with_other_settings_are_dropped_before_new_ones_are_added(digits_run, tmp_path):
    asked = ("--benchmarks=pgd", "--benchmark_images=4", f"--evaluation_dir={tmp_path}", f"--model_dir={digits_run}")
    evaluate(*asked, "--pgd_epsilons=1,2", "--pgd_steps=2")
    evaluate(*asked, "--pgd_epsilons=4", "--pgd_steps=2")
    assert list(parts_in(tmp_path)) == ["pgd/linf/1", "pgd/linf/2", "pgd/linf/4"]
    evaluate(*asked, "--pgd_epsilons=2", "--pgd_steps=2", "--eval_branch=auxiliary")
    assert list(parts_in(tmp_path))[3:] == ["pgd/linf/2/auxiliary"]
    evaluate(*asked, "--pgd_epsilons=2", "--pgd_steps=3")
    assert sorted(parts_in(tmp_path)) == ["pgd/linf/2", "pgd/linf/2/auxiliary"]
    evaluate(*asked, "--pgd_epsilons=1", "--pgd_steps=3", "--pgd_success=last")
    parts = parts_in(tmp_path)
    assert sorted(parts) == ["pgd/linf/1", "pgd/linf/2/auxiliary"]
    assert list(parts["pgd/linf/1"]["scores"]) == ["pgd"]


def test_other_weights_in_the_same_folder_are_refused(digits_run, tmp_path, capsys):
    asked = ("--benchmarks=clean", "--benchmark_images=2", f"--evaluation_dir={tmp_path}")
    evaluate(f"--model_dir={digits_run}", *asked)
    before = (tmp_path / RESULTS_FILE).read_bytes()
    with pytest.raises(SystemExit) as stopped:
        evaluate(f"--model_dir={digits_run}", "--noema", *asked)
    assert stopped.value.code == 2
    assert "is of other weights (weights averaged, " in capsys.readouterr().err
    assert (tmp_path / RESULTS_FILE).read_bytes() == before


def test_two_replicas_predict_like_one(two_replicas):
    recipe = override(small_recipe(), {"cadence.eval_batch_size": 24})
    source = open_source(recipe.data, None)
    one = next(iter(plan_passes(recipe, source, BenchmarkSpec(("clean",)), {})))
    predictions = []
    for strategy in (one_cpu(), two_replicas):
        with strategy.scope():
            model = small_model()
        batches = strategy.distribute_datasets_from_function(
            lambda context: eval_dataset(source, recipe, context, num_images=31)
        )
        predictions.append(collector_for(strategy, model, one).collect(batches, 31)[0])
    for branch, of_one in predictions[0].items():
        assert of_one.scores() == pytest.approx(predictions[1][branch].scores(), rel=1e-5)
        assert sorted(of_one.labels) == sorted(predictions[1][branch].labels)


def test_passes_of_each_benchmark():
    recipe = named_recipe("efficientnet-b3", "imagenet", "advprop")
    spec = BenchmarkSpec(("stylized", "pgd"), resize="native", norm="l2", num_steps=4, restarts=2)
    planned = plan_passes(recipe, None, spec, {"stylized": None})
    assert [one.key for one in planned] == ["stylized", "pgd/l2/32", "pgd/l2/64", "pgd/l2/128", "pgd/l2/255"]
    assert planned[0].recipe.network.input_image_size == 224
    assert planned[0].recipe.data.eval_crop == "none"
    assert planned[1].recipe.network.input_image_size == 300
    assert planned[1].attack.step_size_px == pytest.approx(2.5 * 32 / 4)
    assert len({one.kind for one in planned[1:]}) == 1
    assert len(plan_passes(recipe, None, BenchmarkSpec(("corruptions",)), {})) == 15 * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--benchmarks=pdg",), "unknown benchmark 'pdg': did you mean pgd? known: clean, imagenet, imagenet_v2"),
        (("--benchmarks=",), "--benchmarks= is empty"),
        (("--benchmarks=clean,clean",), "benchmarks clean, clean repeats one"),
        (("--benchmarks=clean", "--pgd_steps=3"), "--pgd_steps would have no effect: only pgd reads it"),
        (("--benchmarks=pgd", "--pgd_steps=0"), "benchmark num_steps 0 is outside"),
        (("--benchmarks=pgd", "--pgd_epsilons=0,1"), "benchmark epsilons_px 0 is outside (0, 1e7]"),
        (("--benchmarks=pgd", "--pgd_epsilons=300"), "attack epsilon_px 300 is outside [0, 255]"),
        (("--benchmarks=pgd", "--pgd_epsilons=1,1"), "pgd_epsilons 1, 1 repeats one"),
        (("--benchmarks=clean", "--benchmark_images=0"), "benchmark num_images 0 is outside"),
        (("--benchmarks=clean", "--robustness_resize=native"), "only stylized and imagenet_c read it"),
        (
            ("--benchmarks=stylized", "--robustness_resize=native", "--input_image_size=16"),
            "--input_image_size would have no effect: --robustness_resize=native",
        ),
        (("--benchmarks=imagenet_a", "--benchmark_dir=/data"), "--benchmark_dir=/data: NAME=PATH is needed"),
        (("--benchmarks=clean", "--benchmark_dir=imagenet_a=/data"), "it is none of the benchmarks"),
        (("--benchmarks=clean", "--benchmark_dir=coco=/data"), "benchmark_dir of 'coco'; known: imagenet"),
        (
            ("--benchmarks=imagenet_a", "--benchmark_dir=imagenet_a=a", "--benchmark_dir=imagenet_a=b"),
            "names two folders of imagenet_a",
        ),
        (
            ("--benchmarks=imagenet_a", "--data_dir=/data"),
            "--data_dir would have no effect: only clean, corruptions, pgd and autoattack read it",
        ),
        (("--benchmarks=clean", "--corruptions=fog"), "--corruptions would have no effect: only corruptions reads it"),
        (("--benchmarks=corruptions", "--corruptions=haze"), "unknown corruption 'haze'; known: gaussian_noise"),
        (("--benchmarks=corruptions", "--corruptions=fog,fog"), "corruptions fog, fog repeats one"),
        (("--benchmarks=corruptions", "--corruptions="), "--corruptions= is empty"),
        (("--corruptions=fog",), "--corruptions would have no effect without --benchmarks"),
        (
            ("--benchmarks=pgd", "--pgd_success=last", "--pgd_restarts=2"),
            "pgd success last counts the last point of one attack: not of 2 restarts",
        ),
        (("--evaluation_dir=/tmp",), "--evaluation_dir would have no effect without --benchmarks"),
        (("--benchmarks=clean", "--evaluation_dir=/proc/none"), "evaluation_dir /proc/none"),
    ],
)
def test_invalid_benchmarks_are_refused_in_one_line(digits_run, arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        evaluate(f"--model_dir={digits_run}", *arguments)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 2
    assert error.startswith("error: ")
    assert message in error


def test_corruptions_without_their_libraries_are_refused_before_anything_runs(digits_run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)  # import cv2 then fails
    with pytest.raises(SystemExit) as stopped:
        evaluate(f"--model_dir={digits_run}", "--benchmarks=corruptions")
    assert stopped.value.code == 2
    assert "error: corruptions need OpenCV, which needs libGL and GLib of the system: " in capsys.readouterr().err


def test_imagenets_classes_are_not_those_of_digits(digits_run, tmp_path, capsys):
    (tmp_path / SYNSETS[6]).mkdir()
    (tmp_path / SYNSETS[6] / "a.jpeg").write_bytes(b"never read")
    with pytest.raises(SystemExit):
        evaluate(f"--model_dir={digits_run}", "--benchmarks=imagenet_a", f"--benchmark_dir=imagenet_a={tmp_path}")
    assert "imagenet_a has the 1,000 classes of ImageNet, this network has 10 others" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode=train",), "is a SavedModel, which only --mode=eval and visualize read; train needs a checkpoint"),
        (("--mode=eval", "--noema"), "--ema would have no effect on a SavedModel"),
        (("--mode=eval", "--width_coefficient=0.5"), "--width_coefficient would have no effect"),
        (("--mode=eval", "--model=efficientnet-b1"), "--model=efficientnet-b1 contradicts"),
    ],
)
def test_what_a_saved_model_cannot_do_is_refused(digits_run, arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_main(f"--init_checkpoint={digits_run / 'saved_model' / '1'}", *arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_saved_models_of_others_are_refused(tmp_path, capsys):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        evaluate(f"--init_checkpoint={tmp_path}")
    assert stopped.value.code == 2
    assert "is a SavedModel without export.json" in capsys.readouterr().err

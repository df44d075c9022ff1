"""The command line end to end on a narrow network, and user errors: one line and exit code 2."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import flags
from efficientnet_advprop.recipes import from_json
from efficientnet_advprop.reporting import progress
from tests.command_line import ROOT, free_addresses, refused, run, run_main, start_main, without_start_up

pytestmark = pytest.mark.usefixtures("few_blocks")

NARROW = ("--width_coefficient=0.25", "--depth_coefficient=0.2", "--input_image_size=16", "--train_batch_size=16")


@dataclasses.dataclass
class Done:
    stdout: str
    stderr: str


def command(*arguments: str, check_code: int = 0) -> Done:
    process = start_main(*arguments, two_blocks=True)
    done = Done(*process.communicate())
    assert process.returncode == check_code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "narrow"
    done = command("--advprop", f"--model_dir={folder}", "--train_steps=12", "--iterations_per_loop=4", *NARROW)
    return folder, done


def test_a_run_writes_its_files(finished_run):
    folder, done = finished_run
    summary = json.loads((folder / "summary.json").read_text())
    for name in ("top1_main", "top5_main", "top1_auxiliary", "top1_pgd"):
        assert 0 <= summary[name] <= 1, name
    assert summary["step"] == 12
    assert summary["train_seconds"] > 0
    assert summary["evaluation_attack"]["num_steps"] == 10
    assert (Path(summary["saved_model"]) / "saved_model.pb").exists()
    assert tf.io.decode_png((folder / "adversarial_examples.png").read_bytes()).shape[-1] == 4
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 4, 8, 12]
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [12]
    assert {"loss/clean", "loss/adversarial", "loss/weight_decay", "learning_rate"} < set(lines[0])
    assert from_json((folder / "recipe.json").read_text()).network.width_coefficient == 0.25
    assert list((folder / "tensorboard" / "train").iterdir())
    assert list((folder / "tensorboard" / "eval").iterdir())
    assert summary["report"] == str(folder / "report.md")
    report = (folder / "report.md").read_text()
    assert f"```\npython main.py --advprop --model_dir={folder} " in report
    assert re.search(rf"^\| top1_pgd +\| {100 * summary['top1_pgd']:.2f} % +\|$", report, re.M)
    links = re.findall(r"!\[.*\]\((.*)\)", report)
    assert links == ["figures/training.png", "adversarial_examples.png"]
    assert all((folder / link).exists() for link in links)
    assert "1,797 handwritten digits" in done.stdout
    assert re.search(r"^parameters: shared [\d,]+, main ([\d,]+), auxiliary \1; [\d,]+ in all$", done.stdout, re.M)
    assert "--data_dir" in done.stdout
    assert re.search(r"top1_pgd +\d+\.\d\d %", done.stdout)
    assert re.search(r"step 12/12 +loss: clean \d+\.\d+ adversarial \d+\.\d+", done.stderr)


def test_the_same_command_again_shows_the_finished_run(finished_run, capsys):
    folder, _ = finished_run
    before = (folder / "summary.json").read_bytes()
    out, _ = run("--advprop", f"--model_dir={folder}", "--train_steps=12", *NARROW, capsys=capsys)
    assert "this run is finished" in out
    assert "top1_main" in out
    assert (folder / "summary.json").read_bytes() == before


def test_a_finished_run_refuses_another_export(finished_run, tmp_path, capsys):
    folder, _ = finished_run
    command_line = ("--advprop", f"--model_dir={folder}", "--train_steps=12", *NARROW)
    for flag in (f"--export_dir={tmp_path}", "--export_branch=auxiliary"):
        assert "is finished: use --mode=export" in refused(*command_line, flag, capsys=capsys)


def test_another_recipe_in_a_used_folder_is_refused_with_the_difference(finished_run, capsys):
    folder, _ = finished_run
    before = sorted(path.name for path in folder.rglob("*"))
    line = refused("--advprop", f"--model_dir={folder}", "--train_steps=12", "--seed=5", *NARROW, capsys=capsys)
    assert re.fullmatch(r"error: .*another recipe \(seed: 0 -> 5\).*", line)
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_folder_holds_one_report(finished_run, tmp_path, capsys):
    folder, _ = finished_run
    line = refused(
        "--mode=eval", f"--model_dir={folder}", "--benchmarks=clean", f"--evaluation_dir={folder}", capsys=capsys
    )
    assert line.endswith(f"{folder} holds a run: an evaluation needs another --evaluation_dir")
    (tmp_path / "report.md").write_text("of an evaluation")
    for mode in ("train_and_eval", "train"):
        command = ("--advprop", f"--mode={mode}", f"--model_dir={tmp_path}", "--train_steps=12")
        line = refused(*command, *NARROW, capsys=capsys)
        assert line.endswith(f"{tmp_path}/report.md is of no run: a run needs another --model_dir")
        assert os.listdir(tmp_path) == ["report.md"]


def test_a_run_without_evaluation_has_its_report(tmp_path, capsys):
    run("--scheme=vanilla", "--mode=train", f"--model_dir={tmp_path}", "--train_steps=2", *NARROW, capsys=capsys)
    report = (tmp_path / "report.md").read_text()
    assert "The run is trained to step 2; `--mode=eval` evaluates it." in report
    assert "| result" not in report and "(figures/training.png)" in report


def test_eval_reads_the_recipe_and_finds_the_same_accuracies(finished_run, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    folder, _ = finished_run
    summary = json.loads((folder / "summary.json").read_text())
    evaluate = ("--mode=eval", f"--model_dir={folder}")
    out, err = run(*evaluate, "--eval_batch_size=90", "--eval_branch=auxiliary", capsys=capsys)
    lines = [line.partition(",")[0] for line in err.splitlines()]
    passes = ("evaluation", "evaluation under attack")
    assert lines == [f"{one}: batch {number}/4" for one in passes for number in (1, 2, 3)]
    assert "top1_pgd through the auxiliary branch" in out
    for name in ("top1_main", "top1_auxiliary", "top5_main"):
        assert re.search(rf"{name} +{100 * summary[name]:.2f} %", out), name
    line = refused(*evaluate, "--width_coefficient=1.0", capsys=capsys)
    assert "network.width_coefficient: 0.25 -> 1.0" in line


def test_export_writes_the_next_version_with_the_same_values(finished_run, capsys):
    folder, _ = finished_run
    out, _ = run("--mode=export", f"--model_dir={folder}", "--checkpoint=best", capsys=capsys)
    assert "noise" not in out  # compared on the digits
    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)), tf.float32)
    first, second = (
        tf.saved_model.load(str(folder / "saved_model" / version)).signatures["serving_default"](images=images)
        for version in ("1", "2")
    )
    np.testing.assert_allclose(first["probabilities"], second["probabilities"], atol=1e-6)
    summary = json.loads((folder / "summary.json").read_text())
    for version in ("1", "2"):
        metrics = json.loads((folder / "saved_model" / version / "export.json").read_text())["metrics"]
        assert {name: value for name, value in summary.items() if name.startswith("top")}.items() <= metrics.items()


def test_other_runtimes_are_compared_in_a_table(finished_run, tmp_path, capsys):
    folder, _ = finished_run
    out, _ = run(
        "--mode=export", f"--model_dir={folder}", "--export_format=tflite", f"--export_dir={tmp_path}", capsys=capsys
    )
    assert re.search(r"^int8\.tflite +[\d.e-]+ +\d+\.\d\d % +[\d.]+ +[\d.]+$", out, re.M), out
    assert re.search(rf"^tflite: {tmp_path}/tflite/1, ", out, re.M)
    assert os.listdir(tmp_path) == ["tflite"]  # no folder that TensorFlow Serving would load as a version


def test_export_of_another_branch_prints_a_warning(finished_run, tmp_path, capsys):
    folder, _ = finished_run
    export = ("--mode=export", f"--model_dir={folder}", f"--export_dir={tmp_path}")
    out, _ = run(*export, "--export_branch=auxiliary", capsys=capsys)
    assert "ATTENTION: this exports the auxiliary branch" in out
    assert os.listdir(tmp_path) == ["auxiliary"]  # no new version that TensorFlow Serving would load
    version = tmp_path / "auxiliary" / "1"
    card = (version / "model_card.md").read_text()
    assert "NOT the main one" in card
    assert "| top1_pgd" not in card  # the main branch was attacked
    variables = [name for name, _ in tf.train.list_variables(str(version / "variables" / "variables"))]
    assert any("auxiliary" in name for name in variables)
    assert not any("main" in name for name in variables)


def test_sigterm_leaves_a_run_that_the_same_command_finishes(tmp_path, capsys):
    arguments = ("--advprop", "--mode=train", f"--model_dir={tmp_path}", "--iterations_per_loop=1", *NARROW)
    process = start_main(*arguments, "--train_steps=400", two_blocks=True)
    for line in process.stderr:
        if line.startswith("first 1 step(s) done"):
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    stopped = re.search(r"^stopped by SIGTERM at step (\d+), state saved; the same command resumes$", errors, re.M)
    assert stopped
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == int(stopped[1])
    # Under this schedule another length is another recipe. The test does not wait for the end of the run.
    assert "train_steps: 400 -> 401" in refused(*arguments, "--train_steps=401", capsys=capsys)
    resumed = start_main(*arguments, "--train_steps=400", two_blocks=True)
    for line in resumed.stdout:
        if line.startswith("resuming at step"):
            break
    resumed.kill()
    resumed.communicate()
    assert line == f"resuming at step {stopped[1]} of 400\n"


def test_two_workers_in_bfloat16_train_evaluate_and_export_one_run(tmp_path):
    """Two processes; gradients, saves, evaluations and decisions are collective."""
    workers = free_addresses(2)
    arguments = ("--advprop", f"--model_dir={tmp_path}", "--train_steps=6", "--iterations_per_loop=2", *NARROW)
    processes = [
        start_main(
            *arguments,
            "--steps_per_eval=4",
            "--use_bfloat16",
            two_blocks=True,
            TF_CONFIG=json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}),
        )
        for index in range(2)
    ]
    (chief_out, chief_err), (other_out, other_err) = (process.communicate(timeout=600) for process in processes)
    assert [process.returncode for process in processes] == [0, 0], chief_err + other_err
    assert "2 CPU replicas on 2 hosts; precision mixed_bfloat16" in chief_out
    assert "top1_main" in chief_out
    assert "top1_main" not in other_out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["step"], summary["precision"]) == (6, "mixed_bfloat16")
    assert (Path(summary["saved_model"]) / "saved_model.pb").exists()
    assert not list(tmp_path.glob(".worker-*"))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("train", 1),
        ("train", 2),
        ("train", 4),
        ("eval", 4),
        ("train", 6),
        ("eval", 6),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model=efficientnet-b9",), r"efficientnet-b9.*efficientnet-b8"),
        (("--no_such_flag=1",), r"no_such_flag"),
        (("--train_batch_size=many",), r"train_batch_size.*many"),
        (("--lr_step_epochs=30,soon",), r"lr_step_epochs.*soon"),
        (("--lr_step_epochs=",), r"lr_step_epochs"),
        (("--lr_schedule=step",), r"lr_schedule step needs lr_step_epochs"),
        (("--lr_schedule=step", "--lr_step_epochs=5,2"), r"lr_step_epochs 5,2 are not ascending"),
        (("--resize=nearest",), r"resize.*bilinear"),
        (("stray",), r"not a flag: stray; quote a pattern: --images='photos/\*\.jpg'"),
        (("--advprop", "--attack_epsilon=-1"), r"attack epsilon_px -1 is outside \[0, 1e7\]"),
        (("--strategy=mirrored", "--train_batch_size=9"), r"global batch 9 does not divide over 2 replicas"),
        (("--strategy=mirrored", "--eval_batch_size=7"), r"7 does not divide over 2 replicas"),
        (
            ("--scheme=fast_advprop", "--strategy=mirrored", "--train_batch_size=4"),
            r"makes 0 of a replica's 2 images adversarial",
        ),
        (("--mode=eval", "--model_dir=/nonexistent/run"), r"no run in /nonexistent/run"),
        (("--model_dir=/proc/run", "--advprop"), r"model_dir /proc/run cannot be written"),
        (("--advprop", "--export_dir=/proc/export"), r"export_dir /proc/export cannot be written"),
        (("--data_dir=/nonexistent/imagenet",), r"/nonexistent/imagenet"),
        (("--dataset=imagenet",), r"data_dir"),
        (("--tpu=grpc://127.0.0.1:1",), r"127\.0\.0\.1"),
        (("--data_dir=/nonexistent/a\nb",), r"/nonexistent/a\\nb"),
        (("--model_dir=s3://bucket/run",), r"model_dir s3://bucket/run: TensorFlow reads local paths and gs://"),
        (("--mode=compare", "--compare=a,abc://b"), r"compare abc://b: TensorFlow reads"),
    ],
)
def test_a_user_error_is_one_line_and_code_2(arguments, message, tmp_path, capsys):
    if not any("model_dir" in argument for argument in arguments):
        arguments = (*arguments, f"--model_dir={tmp_path / 'run'}")
    with pytest.raises(SystemExit) as stopped:
        run_main(*arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search(message, line)
    assert list(tmp_path.iterdir()) == []


def test_help_shows_the_flags():
    process = start_main("--help")
    shown, _ = process.communicate()
    for flag in flags.FLAGS:
        assert re.search(rf"--(\[no\])?{flag.name}\b", shown), flag.name


def test_the_command_line_starts_without_a_word_of_tensorflow():
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    arguments = (sys.executable, "main.py", "--mode=plan", "--model=efficientnet-b0", "--devices=v3-8", "--json")
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, without_start_up(done.stderr)) == (0, "")
    assert json.loads(done.stdout)


def test_an_error_ends_the_process_without_a_traceback(tmp_path):
    done = command("--advprop", "--attack_steps=0", f"--model_dir={tmp_path / 'run'}", check_code=2)
    assert without_start_up(done.stderr) == "error: attack num_steps 0 is outside [1, 10000]\n"

"""The report of a training run: its numbers, curves, links and commands against the run's own files."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import flags
from efficientnet_advprop.recipes import InputOptions, RunOptions
from efficientnet_advprop.reporting import ReportOfRun, run_report, write_run_report
from efficientnet_advprop.reporting.run_figures import training_curves
from tests.command_line import set_flags
from tests.small import small_recipe

STEPS = (1, 2, 4, 8, 16)


def metrics() -> list[dict]:
    """Lines of a run with two branches, whose adversarial term begins at step 4 and whose evaluations are two."""
    lines = []
    for step in STEPS:
        line = {"step": step, "epoch": step / 4, "kind": "train", "loss/clean": 3 / step, "top1/clean": step / 20}
        if step >= 4:
            line |= {"loss/adversarial": 5 / step, "top1/adversarial": step / 40}
        lines.append(line | {"loss/weight_decay": 0.25, "learning_rate": 0.01 * step, "train_seconds": float(step)})
        if step >= 8:
            results = {"top1_main": step / 17, "top1_auxiliary": step / 19, "loss_main": 1 / step}
            lines.append({"step": step, "epoch": step / 4, "kind": "eval", **results})
    return lines


@pytest.fixture
def run(tmp_path):
    """A finished run's recipe, options and summary; its folder holds metrics and drawn examples."""
    folder = tmp_path / "a run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics()))
    (folder / "adversarial_examples.png").write_bytes(b"")
    options = RunOptions(str(folder), command=f"python main.py --advprop '--model_dir={folder}'")
    summary = {
        "model": "efficientnet-b0",
        "step": 16,
        "top1_main": 16 / 17,
        "top1_auxiliary": 16 / 19,
        "top1_pgd": 0.25,
        "loss_main": 1 / 16,
        "evaluation_attack": {"num_steps": 10},
        "adversarial_examples": str(folder / "adversarial_examples.png"),
    }
    return small_recipe(train_steps=16), options, summary


def table_of(report: str) -> dict[str, str]:
    rows = re.findall(r"^\| (\S+) +\| (.*?) +\|$", Path(report).read_text(), re.M)
    return {name: value for name, value in rows if name != "result"}


def test_the_table_is_the_summary_and_every_link_leads_to_a_file(run):
    _, _, summary = run
    report = write_run_report(*run)
    rows = table_of(report)
    assert rows.keys() == {name for name, value in summary.items() if not isinstance(value, dict)}
    for name in ("top1_main", "top1_auxiliary", "top1_pgd"):
        assert float(rows[name].removesuffix(" %")) / 100 == pytest.approx(summary[name], abs=5e-5)
    assert (rows["loss_main"], rows["step"]) == ("0.0625", "16")
    links = re.findall(r"!\[.*\]\((.*)\)", Path(report).read_text())
    assert links == ["figures/training.png", "adversarial_examples.png"]
    assert all((Path(report).parent / link).exists() for link in links)
    assert "1 x clean@main + 1 x adversarial@auxiliary" in Path(report).read_text()


def test_the_curves_are_the_lines_of_the_run():
    lines = [(axis.get_ylabel(), line) for axis in training_curves(metrics(), "title").axes for line in axis.lines]
    own_panel = ("weight decay", "learning rate")
    drawn = {of if of in own_panel else line.get_label(): line.get_xydata() for of, line in lines}
    late = [step for step in STEPS if step >= 4]
    expected = {
        "clean": [(step / 4, 3 / step) for step in STEPS],
        "adversarial": [(step / 4, 5 / step) for step in late],
        "weight decay": [(step / 4, 0.25) for step in STEPS],
        "clean, training": [(step / 4, 100 * step / 20) for step in STEPS],
        "adversarial, training": [(step / 4, 100 * step / 40) for step in late],
        "main branch": [(step / 4, 100 * step / 17) for step in (8, 16)],
        "auxiliary branch": [(step / 4, 100 * step / 19) for step in (8, 16)],
        "learning rate": [(step / 4, 0.01 * step) for step in STEPS],
    }
    assert drawn.keys() == expected.keys()
    for name, points in expected.items():
        np.testing.assert_allclose(drawn[name], points, rtol=1e-12, err_msg=name)


def test_a_run_without_lines_has_empty_panels():
    assert [len(axis.lines) for axis in training_curves([], "title").axes] == [0, 0, 1]


def test_a_run_that_goes_on_shows_its_last_evaluation(run):
    recipe, options, _ = run
    report = write_run_report(recipe, options)
    assert table_of(report) == {
        "step": "16",
        "epoch": "4",
        "top1_main": "94.12 %",
        "top1_auxiliary": "84.21 %",
        "loss_main": "0.0625",
    }
    assert "The run goes on to step 16." in Path(report).read_text()
    assert "adversarial_examples" not in Path(report).read_text()


def test_every_command_to_go_on_is_one_that_the_program_takes(run):
    recipe, options, _ = run
    full = dataclasses.replace(
        options, data_dir="/some data", tpu="v3", tpu_zone="z", gcp_project="p", input=InputOptions(bad_images="skip")
    )
    modes = []
    for given in (options, full):
        report = write_run_report(recipe, given)
        for command in re.findall(r"^python main.py .*$", Path(report).read_text(), re.M):
            values = set_flags(*shlex.split(command)[2:])
            flags.refuse_contradictions(values)
            modes.append(values.mode)
            assert options.model_dir in (values.model_dir, values.init_checkpoint)
            assert values.model_dir != values.init_checkpoint  # a run does not start from itself
            if command not in (given.command,):
                assert (values.tpu, values.tpu_zone, values.gcp_project) == (
                    given.tpu,
                    given.tpu_zone,
                    given.gcp_project,
                )
    assert modes[: len(modes) // 2] == modes[len(modes) // 2 :]
    assert {"train_and_eval", "eval", "predict", "visualize", "export"} == set(modes)


def test_a_figure_that_cannot_be_drawn_is_a_warning_and_no_link(run, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise ValueError("no memory")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    report = write_run_report(*run)
    assert "training.png is not drawn: ValueError, no memory" in capsys.readouterr().err
    assert "training.png" not in Path(report).read_text()
    assert table_of(report)["top1_main"] == "94.12 %"


def test_a_report_that_cannot_be_written_is_a_warning(run, capsys):
    _, options, _ = run
    Path(options.model_dir, "figures").write_text("a file")
    assert write_run_report(*run) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {options.model_dir}/report.md is not written: ")
    assert not Path(options.model_dir, "report.md").exists()


def test_a_strip_that_was_not_drawn_has_no_link(run):
    recipe, options, summary = run
    report = write_run_report(recipe, options, summary | {"adversarial_examples": None})
    assert "adversarial_examples" not in Path(report).read_text()


def test_the_report_is_written_on_remote_storage(run):
    recipe, options, summary = run
    folder = "ram://run_report"
    tf.io.gfile.makedirs(folder)
    tf.io.gfile.copy(f"{options.model_dir}/metrics.jsonl", f"{folder}/metrics.jsonl", overwrite=True)
    assert write_run_report(recipe, dataclasses.replace(options, model_dir=folder), summary) == f"{folder}/report.md"
    assert tf.io.gfile.exists(f"{folder}/figures/training.png")
    assert sorted(tf.io.gfile.listdir(folder)) == ["figures", "metrics.jsonl", "report.md"]


def test_evaluations_that_follow_each_other_at_once_are_not_all_drawn(run, monkeypatch):
    """Drawing takes two seconds here, so the next report is due after 40."""
    recipe, options, _ = run
    now, written = [100.0], []

    def write(*arguments):
        written.append(now[0])
        now[0] += 2

    monkeypatch.setattr(run_report, "write_run_report", write)
    monkeypatch.setattr(run_report, "time", type("Clock", (), {"monotonic": lambda: now[0]}))
    report = ReportOfRun(recipe, options)
    for at, step in ((100.0, 2), (110.0, 4), (139.0, 6), (140.0, 8), (141.0, 10), (500.0, 16)):
        now[0] = at
        report.after_evaluation(step)
    assert written == [100.0, 140.0]  # and the last step's is written with its summary

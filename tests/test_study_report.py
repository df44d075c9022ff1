"""A study's tables and figures, by hand."""

import dataclasses
import math
import re

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.evaluation import BRANCH_GAP, Column, Estimate
from efficientnet_advprop.recipes import StudySpec, plan
from efficientnet_advprop.reporting import write_study_figures, write_study_report
from efficientnet_advprop.reporting.comparison_report import differences_tables, results_tables
from efficientnet_advprop.reporting.image_sheets import rescaled
from efficientnet_advprop.reporting.markdown import percent
from efficientnet_advprop.reporting.study_report import comparison_of, cost_table
from tests.made_up_results import CLEAN
from tests.studies import finished, keyed, make_recipe, result
from tests.test_evaluation_report import section_of, tables_of

GAP = Column("clean", "main", BRANCH_GAP)


def test_rows_by_hand():
    runs = [
        result("vanilla", 0, 0.80, seconds=8),
        result("advprop", 0, 0.84, 0.83, passes=3, seconds=20),
        result("vanilla", 1, 0.90, seconds=12),
        result("advprop", 1, 0.92, 0.88, passes=3, seconds=30),
        result("vanilla", 2, 0.70, seconds=10),  # without a partner
    ]
    comparison = comparison_of(keyed(runs), "b0")
    vanilla, advprop = comparison.rows
    assert (vanilla.name, len(vanilla.runs)) == ("vanilla", 3)
    assert vanilla.values[CLEAN].mean == pytest.approx(0.8)
    assert vanilla.values[CLEAN].standard_error == pytest.approx(0.1 / math.sqrt(3))
    assert advprop.differences[CLEAN].estimate.mean == pytest.approx(0.03)  # of 0.04 and 0.02
    assert advprop.differences[CLEAN].estimate.standard_error == pytest.approx(0.01)
    assert Column("clean", "auxiliary", "top1") not in advprop.differences
    assert advprop.values[GAP].mean == pytest.approx(0.025)  # of 0.01 and 0.04
    assert advprop.values[GAP].standard_error == pytest.approx(0.015)
    (costs,) = tables_of(cost_table(comparison))
    assert [tuple(row.values()) for row in costs] == [("vanilla", "3", "1.00", "10"), ("advprop", "2", "3.00", "25")]


def test_tables_by_hand():
    mains = {"vanilla": (0.80, 0.90, 0.70), "advprop": (0.84, 0.95, 0.76), "joint": (0.80, 0.95, 0.65)}
    runs = keyed(
        result(row, seed, main, main - 0.01 - 0.001 * seed if row == "advprop" else None)
        for row, of_row in mains.items()
        for seed, main in enumerate(of_row)
    )
    comparison = comparison_of(runs, "b0")
    results, gaps, single = (tables_of(text)[0] for text in results_tables(comparison))
    assert [row["clean evaluation images"] for row in results] == ["80.00 ± 5.77", "85.00 ± 5.51", "80.00 ± 8.66"]
    assert [row["clean evaluation images, auxiliary branch"] for row in results] == ["", "83.90 ± 5.53", ""]
    assert [tuple(row.values()) for row in gaps] == [("advprop", "**+1.10 ± 0.06**")]
    assert [row["contrast"] for row in single] == ["25.00 ± 0.00"] * 3
    _, differences, _ = differences_tables(comparison)
    # 4, 5 and 6 points: t = 5 / 0.577 = 8.66, where 4.30 is the 5 % of 2 degrees of freedom.
    (rows,) = tables_of(differences)
    assert [tuple(row.values())[:2] for row in rows] == [("advprop", "**+5.00 ± 0.58**"), ("joint", "+0.00 ± 2.89")]
    _, differences, _ = differences_tables(comparison_of(runs, "b0", "advprop"))
    (rows,) = tables_of(differences)
    assert tuple(rows[0].values())[:2] == ("vanilla", "**-5.00 ± 0.58**")


def test_one_run_has_no_standard_error_and_a_row_without_baseline_no_differences():
    assert math.isnan(Estimate.of([0.5]).standard_error)
    comparison = comparison_of(keyed([result("advprop", 0, 0.5, 0.5)]), "b0")
    assert comparison.rows[0].differences == {}
    assert differences_tables(comparison) == []
    assert [row["cost"] for row in tables_of(cost_table(comparison))[0] if "cost" in row] == []
    assert " 50.00 " in results_tables(comparison)[0]


def test_a_study_of_models_and_strengths_compares_both(tmp_path):
    spec = StudySpec(("efficientnet-b0", "resnet-50"), ("vanilla", "joint", "advprop"), 2, (1.0, 4.0))
    trials = plan(spec, make_recipe)
    runs = {trial.key: finished(trial) for trial in trials}
    figures = write_study_figures(str(tmp_path), trials, runs)
    names = [f"figures/{model}-{kind}.png" for model in spec.models for kind in ("benchmarks", "attack-strength")]
    assert [path for path, _ in figures] == names
    for path, _ in figures:
        assert tf.io.decode_png((tmp_path / path).read_bytes()).shape[-1] == 4
    write_study_report(str(tmp_path), trials, runs, "command", figures)
    text = (tmp_path / "report.md").read_text()
    (models,) = tables_of(section_of(text, "Models compared"))
    strengths = ["joint, epsilon 1", "joint, epsilon 4", "advprop, epsilon 1", "advprop, epsilon 4"]
    assert list(models[0]) == ["", "vanilla", *strengths, "vanilla, 3 passes", "vanilla, 7 passes"]
    assert [row[""] for row in models] == list(spec.models)
    by_row = {row.name: row for row in comparison_of(runs, "resnet-50").rows}
    expected = percent(by_row["advprop, epsilon 1"].differences[CLEAN].estimate, signed=True)
    assert models[1]["advprop, epsilon 1"].strip("*") == expected
    assert "resnet-50, advprop: no gradients or running statistics are drawn" in text
    assert "- `vanilla, 3 passes`: vanilla at equal budget, as many passes as advprop, epsilon 1 makes.\n" in text
    for other in ("vanilla", "advprop, epsilon 1", "advprop, epsilon 4"):
        assert text.count(f"\nPoints over {other}.") == 2
    assert re.search(r"\n- PGD: dataset: digits; .*attack: PGD-10 linf, .*; success: last; ", text)
    six = "gaussian_noise, shot_noise, contrast, pixelate, jpeg_compression, gaussian_blur"
    assert f"; corruptions: {six}; 30 passes" in text


def test_runs_that_diverged_and_bad_images_are_reported(tmp_path):
    trials = plan(StudySpec(("efficientnet-b0",), ("vanilla", "joint"), 2), make_recipe)
    runs = {trial.key: finished(trial) for trial in trials}
    for run in runs.values():
        run.parts["clean"] = dataclasses.replace(run.parts["clean"], images=357, bad_images=3)
    *_, last = trials
    runs[last.key] = dataclasses.replace(finished(last, diverged="not finite in steps 1 to 15: loss/clean"), parts={})
    write_study_report(str(tmp_path), trials, runs, "command", ())
    text = (tmp_path / "report.md").read_text()
    assert "**Diverged**, in no table: joint, seed 1: not finite in steps 1 to 15" in text
    assert "Evaluated on 357 images, of which one is 0.28 points" in text
    assert "3 evaluation images could not be read" in text
    assert "| joint   | 1      |" in text
    all_diverged = {trial.key: dataclasses.replace(finished(trial, diverged="at once"), parts={}) for trial in trials}
    assert write_study_figures(str(tmp_path), trials, all_diverged) == []
    write_study_report(str(tmp_path), trials, all_diverged, "command", ())


def test_gradients_are_shown_within_three_deviations():
    gradient = np.zeros((10, 10, 3), np.float32)
    gradient[0, 0, 0], gradient[0, 0, 1] = 1, -1  # 12 deviations away
    shown = rescaled(gradient)
    assert (shown[0, 0, 0], shown[0, 0, 1], shown[5, 5, 0]) == (1, 0, 0.5)
    assert rescaled(np.ones((2, 2, 3), np.float32)).tolist() == np.full((2, 2, 3), 0.5).tolist()


def test_fractions_are_in_percent_with_a_sign_where_they_differ():
    assert percent(0.12345) == "12.35"
    assert percent(None) == ""
    assert percent(Estimate(-1e-6, 0.0032), signed=True) == "+0.00 ± 0.32"
    assert percent(Estimate(-0.0123, math.nan), signed=True) == "-1.23"

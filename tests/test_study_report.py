"""A study's statistics, tables and figures, by hand."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.evaluation import BRANCH_GAP, rows_of
from efficientnet_advprop.evaluation.estimates import Estimate
from efficientnet_advprop.recipes import StudySpec, plan
from efficientnet_advprop.reporting import write_study_figures, write_study_report
from efficientnet_advprop.reporting.markdown import percent
from efficientnet_advprop.reporting.study_figures import rescaled
from efficientnet_advprop.reporting.study_report import study_tables
from tests.studies import finished, make_recipe, result

_FIGURES_OF_ROWS = ("accuracy", "branch-gap", "attack-strength")


def test_rows_by_hand():
    rows = rows_of(
        [
            result("vanilla", 0, 0.80, seconds=8),
            result("advprop", 0, 0.84, 0.83, passes=3, seconds=20),
            result("vanilla", 1, 0.90, seconds=12),
            result("advprop", 1, 0.92, 0.88, passes=3, seconds=30),
            result("vanilla", 2, 0.70, seconds=10),  # without a partner
        ],
        "vanilla",
    )
    vanilla, advprop = rows
    assert (vanilla.name, vanilla.runs, vanilla.cost) == ("vanilla", 3, 1)
    assert vanilla.values["top1_main"].mean == pytest.approx(0.8)
    assert vanilla.values["top1_main"].standard_error == pytest.approx(0.1 / math.sqrt(3))
    assert (advprop.runs, advprop.cost, advprop.seconds.mean) == (2, 3, 25)
    assert advprop.differences["top1_main"].mean == pytest.approx(0.03)  # of 0.04 and 0.02
    assert advprop.differences["top1_main"].standard_error == pytest.approx(0.01)
    assert "top1_auxiliary" not in advprop.differences
    assert advprop.values[BRANCH_GAP].mean == pytest.approx(0.025)  # of 0.01 and 0.04
    assert advprop.values[BRANCH_GAP].standard_error == pytest.approx(0.015)


def cells_of_table(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]


def test_tables_by_hand():
    mains = {"vanilla": (0.80, 0.90, 0.70), "advprop": (0.84, 0.95, 0.76), "joint": (0.80, 0.95, 0.65)}
    results = [
        result(row, seed, main, main - 0.01 if row == "advprop" else None, 3.0 if row != "vanilla" else 1.0)
        for row, of_row in mains.items()
        for seed, main in enumerate(of_row)
    ]
    results[0] = dataclasses.replace(results[0], seconds=40.0)
    tables = {caption.split(",")[0]: cells_of_table(text) for caption, text in study_tables(results)}
    assert list(tables) == [
        "Top-1 in percent.",
        "Points over vanilla",
        "Points over advprop",
        "Each corruption",
    ]
    header, _, *rows = tables["Top-1 in percent."]
    assert header == ["", "runs", "top1_main", "top1_auxiliary", "main over auxiliary", "cost", "seconds a run"]
    assert rows == [
        ["vanilla", "3", "80.00 ± 5.77", "", "", "1.00", "20"],
        ["advprop", "3", "85.00 ± 5.51", "84.00 ± 5.51", "+1.00 ± 0.00", "3.00", "10"],
        ["joint", "3", "80.00 ± 8.66", "", "", "3.00", "10"],
    ]
    # 4, 5 and 6 points: t = 5 / 0.577 = 8.66, where 4.30 is the 5 % of 2 degrees of freedom.
    assert tables["Points over vanilla"][2:] == [["advprop", "**+5.00 ± 0.58**"], ["joint", "+0.00 ± 2.89"]]
    assert tables["Points over advprop"][2][:2] == ["vanilla", "**-5.00 ± 0.58**"]
    assert [caption for caption, _ in study_tables(results)][-1] == "Each corruption, points over vanilla."
    assert tables["Each corruption"][0] == ["", "blur"]


def test_a_difference_is_told_from_zero_by_a_t_test_over_seeds():
    def told_apart(*differences):
        pairs = [
            result(row, seed, 0.5 + (row != "vanilla") * difference)
            for row in ("vanilla", "joint")
            for seed, difference in enumerate(differences)
        ]
        return "top1_main" in rows_of(pairs, "vanilla")[1].told_apart

    assert told_apart(0.04, 0.05, 0.06)
    assert not told_apart(0.04, 0.05, -0.06)
    assert not told_apart(0.04, 0.041, 0.15)  # t = 2.1
    assert not told_apart(0.03)
    assert not told_apart(0.03, 0.03)  # two seeds that happen to agree


def test_one_run_has_no_standard_error_and_a_row_without_baseline_no_differences():
    assert math.isnan(Estimate.of([0.5]).standard_error)
    (row,) = rows_of([result("advprop", 0, 0.5, 0.5)], "vanilla")
    assert row.differences == {}
    assert math.isnan(row.cost)
    assert " 50.00 " in study_tables([result("advprop", 0, 0.5, 0.5)])[0][1]


def test_a_study_of_models_and_strengths_compares_both(tmp_path):
    spec = StudySpec(("efficientnet-b0", "resnet-50"), ("vanilla", "joint", "advprop"), 2, (1.0, 4.0))
    cells = plan(spec, make_recipe)
    results = [finished(cell) for cell in cells]
    figures = write_study_figures(str(tmp_path), cells, results)
    names = [f"figures/{model}-{kind}.png" for model in spec.models for kind in _FIGURES_OF_ROWS]
    assert [path for path, _ in figures] == names
    for path, _ in figures:
        assert tf.io.decode_png((tmp_path / path).read_bytes()).shape[-1] == 4
    write_study_report(str(tmp_path), cells, results, "command", figures)
    text = (tmp_path / "report.md").read_text()
    table = cells_of_table(text.split("## Models beside each other")[1].split("\n\n")[2])
    strengths = ["joint, epsilon 1", "joint, epsilon 4", "advprop, epsilon 1", "advprop, epsilon 4"]
    assert table[0] == ["", "vanilla", *strengths, "vanilla, 3 passes", "vanilla, 7 passes"]
    assert [row[0] for row in table[2:]] == list(spec.models)
    by_row = {row.name: row for row in rows_of([one for one in results if one.model == "resnet-50"], "vanilla")}
    assert table[3][4].strip("*") == percent(by_row["advprop, epsilon 1"].differences["top1_main"], signed=True)
    assert "resnet-50, advprop: no gradients or running statistics are drawn" in text
    assert "- `vanilla, 3 passes`: vanilla at equal budget, as many passes as advprop, epsilon 1 makes.\n" in text
    for other in ("vanilla", "advprop, epsilon 1", "advprop, epsilon 4"):
        assert text.count(f"Points over {other}, pairs of the same seed.") == 2


def test_differences_that_nobody_has_are_no_table():
    captions = [caption for caption, _ in study_tables([result("vanilla", 0, 0.5), result("vanilla", 1, 0.6)])]
    assert captions == ["Top-1 in percent.", "Each corruption, mean over its severities, in percent."]


def test_runs_that_diverged_or_met_bad_images_are_told(tmp_path):
    cells = plan(StudySpec(("efficientnet-b0",), ("vanilla", "joint"), 2), make_recipe)
    results = [finished(cell, bad_images=3) for cell in cells]
    results[3] = dataclasses.replace(results[3], values={}, diverged="not finite in steps 1 to 15: loss/clean")
    write_study_report(str(tmp_path), cells, results, "command", ())
    text = (tmp_path / "report.md").read_text()
    assert "**Diverged**, in no table: efficientnet-b0, joint, seed 1: not finite in steps 1 to 15" in text
    assert "Evaluated on 357 images, of which one is 0.28 points" in text
    assert "3 evaluation images could not be read" in text
    assert "| joint   | 1      |" in text
    all_diverged = [dataclasses.replace(one, values={}, diverged="at once") for one in results]
    assert write_study_figures(str(tmp_path), cells, all_diverged) == []
    write_study_report(str(tmp_path), cells, all_diverged, "command", ())


def test_gradients_are_shown_within_three_deviations():
    gradient = np.zeros((10, 10, 3), np.float32)
    gradient[0, 0, 0], gradient[0, 0, 1] = 1, -1  # 12 deviations away
    shown = rescaled(gradient)
    assert (shown[0, 0, 0], shown[0, 0, 1], shown[5, 5, 0]) == (1, 0, 0.5)
    assert rescaled(np.ones((2, 2, 3), np.float32)).tolist() == np.full((2, 2, 3), 0.5).tolist()


def test_shares_are_in_percent_with_a_sign_where_they_differ():
    assert percent(0.12345) == "12.35"
    assert percent(None) == ""
    assert percent(Estimate(-1e-6, 0.0032), signed=True) == "+0.00 ± 0.32"
    assert percent(Estimate(-0.0123, math.nan), signed=True) == "-1.23"

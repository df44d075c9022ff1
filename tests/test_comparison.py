"""Means, errors, differences and their significance by hand; rows and columns of a comparison."""

import math

import pytest

from efficientnet_advprop.evaluation import compare, score_of
from tests.made_up_results import CLEAN, everything, part, run_in


def runs_over_seeds(folder, scheme, top1, first_seed=0):
    """A run for each value, with consecutive seeds."""
    return [
        run_in(folder / f"{scheme}-{seed}", {"clean": part(value)}, scheme=scheme, seed=seed, recipe=scheme)
        for seed, value in enumerate(top1, start=first_seed)
    ]


def test_means_and_paired_differences_by_hand(tmp_path):
    vanilla = runs_over_seeds(tmp_path, "vanilla", [0.80, 0.82, 0.84])
    advprop = runs_over_seeds(tmp_path, "advprop", [0.83, 0.84, 0.88])
    mixed = [run for pair in zip(vanilla, reversed(advprop), strict=True) for run in pair]
    comparison = compare(mixed)
    assert [row.name for row in comparison.rows] == ["efficientnet-b7, vanilla", "efficientnet-b7, advprop"]
    first, second = comparison.rows
    assert first.values[CLEAN].mean == pytest.approx(0.82)
    assert first.values[CLEAN].standard_error == pytest.approx(0.02 / math.sqrt(3))
    assert first.differences == {}
    assert second.values[CLEAN].mean == pytest.approx(0.85)
    difference = second.differences[CLEAN]  # of 0.03, 0.02, 0.04
    assert difference.paired
    assert difference.estimate.mean == pytest.approx(0.03)
    assert difference.estimate.standard_error == pytest.approx(0.01 / math.sqrt(3))
    assert comparison.notes == ()


def test_other_seeds_are_not_paired(tmp_path):
    vanilla = runs_over_seeds(tmp_path, "vanilla", [0.80, 0.82, 0.84])
    joint = runs_over_seeds(tmp_path, "joint", [0.79, 0.81], first_seed=2)
    difference = compare(vanilla + joint).rows[1].differences[CLEAN]
    assert not difference.paired
    assert difference.estimate.mean == pytest.approx(-0.02)
    assert difference.estimate.standard_error == pytest.approx(math.hypot(0.02 / math.sqrt(3), 0.01))


def test_a_single_run_has_no_standard_error(tmp_path):
    (vanilla,), (advprop,) = (
        runs_over_seeds(tmp_path, scheme, [top1]) for scheme, top1 in (("vanilla", 0.8), ("advprop", 0.83))
    )
    official = run_in(tmp_path / "official", {"clean": part(0.9)}, seed=None, recipe=None, scheme=None)
    comparison = compare([vanilla, advprop, official])
    paired, unpaired = (row.differences[CLEAN] for row in comparison.rows[1:])
    assert (paired.paired, unpaired.paired) == (True, False)
    assert paired.estimate.mean == pytest.approx(0.03)
    assert math.isnan(paired.estimate.standard_error)
    assert math.isnan(unpaired.estimate.standard_error)
    assert comparison.rows[2].name == "efficientnet-b7"


def test_significance_is_of_a_t_test_paired_or_not(tmp_path):
    def significant(ours, theirs, first_seed=0):
        rows = [
            *runs_over_seeds(tmp_path, "vanilla", ours),
            *runs_over_seeds(tmp_path, "joint", theirs, first_seed),
        ]
        return compare(rows).rows[1].differences[CLEAN].significant

    # 4, 5 and 6 points: t = 5 / 0.577 = 8.66, where 4.30 is the 5 % of 2 degrees of freedom.
    assert significant([0.5, 0.6, 0.7], [0.54, 0.65, 0.76])
    assert not significant([0.5, 0.6, 0.7], [0.54, 0.65, 0.64])
    # Unpaired, the same numbers: t = 0.05 / 0.086.
    assert not significant([0.5, 0.6, 0.7], [0.54, 0.65, 0.76], first_seed=3)
    assert significant([0.5, 0.51, 0.52], [0.6, 0.62, 0.61], first_seed=3)  # t = 0.1 / 0.008
    assert not significant([0.5, 0.5], [0.6, 0.6], first_seed=2)  # nothing varies
    assert not significant([0.5], [0.6], first_seed=1)
    # Common seeds are paired, even if one row has more seeds.
    found = compare([*runs_over_seeds(tmp_path, "a", [0.5, 0.6, 0.7]), *runs_over_seeds(tmp_path, "b", [0.51, 0.63])])
    assert found.rows[1].differences[CLEAN].paired
    assert found.rows[1].differences[CLEAN].estimate.mean == pytest.approx(0.02)


def test_only_one_recipe_over_several_seeds_is_one_row(tmp_path):
    parts = {"clean": part(0.8)}
    known = run_in(tmp_path / "a", parts, recipe="r", seed=0)
    again = run_in(tmp_path / "b", parts, recipe="r", seed=0, step=7)
    other_seed = run_in(tmp_path / "c", parts, recipe="r", seed=1)
    raw = run_in(tmp_path / "d", parts, recipe="r", seed=2, weights="raw, x")
    unknown = [run_in(tmp_path / name, parts, recipe=None, seed=seed) for seed, name in enumerate("ef")]
    rows = compare([known, again, other_seed, raw, *unknown]).rows
    folders = [[run.folder.rpartition("/")[2] for run in row.runs] for row in rows]
    assert folders == [["a", "c"], ["b"], ["d"], ["e"], ["f"]]
    assert len({row.name for row in rows}) == 5
    assert rows[1].name == f"efficientnet-b7, advprop ({tmp_path / 'b'})"
    at_other_steps = run_in(tmp_path / "g", parts, recipe="r", seed=1, step=9)
    (note,) = compare([again, at_other_steps]).notes
    assert note == "efficientnet-b7, advprop: a mean over runs at steps 7, 9"


def test_columns_are_those_of_the_benchmarks(tmp_path):
    run = run_in(tmp_path, everything())
    comparison = compare([run])
    titles = [column.title for column in comparison.columns if not column.corruption]
    assert titles == [
        "clean evaluation images",
        "clean evaluation images, main over auxiliary branch",
        "clean evaluation images, auxiliary branch",
        "ImageNet",
        "ImageNet, main over auxiliary branch",
        "ImageNet, auxiliary branch",
        "ImageNetV2",
        "ImageNet-A, 200-way",
        "ImageNet-A, 1000-way",
        "ImageNet-R, 200-way",
        "ImageNet-R, 1000-way",
        "ImageNet-Sketch",
        "Stylized-ImageNet",
        "ImageNet-C, mCE",
        "ImageNet-C, mean error",
        "corruptions on the fly",
        "PGD linf, epsilon 0.5 px",
        "PGD linf, epsilon 1 px",
        "PGD linf, epsilon 2 px",
        "PGD linf, epsilon 4 px",
        "PGD l2, epsilon 128 px",
        "PGD l2, epsilon 256 px",
        "PGD l2, epsilon 512 px",
    ]
    values = {column.title: value.mean for column, value in comparison.rows[0].values.items()}
    assert values["ImageNet-A, 200-way"] == 0.447
    assert values["ImageNet-A, 1000-way"] == 0.377
    assert values["ImageNet-C, mCE"] == score_of(run.results, "imagenet_c", "main").mce
    assert values["PGD linf, epsilon 4 px"] == 0.02
    (note,) = comparison.notes
    assert note.startswith(f"{tmp_path}: warning, l2, epsilon 256 px: more steps do not hurt")

"""Comparison of evaluated networks: means, errors and differences by hand, incomparable values, the command."""

import dataclasses
import json
import math

import pytest
import tensorflow as tf

import flags
from efficientnet_advprop.evaluation import Column, EvaluatedRun, ResultsFile, compare, score_of
from efficientnet_advprop.modes.compare import run_comparison
from efficientnet_advprop.recipes import RecipeError
from tests.command_line import run_main, set_flags
from tests.made_up_results import attacked, branches, corrupted, everything, part, results_in
from tests.studies import keyed, result
from tests.test_evaluation_report import tables_of

CLEAN = Column("clean", "main", "top1")


def run_in(folder, parts, **evaluated):
    return EvaluatedRun(str(folder), results_in(folder, parts, **evaluated))


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


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (part(0.8), part(0.8, set="elsewhere"), "set 0123456789 against elsewhere"),
        (part(0.8), part(0.8, images=1000), "images counted 50,000 against 1,000"),
        # The same images, two of which could not be read.
        (
            part(0.8),
            dataclasses.replace(part(0.8), images=49_998, bad_images=2),
            "images counted 50,000 against 49,998",
        ),
    ],
)
def test_other_images_are_not_subtracted(ours, theirs, why, tmp_path):
    first = run_in(tmp_path / "a", {"clean": ours, "imagenet_v2": part(0.7)}, scheme="vanilla", recipe="v")
    second = run_in(tmp_path / "b", {"clean": theirs, "imagenet_v2": part(0.75)}, recipe="a")
    comparison = compare([first, second])
    row = comparison.rows[1]
    assert CLEAN in row.values
    assert list(row.differences) == [Column("imagenet_v2", "main", "top1")]
    assert comparison.notes == (
        "efficientnet-b7, advprop: no difference to efficientnet-b7, vanilla, from which it differs in "
        f"{why}: clean evaluation images",
    )


def test_other_attacks_and_classes_are_not_subtracted(tmp_path):
    rows = [(1, 0.9, 0.5, 0.4), (4, 0.9, 0.3, 0.1)]
    first = run_in(tmp_path / "a", attacked("linf", rows), recipe="v")
    second = run_in(tmp_path / "b", attacked("linf", rows, steps=20), recipe="a")
    assert compare([first, second]).rows[1].differences == {}
    (note,) = compare([first, second]).notes
    assert "differs in attack PGD-10 linf against PGD-20 linf: PGD linf, epsilon 1 px; PGD linf, epsilon 4 px" in note
    other_branch = run_in(tmp_path / "c", attacked("linf", rows, branch="auxiliary"), recipe="a")
    assert compare([first, other_branch]).rows[1].values == {}
    assert "went through the auxiliary branch: it is not compared" in compare([first, other_branch]).notes[0]
    ten = run_in(tmp_path / "d", attacked("linf", rows), recipe="a", class_names=tuple("abcdefghij"))
    (note,) = compare([first, ten]).notes
    assert "differs in number of classes 1,000 against 10" in note


def test_last_and_any_are_neither_averaged_nor_subtracted(tmp_path):
    kinds = ("any", "last", "any")
    attacks = [attacked("linf", [(4, 0.9, 0.3, 0.1 * seed)], success=kind) for seed, kind in enumerate(kinds)]
    row = [run_in(tmp_path / str(seed), parts, recipe="r", seed=seed) for seed, parts in enumerate(attacks)]
    assert compare(row).rows[0].values == {}
    assert "differ in success any against last: PGD linf, epsilon 4 px" in compare(row).notes[0]
    other = run_in(tmp_path / "other", attacks[0], recipe="other")
    assert compare([row[1], other]).rows[1].differences == {}


def test_means_over_six_and_fifteen_corruptions_are_neither_averaged_nor_subtracted(tmp_path):
    names = ("gaussian_noise", "contrast")
    few = corrupted("corruptions", corruptions=", ".join(names))
    few = {key: value for key, value in few.items() if key.split("/")[1] in names}
    every = corrupted("corruptions", extra=False, corruptions="all")
    mean, shared = (
        Column("corruptions", "main", "top1"),
        [Column(f"corruptions/{name}", "main", "top1") for name in names],
    )
    one, other = (run_in(tmp_path / name, parts, recipe=name) for name, parts in (("few", few), ("every", every)))
    comparison = compare([one, other])
    assert all(mean in row.values for row in comparison.rows)
    assert list(comparison.rows[1].differences) == shared
    assert [note.partition("differs in ")[2] for note in comparison.notes] == [
        "corruptions gaussian_noise, contrast against all: corruptions on the fly"
    ]
    again = run_in(tmp_path / "again", every, recipe="few", seed=1)
    (row,) = compare([one, again]).rows
    assert mean not in row.values
    assert set(shared) <= set(row.values)
    # Other corruptions alone: nothing is shared.
    fog = {key: value for key, value in every.items() if "/fog/" in key}
    fog = {key: dataclasses.replace(of, settings={**of.settings, "corruptions": "fog"}) for key, of in fog.items()}
    assert compare([one, run_in(tmp_path / "fog", fog, recipe="fog")]).rows[1].differences == {}


def test_input_sizes_may_differ_except_where_the_input_is_changed(tmp_path):
    def parts(size, crop):
        own = {"input_image_size": size, "eval_crop": crop, "seed": size}
        return {
            "imagenet": part(0.8, **own),
            **corrupted("imagenet_c", resize="model", **own),
            **corrupted("corruptions", **own),
            **{key: dataclasses.replace(of, settings={**of.settings, **own}) for key, of in attacks.items()},
        }

    attacks = attacked("linf", [(4, 0.9, 0.3, 0.1)]) | attacked("l2", [(128, 0.9, 0.3, 0.1)])
    small = run_in(tmp_path / "a", parts(224, "0.875"), recipe="v", input_image_size=224)
    large = run_in(tmp_path / "b", parts(600, "32px"), recipe="a")
    comparison = compare([small, large])
    assert [column.title for column in comparison.rows[1].differences if not column.corruption] == [
        "ImageNet",
        "ImageNet-C, mCE",
        "ImageNet-C, mean error",
        "PGD linf, epsilon 4 px",
    ]
    (note,) = comparison.notes
    assert "input_image_size 224 against 600: corruptions on the fly; PGD l2, epsilon 128 px" in note
    native = run_in(tmp_path / "c", corrupted("imagenet_c", resize="native"), recipe="a")
    (note,) = compare([small, native]).notes
    assert "resize model against native: ImageNet-C, mCE; ImageNet-C, mean error" in note


def test_a_row_of_runs_on_different_images_has_no_mean(tmp_path):
    first = run_in(tmp_path / "a", {"clean": part(0.8), "imagenet_v2": part(0.7)}, seed=0)
    second = run_in(tmp_path / "b", {"clean": part(0.8, set="elsewhere")}, seed=1)
    comparison = compare([first, second])
    (row,) = comparison.rows
    assert [column.title for column in row.values] == ["ImageNetV2"]
    assert comparison.notes == (
        "efficientnet-b7, advprop: no mean over its runs, which differ in set 0123456789 against elsewhere: "
        "clean evaluation images",
        "efficientnet-b7, advprop: measured in only 1 of 2 runs: ImageNetV2",
    )


def test_a_partial_set_is_not_compared(tmp_path):
    parts = corrupted("imagenet_c")
    del parts["imagenet_c/fog/3"]
    comparison = compare([run_in(tmp_path, {**parts, "clean": part(0.5)})])
    assert [column for column in comparison.columns if not column.corruption] == [CLEAN]
    assert len(comparison.columns) == 1 + 14  # and the single corruptions that are whole
    assert comparison.notes == (f"{tmp_path}: ImageNet-C is partial, without fog at severity 3: not compared",)


def make_runs(folder):
    """Vanilla twice and AdvProp twice, in the folders of runs, and official weights in an evaluation's."""
    for scheme, gain in (("vanilla", 0.0), ("advprop", 0.02)):
        for seed in range(2):
            parts = {
                "clean": part(branches(0.80 + gain + 0.01 * seed, 0.7)),
                **attacked("linf", [(1, 0.8, 0.5, 0.4 + gain), (4, 0.8, 0.3, 0.1)]),
            }
            results_in(folder / f"{scheme}-{seed}" / "evaluation", parts, scheme=scheme, seed=seed, recipe=scheme)
    official = {"clean": part(0.9, set="elsewhere")}
    results_in(folder / "l2", official, model="efficientnet-l2", scheme=None, seed=None, recipe=None)
    return [str(folder / name) for name in ("vanilla-0", "vanilla-1", "advprop-0", "advprop-1", "l2")]


def test_one_evaluation_under_two_names_is_refused(tmp_path, monkeypatch):
    results_in(tmp_path / "run", {"clean": part(0.5)})
    (tmp_path / "link").symlink_to(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    for other in ("link", str(tmp_path / "run")):
        with pytest.raises(RecipeError, match=f"{other} is the evaluation of run again"):
            run_comparison(["run", other], "out", published=False, command="")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_report_values_and_figures(tmp_path, capsys):
    runs, out = make_runs(tmp_path), tmp_path / "out"
    run_main("--mode=compare", f"--compare={','.join(runs)}", "--published", f"--model_dir={out}")
    output = capsys.readouterr().out
    assert output.endswith(f"report: {out}/comparison.md\n")
    line = next(line for line in output.splitlines() if line.startswith("clean evaluation images "))
    assert line.split()[3:] == ["80.50", "±", "0.50", "82.50", "±", "0.50", "90.00"]
    text = (out / "comparison.md").read_text()
    networks, results, gaps, differences, published = tables_of(text)
    assert [row["run"] for row in networks] == runs
    assert [row["network"] for row in networks] == [
        "efficientnet-b7, vanilla",
        "",
        "efficientnet-b7, advprop",
        "",
        "efficientnet-l2",
    ]
    assert [row["seed"] for row in networks] == ["0", "1", "0", "1", "not known"]
    assert [row["clean evaluation images"] for row in results] == ["80.50 ± 0.50", "82.50 ± 0.50", "90.00"]
    assert [row["clean evaluation images, auxiliary branch"] for row in results] == ["70.00 ± 0.00"] * 2 + [""]
    assert [row["PGD linf, epsilon 1 px"] for row in results] == ["40.00 ± 0.00", "42.00 ± 0.00", ""]
    assert [row["clean evaluation images"] for row in differences] == ["+2.00 ± 0.00", ""]
    # Two seeds: t = 21 and 25, where 12.7 is the 5 % of one degree of freedom.
    assert [row["clean evaluation images"] for row in gaps] == ["**+10.50 ± 0.50**", "**+12.50 ± 0.50**"]
    assert "Differences are paired" in text
    assert "(u)" not in text
    assert "efficientnet-l2: no difference to efficientnet-b7, vanilla, from which it differs in set" in text
    assert "## Published, not measured here" in text
    assert {row["model"] for row in published} == {"efficientnet-b7"}
    assert "- efficientnet-l2: nothing is published" in text
    assert f"```\npython main.py --mode=compare --compare={','.join(runs)}" in text
    for name in ("comparison-benchmarks", "comparison-attacks"):
        assert f"(figures/{name}.png)" in text
        assert tf.io.decode_png((out / f"figures/{name}.png").read_bytes()).shape[1] == 1100
    values = json.loads((out / "comparison.json").read_text())
    assert [row["name"] for row in values["rows"]] == [row["in %"] for row in results]
    assert values["columns"]["clean/main/top1"] == {"title": "clean evaluation images", "lower_is_better": False}
    difference = values["rows"][1]["differences"]["clean/main/top1"]
    known = {"mean": pytest.approx(0.02), "standard_error": pytest.approx(0)}
    assert difference == {**known, "paired": True, "significant": False}  # equal differences prove nothing
    assert values["rows"][2]["values"]["clean/main/top1"] == {"mean": 0.9, "standard_error": None}
    assert values["rows"][1]["runs"][1]["seed"] == 1
    assert any(result["mce"] == pytest.approx(0.529) for result in values["published"])
    assert not list(out.glob("**/*.tmp"))


def test_published_numbers_are_optional(tmp_path, capsys):
    runs, out = make_runs(tmp_path)[:3], tmp_path / "out"
    run_main("--mode=compare", f"--compare={runs[0]},{runs[1]},{runs[2]}", f"--model_dir={out}")
    capsys.readouterr()
    text = (out / "comparison.md").read_text()
    assert "## Published" not in text
    assert len(tables_of(text)) == 4
    assert "Those marked (u) are unpaired" in text
    assert "+1.50 (u)" in text
    assert "published" not in json.loads((out / "comparison.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=compare"], "--mode=compare needs --compare, such as runs/a,runs/b"),
        (["--mode=compare", "--compare="], "--mode=compare needs --compare"),
        (["--mode=compare", "--compare=a,,b"], "--compare=a,,b names an empty folder"),
        (["--mode=compare", "--compare=a,b,a/"], "--compare names a twice"),
        (["--mode=compare", "--compare=a", "--advprop"], "--advprop is read by --mode=train_and_eval"),
        (["--mode=compare", "--compare=a", "--model_name=resnet-50"], "--model is read by"),
        (["--mode=compare", "--compare=a", "--init_checkpoint=x"], "--init_checkpoint is read by"),
        (["--mode=compare", "--compare=a", "--data_dir=x"], "--data_dir is read by"),
        (["--mode=compare", "--compare=a", "--model_dir="], "--model_dir= is empty"),
        (
            ["--mode=compare", "--compare=FOLDER/x"],
            "no evaluation in FOLDER/x: neither FOLDER/x/evaluation/results.json",
        ),
        (["--mode=compare", "--compare=FOLDER/x"], "nor FOLDER/x/results.json is there"),
        (["--mode=compare", "--compare=FOLDER/damaged"], "FOLDER/damaged/results.json cannot be read: "),
        (["--mode=compare", "--compare=FOLDER/empty"], "FOLDER/empty/results.json has no finished benchmark"),
        (
            ["--mode=compare", "--compare=FOLDER/run,FOLDER/run/evaluation"],
            "FOLDER/run/evaluation is the evaluation of FOLDER/run again: FOLDER/run/evaluation/results.json",
        ),
        (["--mode=compare", "--compare=FOLDER/run,FOLDER/./run"], "is the evaluation of FOLDER/run again"),
        (["--mode=compare", "--compare=FOLDER/run", "--model_dir=FOLDER/run"], "FOLDER/run holds a run"),
        (["--mode=compare", "--compare=FOLDER/run", "--model_dir=FOLDER/file"], "FOLDER/file cannot be written"),
    ],
)
def test_what_cannot_be_compared_is_one_line(arguments, message, tmp_path, capsys):
    results_in(tmp_path / "run" / "evaluation", {"clean": part(0.5)})
    (tmp_path / "run" / "recipe.json").write_text("{}")
    for name, text in (("damaged", "{"), ("empty", None)):
        (tmp_path / name).mkdir()
        if text:
            (tmp_path / name / "results.json").write_text(text)
    values = json.loads((tmp_path / "run" / "evaluation" / "results.json").read_text())
    (tmp_path / "empty" / "results.json").write_text(
        json.dumps({**values, "runs": {"run": {**values["runs"]["run"], "parts": {}}}})
    )
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.glob("**/*"))
    arguments = [argument.replace("FOLDER", str(tmp_path)) for argument in arguments]
    if not any(argument.startswith("--model_dir") for argument in arguments):
        arguments.append(f"--model_dir={tmp_path / 'out'}")
    with pytest.raises(SystemExit) as left:
        run_main(*arguments)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message.replace("FOLDER", str(tmp_path)) in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sorted(tmp_path.glob("**/*")) == before


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


def test_all_runs_of_a_study_are_compared(tmp_path, capsys):
    rows = {"vanilla": (0.80, 0.90, 0.70), "advprop": (0.84, 0.95, 0.76)}
    runs = keyed(result(row, seed, main) for row, of_row in rows.items() for seed, main in enumerate(of_row))
    runs["diverged"] = dataclasses.replace(result("joint", 0, 0.5, diverged="not finite"), parts={})
    ResultsFile(str(tmp_path / "study")).write(runs)
    run_main("--mode=compare", f"--compare={tmp_path / 'study'}", f"--model_dir={tmp_path / 'out'}")
    capsys.readouterr()
    text = (tmp_path / "out" / "comparison.md").read_text()
    tables = tables_of(text)
    assert [row["clean evaluation images"] for row in tables[1]] == ["80.00 ± 5.77", "85.00 ± 5.51"]
    assert [row["corruptions on the fly, in %"] for row in tables[2]] == ["b0, vanilla", "b0, advprop"]
    assert [row["clean evaluation images"] for row in tables[3]] == ["**+5.00 ± 0.58**"]
    assert "**Diverged**, in no table: b0, joint, seed 0: not finite." in text


@pytest.mark.parametrize("arguments", [["--compare=a"], ["--published"], ["--nopublished"]])
def test_flags_of_a_comparison_are_for_no_other_mode(arguments):
    with pytest.raises(RecipeError, match="is read by --mode=compare, not by train"):
        flags.refuse_contradictions(set_flags("--mode=train", *arguments))


def test_the_default_folder_and_the_command():
    settings = flags.comparison_from_flags(set_flags("--mode=compare", "--compare=a b,c"))
    assert (settings.runs, settings.folder, settings.published) == (("a b", "c"), "runs/comparison", False)
    assert settings.command == "python main.py --mode=compare '--compare=a b,c'"

"""`--mode=compare`: its report, values and figures, its flags, what it refuses."""

import dataclasses
import json
import re

import pytest
import tensorflow as tf

import flags
from efficientnet_advprop.evaluation import ResultsFile
from efficientnet_advprop.modes.compare import run_comparison
from efficientnet_advprop.recipes import RecipeError
from tests.command_line import run_main, set_flags
from tests.made_up_results import attacked, branches, corrupted, part, results_in
from tests.studies import keyed, result
from tests.test_evaluation_report import tables_of


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
    with pytest.raises(RecipeError, match=r"is read by --mode=compare( and visualize)?, not by train"):
        flags.refuse_contradictions(set_flags("--mode=train", *arguments))


def test_the_default_folder_and_the_command():
    settings = flags.comparison_from_flags(set_flags("--mode=compare", "--compare=a b,c"))
    assert (settings.runs, settings.folder, settings.published) == (("a b", "c"), "runs/comparison", False)
    assert settings.command == "python main.py --mode=compare '--compare=a b,c'"


def test_the_report_says_what_was_measured(tmp_path, capsys):
    made = {"images": "2000 evenly spaced", "corruptions": "gaussian_noise, contrast"}
    for seed in range(2):
        parts = {"clean": part(0.8), **corrupted("corruptions"), **attacked("linf", [(4, 0.8, 0.5, 0.4)])}
        for key, one in parts.items():
            if key.startswith("corruptions/"):
                one.settings.update(made)
        results_in(tmp_path / str(seed), parts, seed=seed, recipe="a")
    results_in(tmp_path / "other", {"clean": part(0.9, images=500), **attacked("linf", [(4, 0.8, 0.5, 0.4)], steps=50)})
    runs = [str(tmp_path / name) for name in ("0", "1", "other")]
    run_main("--mode=compare", f"--compare={','.join(runs)}", f"--model_dir={tmp_path / 'out'}")
    capsys.readouterr()
    above = (tmp_path / "out" / "comparison.md").read_text().partition("## Results")[0]
    assert "\n- clean evaluation images: dataset: imagenet; set: 0123456789; images: all; one pass.\n" in above
    assert "images: 2000 evenly spaced; corruptions: gaussian_noise, contrast; 95 passes.\n" in above
    pgd = "attack: PGD-{} linf; restarts: 5; success: any; one pass.\n"
    assert re.search(rf"\n- PGD of {runs[0]}, {runs[1]}: .*; {pgd.format(10)}", above)
    assert re.search(rf"\n- PGD of {runs[2]}: .*; {pgd.format(50)}", above)
    assert re.search(r"\n- Runs of each row: .*: 2 seeds; .*: one run\.\n", above)


def test_the_terminal_explains_its_marks(tmp_path, capsys):
    runs = make_runs(tmp_path)
    run_main("--mode=compare", f"--compare={','.join(runs)}", f"--model_dir={tmp_path / 'out'}")
    output = capsys.readouterr().out
    assert "\n*: significantly different from zero (two-sided t-test over the seeds, 5 %)\n" in output
    assert "(u)" not in output
    run_main("--mode=compare", f"--compare={','.join(runs[:3])}", f"--model_dir={tmp_path / 'out'}")
    output = capsys.readouterr().out
    assert "\n(u): unpaired, of two means, as the rows have different seeds\n" in output
    assert f"\nreplaced: the comparison of {', '.join(runs)} (another --model_dir keeps both)\nreport: " in output
    run_main("--mode=compare", f"--compare={','.join(runs[:3])}", f"--model_dir={tmp_path / 'out'}")
    assert "replaced" not in capsys.readouterr().out

"""Reports of evaluations: tables, incomplete test sets, figures."""

import matplotlib.figure
import pytest
import tensorflow as tf
from matplotlib.container import BarContainer

from efficientnet_advprop.evaluation import compare, score_of
from efficientnet_advprop.recipes import ATTACKED, BENCHMARKS
from efficientnet_advprop.reporting import (
    evaluation_table,
    write_comparison_figures,
    write_evaluation_figures,
    write_evaluation_report,
)
from efficientnet_advprop.reporting.attacked_benchmarks import ATTACKED_BENCHMARKS, KIND_TITLES
from tests.made_up_results import attacked, branches, confused, corrupted, everything, part, results_in, run_in

COMMAND = "python main.py --mode=eval --benchmarks=clean"


def tables_of(text):
    """Every table of a Markdown text, as a list of rows by header; escaped bars are restored."""
    tables, lines = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            cells = line.replace("\\|", "\0").split("|")[1:-1]
            lines.append([cell.strip().replace("\0", "|") for cell in cells])
        elif lines:
            header, _, *rows = lines
            tables.append([dict(zip(header, row, strict=True)) for row in rows])
            lines = []
    return tables


def report_of(folder, results, figures=()):
    path = write_evaluation_report(str(folder), results, COMMAND, figures)
    with open(path) as file:
        return file.read()


def section_of(text, title):
    """The text between this heading and the next one of the same level."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    results = results_in(folder, everything())
    return results, report_of(folder, results)


def test_the_head_says_what_was_evaluated(whole):
    _, text = whole
    head = text.split("\n## ")[0]
    assert head.startswith("# efficientnet-b7 evaluated\n")
    for line in ("scheme: advprop", "trained on: imagenet", "seed: 0", "step: 218,949", "input: 600 px"):
        assert f"- {line}\n" in head
    assert "- weights: averaged, runs/b7" in head
    assert f"```\n{COMMAND}\n```" in head


def test_the_summary_has_every_benchmark_through_every_branch(whole):
    results, text = whole
    rows = {(row["in %"], row["branch"]): row for row in tables_of(text)[0]}
    assert len(rows) == 9 * 2 + 7
    clean = rows["clean evaluation images", "auxiliary"]
    assert (clean["images"], clean["top-1"], clean["top-5"], clean["loss"]) == ("50,000", "83.30", "93.30", "0.5010")
    assert (clean["one image"], clean["bad images"]) == ("0.002", "")
    assert rows["ImageNet", "main"]["bad images"] == "2"
    subset = rows["ImageNet-A, 200-way", "main"]
    assert (subset["top-1"], subset["strict 1000-way top-1"]) == ("44.70", "37.70")
    assert "- ImageNet-R: 200 classes" in text
    score = score_of(results, "imagenet_c", "auxiliary")
    row = rows["ImageNet-C, mean of 15", "auxiliary"]
    assert row["mCE"] == f"{100 * score.mce:.2f}"
    assert float(row["top-1"]) == pytest.approx(100 - 100 * score.mean_error, abs=0.01)
    assert rows["corruptions on the fly, mean of 15", "main"]["mCE"] == ""
    attack = rows["PGD linf, epsilon 0.5 px", "main"]
    assert (attack["images"], attack["top-1"], attack["one image"]) == ("5,000", "60.00", "0.02")


def test_empty_columns_are_left_out(tmp_path):
    text = report_of(tmp_path, results_in(tmp_path, {"clean": part({"main": {"top1": 0.5}})}))
    (rows,) = tables_of(text)
    assert rows == [
        {
            "in %": "clean evaluation images",
            "branch": "main",
            "images": "50,000",
            "top-1": "50.00",
            "one image": "0.002",
        }
    ]
    assert "200" not in text.split("|")[0]


def test_imagenet_c_by_corruption(whole):
    results, text = whole
    section = section_of(text, "ImageNet-C")
    main, groups, extra, *auxiliary, _ = tables_of(section)
    score = score_of(results, "imagenet_c", "main")
    assert [row["corruption"] for row in main] == [row.name for row in score.rows[:15]]
    assert [row["group"] for row in main] == ["noise"] * 3 + ["blur"] * 4 + ["weather"] * 4 + ["digital"] * 4
    assert main[0]["severity 5"] == f"{100 * score.rows[0].errors[5]:.2f}"
    assert main[0]["mean error, %"] == f"{100 * score.rows[0].error:.2f}"
    assert main[0]["CE, %"] == f"{100 * score.rows[0].error / 0.886428:.2f}"
    blurs = [float(row["mean error, %"]) for row in main if row["group"] == "blur"]
    assert float(groups[1]["mean error, %"]) == pytest.approx(sum(blurs) / 4, abs=0.01)
    assert [row["corruption"] for row in extra] == ["speckle_noise", "gaussian_blur", "spatter", "saturate"]
    assert f"**mCE: {100 * score.mce:.2f} %**" in section
    assert f"mean error: {100 * score.mean_error:.2f} %" in section
    assert f"mean error {100 * score.extra_mean_error:.2f} %" in section
    assert [len(table) for table in auxiliary] == [15, 4, 4]
    assert "resized to the network's input of 600 px (`resize`: model)" in section


def test_a_part_of_imagenet_c_has_no_mce(tmp_path):
    parts = corrupted("imagenet_c", extra=False, auxiliary=False, resize="native")
    for key in [key for key in parts if "/frost/" in key] + ["imagenet_c/fog/2"]:
        del parts[key]
    text = report_of(tmp_path, results_in(tmp_path, parts))
    (summary,) = tables_of(text)[0]
    assert (summary["in %"], summary.get("mCE"), summary.get("top-1")) == (
        "ImageNet-C, partial (13 of 15)",
        None,
        None,
    )
    section = section_of(text, "ImageNet-C")
    assert "not measured are frost; fog at severity 2. Therefore there is no mCE and no mean error" in section
    rows = {row["corruption"]: row for row in tables_of(section)[0]}
    assert len(rows) == 14
    assert (rows["fog"]["severity 2"], rows["fog"]["mean error, %"], rows["fog"]["CE, %"]) == ("", "", "")
    assert rows["fog"]["severity 3"] != ""
    assert rows["snow"]["CE, %"] != ""
    assert [row["group"] for row in tables_of(section)[1]] == ["noise", "blur", "digital"]
    assert "mCE:" not in section
    assert "at their own 224 px" in section


@pytest.mark.parametrize(("size", "strengths"), [(32, "32 px, CIFAR-10-C's"), (96, "96 px, ImageNet-C's")])
def test_corruptions_on_the_fly_are_not_imagenet_c(size, strengths, tmp_path):
    text = report_of(tmp_path, results_in(tmp_path, corrupted("corruptions", input_image_size=size)))
    section = section_of(text, "Corruptions on the fly")
    assert "this is NOT ImageNet-C" in section
    assert "no mean of it is an mCE" in section
    assert f"here {strengths}." in section
    assert "CE, %" not in tables_of(section)[0][0]
    assert "mCE" not in tables_of(text)[0][0]
    assert "**mCE" not in text
    assert [row["group"] for row in tables_of(section)[1]] == ["noise", "blur", "weather", "digital"]


def test_reports_know_every_benchmark_under_attack():
    assert set(ATTACKED_BENCHMARKS) == {name for name, one in BENCHMARKS.items() if one.kind == ATTACKED}
    for name, benchmark in ATTACKED_BENCHMARKS.items():
        assert list(benchmark.kinds)[-1] == name  # the whole attack
        assert benchmark.kinds[name].title in benchmark.words
    assert len(KIND_TITLES) == 1 + sum(len(benchmark.kinds) for benchmark in ATTACKED_BENCHMARKS.values())
    assert len(set(KIND_TITLES.values())) == len(KIND_TITLES)


def test_attacks_and_warnings(whole):
    _, text = whole
    section = section_of(text, "PGD")
    linf, l2 = tables_of(section)
    rows = {row[""]: row for row in linf}
    assert rows["clean, top-1 %"]["epsilon 4 px"] == "91.00"
    assert [rows[f"{kind}, top-1 %"]["epsilon 4 px"] for kind in ("noise", "one step", "PGD")] == [
        "84.00",
        "17.00",
        "2.00",
    ]
    assert rows["PGD, loss"]["epsilon 0.5 px"] == "4.0000"
    assert list(l2[0]) == ["", "epsilon 128 px", "epsilon 256 px", "epsilon 512 px"]
    assert section.count("**Warning**") == 1
    assert "**Warning** l2, epsilon 256 px: more steps do not hurt" in section
    assert "- attack, linf/4: PGD-10 linf" in section
    assert "- restarts: 5" in section
    assert "- branch: main" in section


def test_an_attack_without_noise_and_clean_still_has_its_table(tmp_path):
    results = results_in(tmp_path, attacked("linf", [(1, 0.9, 0.5, 0.4)]))
    for kind in ("clean", "noise", "one_step"):
        del results.parts["pgd/linf/1"].scores[kind]
    (rows,) = tables_of(section_of(report_of(tmp_path, results), "PGD"))
    assert [row["epsilon 1 px"] for row in rows] == ["", "", "", "40.00", "4.0000"]


def test_settings_that_differ_are_summarised(tmp_path):
    parts = {
        f"imagenet_c/{name}/{severity}": part(0.5, set=f"{name}/{severity}")
        for name in ("fog", "snow")
        for severity in range(1, 6)
    }
    section = section_of(report_of(tmp_path, results_in(tmp_path, parts)), "ImageNet-C")
    assert "- set: 10 different, from fog/1 to snow/5" in section
    assert "- images: all" in section
    assert "- 10 passes, 125 seconds" in section


def test_confusions_are_by_branch_and_names_do_not_break_tables(tmp_path):
    confusions = {"auxiliary": [["x", "y", 1]], "main": [["a|b", "c, d", 1200]]}
    text = report_of(tmp_path, results_in(tmp_path, {"clean": part(branches(0.8, 0.7), confusions=confusions)}))
    (rows,) = tables_of(section_of(text, "Clean evaluation images"))
    assert [tuple(row.values()) for row in rows] == [("main", "a|b", "c, d", "1,200"), ("auxiliary", "x", "y", "1")]


def test_confusions_under_attack_are_by_curve(tmp_path):
    parts = {
        **attacked("linf", [(1, 0.9, 0.5, 0.4), (4, 0.9, 0.3, 0.2)]),
        **attacked("linf", [(4, 0.9, 0.3, 0.2)], branch="auxiliary"),
    }
    for number, one in enumerate(parts.values(), start=1):
        one.confusions.update({"clean": [["3", "8", 5]], "pgd": [["3", "8", 10 * number]]})
    results = results_in(tmp_path, parts)
    section = section_of(report_of(tmp_path, results), "PGD")
    of_main, of_auxiliary = section.split("\n### ")[1:]
    for text, name, times in ((of_main, "linf\n", "30"), (of_auxiliary, "linf, auxiliary branch\n", "30")):
        assert text.startswith(name)
        assert [tuple(row.values()) for row in tables_of(text)[1]] == [
            ("clean", "3", "8", "5"),
            ("PGD", "3", "8", times),
        ]
    assert "lower bounds" in of_main
    assert "lower bounds" not in of_auxiliary
    figures = [path for path, _ in write_evaluation_figures(str(tmp_path), results)]
    assert figures[1:] == ["figures/pgd-linf-confusions.png", "figures/pgd-linf-auxiliary-branch-confusions.png"]


def test_an_interrupted_report_leaves_the_last_one(tmp_path, monkeypatch):
    results = results_in(tmp_path, {"clean": part(0.5)})
    before = report_of(tmp_path, results)
    results.parts["clean"] = part(0.75)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.io.gfile, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        report_of(tmp_path, results)
    assert (tmp_path / "report.md").read_text() == before
    assert not list(tmp_path.glob("*.tmp"))


def test_the_terminal_gets_the_summary_and_the_warnings(whole):
    results, _ = whole
    *table, warning = evaluation_table(results).splitlines()
    assert table[0].split()[:4] == ["in", "%", "branch", "images"]
    assert any(line.startswith("ImageNet-C, mean of 15 ") for line in table)
    assert not any("|" in line for line in table)
    assert warning.startswith("warning: l2, epsilon 256 px: more steps do not hurt")


def test_figures_show_what_there_is(whole, tmp_path):
    results = results_in(tmp_path / "all", everything())
    figures = write_evaluation_figures(str(tmp_path / "all"), results)
    names = [path for path, _ in figures]
    assert names == [
        f"figures/{name}.png"
        for name in (
            "imagenet-c-errors",
            "imagenet-c-severities",
            "corruptions-errors",
            "corruptions-severities",
            "attacks",
            "clean-confusions",
            "imagenet-confusions",
            "imagenet-a-confusions",
            "imagenet-c-confusions",
            "corruptions-confusions",
        )
    ]
    for name in names:
        height, width, _ = tf.io.decode_png((tmp_path / "all" / name).read_bytes()).shape
        assert width == 1100
        assert 100 < height < 1000
    text = report_of(tmp_path / "all", results, figures)
    assert all(f"({path})" in text and caption in text for path, caption in figures)
    assert not list(tmp_path.glob("**/*.tmp"))


def test_figures_of_few_results(tmp_path):
    """One severity, one strength without noise, names that look like formulas; nothing at all."""
    parts = {"imagenet_c/fog/3": part(0.5), **attacked("l2", [(64, 0.9, 0.5, 0.4)])}
    del parts["pgd/l2/64"].scores["noise"]
    parts["clean"] = part(0.5, confusions={"main": [["$x_1$", "$y$ " * 20, 3]], "auxiliary": []})
    figures = write_evaluation_figures(str(tmp_path), results_in(tmp_path, parts))
    assert [path for path, _ in figures] == [
        "figures/imagenet-c-severities.png",
        "figures/attacks.png",
        "figures/clean-confusions.png",
    ]
    none = write_evaluation_figures(str(tmp_path), results_in(tmp_path / "none", {"clean": part(0.5)}))
    assert none == []


def test_confusions_of_several_branches_share_a_figure(tmp_path):
    confusions = {"auxiliary": confused(), "main": confused(2), "augmented": confused()[:3]}
    results = results_in(tmp_path, {"clean": part(branches(0.5, 0.4), confusions=confusions)})
    ((path, caption),) = write_evaluation_figures(str(tmp_path), results)
    assert path == "figures/clean-confusions.png"
    assert "at most 15" in caption


def test_the_axis_of_every_bar_starts_at_zero(tmp_path, monkeypatch):
    """The length of a bar is its value: a cut axis would make differences look larger than they are."""
    seen = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *arguments, **options: seen.append(figure))
    runs = [
        run_in(tmp_path / f"{scheme}-{seed}", everything(error, seed), scheme=scheme, seed=seed, recipe=scheme)
        for scheme, error in (("vanilla", 0.45), ("advprop", 0.44))
        for seed in (0, 1)
    ]
    write_evaluation_figures(str(tmp_path), runs[0].results)
    write_comparison_figures(str(tmp_path), compare(runs))
    bars = [
        (axis.get_xlim(), bar)
        for figure in seen
        for axis in figure.axes
        for container in axis.containers
        if isinstance(container, BarContainer)
        for bar in container
    ]
    assert len(bars) > 100
    assert all(bar.get_x() == 0 and first <= 0 <= last for (first, last), bar in bars)

"""Benchmarks by hand: scores, subsets of classes, the results file, warnings about weak attacks."""

import dataclasses
import json
import math

import pytest

from efficientnet_advprop.evaluation import (
    SEVERITIES,
    ResultsFile,
    attack_curves,
    masked_gradient_warnings,
    most_frequent_confusions,
    published_results,
    score_of,
)
from efficientnet_advprop.evaluation.imagenet_c import ALEXNET_ERRORS, corruption_score
from efficientnet_advprop.recipes import BENCHMARKS, EXTRA_CORRUPTIONS, GROUPS, IMAGENET_C_CORRUPTIONS, RecipeError
from tests.made_up_results import EVALUATED, attacked, branches, corrupted, part, results_in
from tests.studies import result

ALEXNET = {name: ALEXNET_ERRORS[name] for name in IMAGENET_C_CORRUPTIONS}


def constant(errors):
    """The same error at every severity."""
    return {(name, severity): error for name, error in errors.items() for severity in SEVERITIES}


def test_alexnet_itself_has_an_mce_of_one():
    score = corruption_score(constant(ALEXNET))
    assert score.mce == pytest.approx(1)
    assert [row.ce for row in score.rows] == pytest.approx([1] * 15)
    assert score.mean_error == pytest.approx(11.834896 / 15)  # the published column, summed by hand
    assert score.extra_mean_error is None


def test_errors_are_averaged_before_they_are_divided():
    errors = constant(dict.fromkeys(ALEXNET, 0.5)) | {("fog", severity): 0.1 * severity for severity in SEVERITIES}
    score = corruption_score(errors)
    fog = next(row for row in score.rows if row.name == "fog")
    assert fog.errors == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5})
    assert fog.error == pytest.approx(0.3)
    assert fog.ce == pytest.approx(0.3 / 0.819324)
    assert score.mean_error == pytest.approx((14 * 0.5 + 0.3) / 15)
    by_hand = sum((0.3 if name == "fog" else 0.5) / alexnet for name, alexnet in ALEXNET.items()) / 15
    assert score.mce == pytest.approx(by_hand)
    # The two other numbers that get called mCE: over the mean of AlexNet's errors, and without AlexNet.
    assert score.mce != pytest.approx(score.mean_error / (sum(ALEXNET.values()) / 15), rel=1e-3)
    assert score.mce != pytest.approx(score.mean_error, rel=1e-1)


def test_the_extra_corruptions_are_not_in_the_means_of_the_15():
    errors = constant(dict.fromkeys(ALEXNET, 0.5))
    with_extra = errors | constant(dict.fromkeys(EXTRA_CORRUPTIONS, 1.0))
    alone, both = corruption_score(errors), corruption_score(with_extra)
    assert (both.mce, both.mean_error) == (alone.mce, alone.mean_error)
    assert both.group_errors() == alone.group_errors()
    assert both.extra_mean_error == 1
    assert [row.group for row in both.rows[15:]] == ["extra"] * 4
    assert both.rows[15].ce == pytest.approx(1 / 0.845388)


def test_a_part_of_the_set_gives_its_rows_and_no_mean():
    errors = constant(dict.fromkeys(ALEXNET, 0.5))
    del errors["fog", 4], errors["fog", 5]
    score = corruption_score({key: error for key, error in errors.items() if key[0] != "snow"})
    assert (score.mce, score.mean_error) == (None, None)
    fog = next(row for row in score.rows if row.name == "fog")
    assert (fog.error, fog.ce, list(fog.errors)) == (None, None, [1, 2, 3])
    assert score.missing() == ["snow", "fog at severity 4, 5"]
    assert list(score.group_errors()) == ["noise", "blur", "digital"]
    assert corruption_score(errors | {("fog", 4): 0.5, ("fog", 5): 0.5}).missing() == []


def test_a_chosen_subset_has_its_own_mean():
    errors = constant({"contrast": 0.2, "gaussian_blur": 0.4, "fog": 0.9})
    score = corruption_score(errors, ("contrast", "gaussian_blur"))
    assert score.mean_error == pytest.approx(0.3)
    assert corruption_score(errors, ("contrast", "snow")).missing() == ["snow"]
    only_means = {("contrast", "mean"): 0.2, ("gaussian_blur", "mean"): 0.4}  # all that an older version kept
    assert corruption_score(only_means, ("contrast", "gaussian_blur")).mean_error == pytest.approx(0.3)


def test_the_15_are_in_four_groups():
    assert [len(names) for names in GROUPS.values()] == [3, 4, 4, 4]
    assert len(set(IMAGENET_C_CORRUPTIONS)) == 15
    assert not set(IMAGENET_C_CORRUPTIONS) & set(EXTRA_CORRUPTIONS)


@pytest.mark.parametrize(("name", "checksum"), [("imagenet_a", 102178), ("imagenet_r", 86135)])
def test_subsets_are_200_labels_in_their_order(name, checksum):
    labels = BENCHMARKS[name].classes
    assert len(labels) == len(set(labels)) == 200
    assert list(labels) == sorted(labels)
    assert sum(labels) == checksum
    assert labels[0] >= 0
    assert labels[-1] < 1000


def test_results_come_back_as_they_were(tmp_path):
    file = ResultsFile(str(tmp_path))
    first = file.start(EVALUATED)
    assert (first.evaluated, first.parts) == (EVALUATED, {})
    confusions = {"main": [("cat", "dog", 3)]}
    finished = part(branches(0.8, 0.7), bad_images=2, confusions=confusions, attack="PGD-3")
    for key, one in (("imagenet_c/fog/3", finished), ("pgd/linf/4", part(0.1, success="any"))):
        first.parts[key] = one
        file.write({file.ONLY: first})
    again = ResultsFile(str(tmp_path)).start(EVALUATED)
    assert list(again.parts) == ["imagenet_c/fog/3", "pgd/linf/4"]
    kept = again.parts["imagenet_c/fog/3"]
    assert (kept.images, kept.bad_images, kept.scores, kept.seconds) == (50_000, 2, branches(0.8, 0.7), 12.5)
    assert again.has("imagenet_c/fog/3", finished.settings)
    assert not again.has("imagenet_c/fog/3", {**finished.settings, "images": 1})
    assert not again.has("imagenet_c/fog/4", finished.settings)
    assert list(again.parts_of("imagenet_c")) == ["imagenet_c/fog/3"]
    assert again.scores_of("imagenet_c", "auxiliary", "top1") == {"imagenet_c/fog/3": 0.7}
    assert again.scores_of("imagenet_c", "auxiliary", "top1_of_200") == {}
    assert not list(tmp_path.glob("*.tmp"))
    lines = (tmp_path / "results.json").read_text().splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith('"pgd')] == ['"pgd/linf/4"']  # a line for each part


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", "3", '{"evaluated": null, "parts": {}}', '{"evaluated": {}}']
)
def test_a_damaged_file_is_one_line(text, tmp_path):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(RecipeError, match=r"results\.json cannot be read: ") as raised:
        ResultsFile(str(tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", 3, "version 3 of results, where this code knows 2"),
        ("version", "2", "version '2' of results"),
        ("runs.run", None, "run is None, not an object"),
        ("runs.run.evaluated.seed", "0", "run.evaluated.seed is '0', not of type int"),
        ("runs.run.evaluated.class_names", [1, 2], "run.evaluated.class_names is 1, not of type str"),
        ("runs.run.training", [], r"run.training is \[\], not an object"),
        ("runs.run.parts.clean.top1", 0.5, "run.parts.clean.top1: no field"),
        ("runs.run.parts.clean.settings", None, "run.parts.clean.settings is None, not an object"),
        ("runs.run.parts.clean.images", math.nan, "run.parts.clean.images is nan, not of type int"),
        ("runs.run.parts.clean.scores", [], r"run.parts.clean.scores is \[\], not an object"),
        ("runs.run.parts.clean.scores.main", 0.5, "run.parts.clean.scores.main is 0.5, not an object"),
        ("runs.run.parts.clean.scores.main.top1", "x", "run.parts.clean.scores.main.top1 is 'x', not of type float"),
        (
            "runs.run.parts.clean.scores.main.top1",
            math.nan,
            "main.top1 nan is not a finite number",
        ),
        ("runs.run.parts.clean.scores.main.top5", 99.0, r"run.parts.clean.scores.main.top5 99 is outside \[0, 1\]"),
        ("runs.run.parts.clean.scores.main", {"loss": 1.0}, "run.parts.clean.scores.main.top1 is missing"),
        ("runs.run.parts.clean.settings", {"resize": 3}, "run.parts.clean.settings.resize is 3, not of type str"),
        ("runs.run.parts.pgd/linf/4", dataclasses.asdict(part(0.5)), "pgd/linf/4.settings.success is missing"),
        ("runs.run.parts.clean.confusions", {"main": [["a", "b"]]}, "confusions.main is .*, not of type tuple"),
        *(
            (f"runs.run.parts.{key}", dataclasses.asdict(part(0.5)), f"unknown {message}")
            for key, message in (
                ("coco", "benchmark 'coco'; known: clean, imagenet,"),
                ("clean/x", "part 'clean/x' of the benchmark clean"),
                ("pgd", "part 'pgd'"),
                ("pgd/l3/4", "part 'pgd/l3/4'"),
                ("pgd/linf/x", "part 'pgd/linf/x'"),
                ("corruptions/fog", "part 'corruptions/fog'"),
                ("corruptions/fog/6", "part 'corruptions/fog/6'"),
                ("imagenet_c/mist/1", "part 'imagenet_c/mist/1'"),
            )
        ),
        ("runs.other", {"evaluated": {}, "training": None, "parts": {}}, "other.evaluated.model is missing"),
    ],
)
def test_unknown_content_is_refused(path, value, message, tmp_path):
    results_in(tmp_path, {"clean": part(0.5)})
    values = json.loads((tmp_path / "results.json").read_text())
    *outer, last = path.split(".")
    place = values
    for name in outer:
        place = place[name]
    place[last] = value
    text = json.dumps(values)
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(RecipeError, match=f"cannot be read: .*{message}") as raised:
        ResultsFile(str(tmp_path))
    assert "\n" not in str(raised.value)
    assert (tmp_path / "results.json").read_text() == text


def test_results_of_other_weights_are_refused(tmp_path):
    results_in(tmp_path, {"clean": part(0.5)})
    file = ResultsFile(str(tmp_path))
    assert list(file.start(EVALUATED).parts) == ["clean"]
    same_words = dataclasses.replace(EVALUATED, digest="0")
    with pytest.raises(RecipeError, match="is of other weights \\(digest fedcba9876543210, now 0\\)"):
        file.start(same_words)
    other = {"step": 12, "recipe": "f"}
    with pytest.raises(RecipeError, match="is of other weights \\(step 218949, now 12\\): --evaluation_dir"):
        file.start(type(EVALUATED)(**{**vars(EVALUATED), **other}))


def test_results_of_a_study_take_no_evaluation(tmp_path):
    file = ResultsFile(str(tmp_path))
    file.write({"b0-vanilla-seed-0": result("vanilla", 0, 0.5)})
    with pytest.raises(RecipeError, match="is of a study: --evaluation_dir names another folder"):
        ResultsFile(str(tmp_path)).start(EVALUATED)


def test_two_processes_keep_the_results_of_each_other(tmp_path):
    one, other = ResultsFile(str(tmp_path)), ResultsFile(str(tmp_path))
    one.write({"a": result("vanilla", 0, 0.5)})
    other.write({"b": result("vanilla", 1, 0.6)})
    assert ResultsFile(str(tmp_path)).runs == {"a": result("vanilla", 0, 0.5), "b": result("vanilla", 1, 0.6)}


def test_a_score_is_of_one_branch(tmp_path):
    results = results_in(tmp_path, corrupted("imagenet_c"))
    main, auxiliary = (score_of(results, "imagenet_c", branch) for branch in ("main", "auxiliary"))
    assert main.mce < auxiliary.mce
    assert main.rows[0].errors[5] == pytest.approx(
        1 - results.parts["imagenet_c/gaussian_noise/5"].scores["main"]["top1"]
    )
    assert score_of(results, "imagenet_c", "augmented").rows == ()


def test_confusions_add_up():
    parts = [
        part(0.5, confusions={"main": [["cat", "dog", 3], ["dog", "cat", 2]], "auxiliary": []}),
        part(0.5, confusions={"main": [["dog", "cat", 4], ["cat", "fox", 1]]}),
    ]
    assert most_frequent_confusions(parts, most=2) == {"main": [("dog", "cat", 6), ("cat", "dog", 3)]}


def test_clean_images_of_several_strengths_count_once():
    attacked_parts = [
        part(0.5, confusions={"clean": [["cat", "dog", 3]], "pgd": [["cat", "dog", number]]}) for number in (5, 9)
    ]
    assert most_frequent_confusions(attacked_parts, most=2) == {
        "clean": [("cat", "dog", 3)],
        "pgd": [("cat", "dog", 14)],
    }


def test_curves_are_by_norm_and_in_the_order_of_epsilon(tmp_path):
    parts = attacked("linf", [(4, 0.9, 0.3, 0.1), (0.5, 0.9, 0.8, 0.7)]) | attacked("l2", [(64, 0.9, 0.5, 0.4)])
    curves = attack_curves(results_in(tmp_path, parts), "pgd")
    assert {norm: [point.epsilon_px for point in points] for norm, points in curves.items()} == {
        "linf": [0.5, 4],
        "l2": [64],
    }
    point = curves["linf"][1]
    assert [point.top1(kind) for kind in ("clean", "noise", "one_step", "pgd")] == [0.91, 0.9, 0.3, 0.1]
    assert (point.branch, point.part.images) == ("main", 5_000)
    # Another branch is another curve, not another point.
    both = parts | attacked("linf", [(4, 0.9, 0.6, 0.5)], branch="auxiliary")
    curves = attack_curves(results_in(tmp_path / "both", both), "pgd")
    assert {curve: [point.top1("pgd") for point in points] for curve, points in curves.items()} == {
        "linf": [0.7, 0.1],
        "l2": [0.4],
        "linf, auxiliary branch": [0.5],
    }
    assert attack_curves(results_in(tmp_path / "none", {"clean": part(0.9)}), "pgd") == {}


CLEAN = 0.9


@pytest.mark.parametrize(
    ("noise", "one_step", "pgd"),
    [
        (0.9, 0.4, 0.1),  # as it should be
        (0.9, 0.4, 0.3999),  # hardly stronger, but stronger
        (0.9, 0.9, 0.9),  # so small that nothing changes
        (0.9, 0.8996, 0.8996),  # two images turn
        (0.895, 0.895, 0.895),  # fewer than chance explains
        (0.5, 0.0, 0.0),  # nothing left to take
        (0.0, 0.0, 0.0),
        (0.4, 0.3, 0.2),  # noise hurts, the attack more
    ],
)
def test_a_strong_attack_gives_no_warning(noise, one_step, pgd, tmp_path):
    parts = attacked("linf", [(2, noise, one_step, pgd)], clean=CLEAN)
    assert masked_gradient_warnings(results_in(tmp_path, parts)) == []


@pytest.mark.parametrize(
    ("noise", "one_step", "pgd", "signs"),
    [
        (0.9, 0.4, 0.4, ["more steps do not hurt (PGD leaves 40.00 %, one step 40.00 %)"]),
        (0.9, 0.4, 0.6, ["more steps do not hurt"]),
        (0.9, 0.0, 0.1, ["more steps do not hurt"]),
        (0.5, 0.7, 0.6, ["noise hurts as much as the attack (PGD leaves 60.00 %, noise 50.00 %)"]),
        (0.5, 0.5, 0.5, ["more steps do not hurt", "noise hurts as much as the attack"]),
        (None, 0.4, 0.6, ["more steps do not hurt"]),
    ],
)
def test_a_weak_attack_gives_one_warning(noise, one_step, pgd, signs, tmp_path):
    parts = attacked("linf", [(1, 0.9, 0.6, 0.5), (2, noise, one_step, pgd)], clean=CLEAN)
    if noise is None:
        del parts["pgd/linf/2"].scores["noise"]
    (warning,) = masked_gradient_warnings(results_in(tmp_path, parts))
    assert warning.startswith("linf, epsilon 2 px: ")
    assert "\n" not in warning
    for sign in ("more steps do not hurt", "noise hurts as much as the attack"):
        assert (sign in warning) == any(text.startswith(sign) for text in signs)
    assert signs[0] in warning
    assert "gradients may be masked or vanish" in warning
    assert "overstates how robust" in warning


def test_published_numbers_are_those_that_the_paper_shows():
    def percents(result):
        fractions = (result.imagenet, result.mce, result.imagenet_a, result.stylized)
        return [None if fraction is None else round(100 * fraction, 6) for fraction in fractions]

    b7 = {(result.scheme, result.attack): percents(result) for result in published_results(["efficientnet-b7"])}
    assert b7["vanilla", ""] == [84.5, 59.4, 37.7, 21.8]
    assert b7["joint", "PGD5"] == [85.1, 56.0, 40.4, 25.1]
    assert b7["advprop", "best strength of each network"] == [85.2, 52.9, 44.7, 26.6]
    resnet = {result.scheme: percents(result) for result in published_results(["resnet-50"])}
    assert resnet["vanilla"] == [76.7, 74.8, 3.1, 8.0]
    assert (resnet["joint"][0], resnet["advprop"]) == (73.5, [77.1, None, None, None])
    # Numbers that no source shows are absent: vanilla B8, mCE of the smaller networks.
    assert {result.scheme for result in published_results(["efficientnet-b8"])} == {"advprop"}
    assert all(result.mce is None for result in published_results(["efficientnet-b0", "efficientnet-b5"]))
    assert published_results(["efficientnet-l2"]) == []

"""The metrics log and its resume, progress lines, tables, the strip of images."""

import io
import json
import os
import re
import time
import types

import numpy as np
import pytest
import tensorflow as tf
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import figure as figures, font_manager, patches, text

from efficientnet_advprop.evaluation import AdversarialExamples
from efficientnet_advprop.recipes import DATASETS, NETWORKS, SCHEMES, RecipeError, named_recipe
from efficientnet_advprop.reporting import (
    MetricsLog,
    ProgressDisplay,
    describe_recipe,
    progress as progress_module,
    progress_bar,
    summary_table,
    time_passing,
    write_contact_sheet,
    write_image_strip,
)
from efficientnet_advprop.reporting.figures import legend_below
from tests.small import small_recipe


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_metrics_after_the_resumed_step_are_removed(tmp_path):
    first = MetricsLog(str(tmp_path), 0, steps_per_epoch=4)
    for step in (2, 4, 6):
        first.train_values(step, {"loss/clean": float(step)})
        first.eval_values(step, {"top1_main": 0.5})
    seconds_at_4 = lines_of(tmp_path)[2]["train_seconds"]
    # A process was killed while writing.
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "kin')
    resumed = MetricsLog(str(tmp_path), 4, steps_per_epoch=4)
    assert resumed.train_seconds == seconds_at_4
    resumed.train_values(6, {"loss/clean": 60.0})
    kept = [(line["kind"], line["step"], line["epoch"]) for line in lines_of(tmp_path)]
    assert kept == [("train", 2, 0.5), ("eval", 2, 0.5), ("train", 4, 1.0), ("eval", 4, 1.0), ("train", 6, 1.5)]
    assert lines_of(tmp_path)[-1]["loss/clean"] == 60.0
    assert lines_of(tmp_path)[-1]["train_seconds"] >= seconds_at_4


def test_scalars_and_images_reach_tensorboard(tmp_path):
    log = MetricsLog(str(tmp_path), 0, steps_per_epoch=4)
    log.train_values(2, {"loss/clean": 1.5})
    write_image_strip(str(tmp_path / "strip.png"), strip_examples(), NAMES, "title")
    log.image("adversarial_examples", 2, str(tmp_path / "strip.png"))
    tags = set()
    for file in (tmp_path / "tensorboard").glob("*/*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags.update(value.tag for value in event.summary.value)
    assert {"loss/clean", "adversarial_examples"} <= tags


def strip_examples(change=4) -> AdversarialExamples:
    clean = np.full((2, 8, 8, 3), 100.0, np.float32)
    adversarial = clean.copy()
    adversarial[0, 2, 3] += change
    labels = np.array([0, 1])
    return AdversarialExamples(clean, adversarial, labels, labels, labels[::-1], np.ones(2), np.ones(2) / 3)


def test_the_strip_is_wide_enough_for_its_columns(tmp_path):
    path = tmp_path / "strip.png"
    write_image_strip(str(path), strip_examples(), NAMES, "PGD")
    height, width, _ = tf.io.decode_png(path.read_bytes()).shape
    assert height > 300
    assert width > 300
    # The difference of identical images is 0 and cannot be amplified.
    assert write_image_strip(str(path), strip_examples(change=0), NAMES, "none")


NAMES = ("$", "$$", "$x_1$", "_", "^", "\\", "\\frac{$", "a_b", "名前")


def contact_sheet_of_names(path):
    samples = [(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.float32), name) for name in NAMES]
    return write_contact_sheet(str(path), samples, "$ of \\")


def font_of(path, characters: str) -> str:
    """A font in which each of the characters is a square."""
    glyphs = [".notdef", *(f"glyph{index}" for index in range(len(characters)))]
    pen = TTGlyphPen(None)
    for number, point in enumerate(((0, 0), (0, 800), (800, 800), (800, 0))):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    square, builder = pen.glyph(), FontBuilder(1000)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap(dict(zip(map(ord, characters), glyphs[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(glyphs, square))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(str(path))
    return str(path)


def test_names_are_drawn_as_they_are(tmp_path, monkeypatch, capsys):
    drawn, savefig = [], figures.Figure.savefig

    def seen(figure, *arguments, **options):
        drawn.extend(figure.findobj(text.Text))
        return savefig(figure, *arguments, **options)

    monkeypatch.setattr(figures.Figure, "savefig", seen)
    fonts = [font_of(tmp_path / "squares.ttf", "名前"), str(tmp_path / "no.ttf"), *font_manager.findSystemFonts()]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: fonts)
    before = list(font_manager.fontManager.ttflist)
    assert contact_sheet_of_names(tmp_path / "sheet.png")
    font_manager.fontManager.ttflist = before
    assert capsys.readouterr().err == ""
    assert {f"{name}\n8 x 8 px" for name in NAMES} <= {one.get_text() for one in drawn}
    assert not any(one.get_parse_math() for one in drawn)
    assert {tuple(one.get_fontfamily()[1:]) for one in drawn} == {("Squares",)}


def test_characters_that_no_font_has_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    path = tmp_path / "sheet.png"
    assert contact_sheet_of_names(path)
    line = f"warning: {path} shows boxes: no installed font has 前名 (Noto fonts have most characters)\n"
    assert capsys.readouterr().err == line


def test_a_drawing_that_fails_is_a_line_of_warning(tmp_path, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise ValueError("no such glyph\nat all")

    monkeypatch.setattr(figures.Figure, "savefig", fail)
    path = tmp_path / "strip.png"
    assert not write_image_strip(str(path), strip_examples(), NAMES, "title")
    assert capsys.readouterr().err == f"warning: {path} is not drawn: ValueError, no such glyph\n"
    assert os.listdir(tmp_path) == []


def test_legends_show_names_that_start_with_an_underscore():
    figure = figures.Figure()
    legend_below(figure, [patches.Patch(label=name) for name in ("_a", "$b$")])
    assert [one.get_text() for one in figure.legends[0].get_texts()] == ["_a", "$b$"]


@pytest.fixture
def clock(monkeypatch):
    """Replaces the clock of the progress display: a function that lets seconds pass."""
    now = [0.0]
    monkeypatch.setattr(progress_module, "time", types.SimpleNamespace(monotonic=lambda: now[0]))

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def test_progress_without_a_terminal_is_lines_with_losses_and_times(clock):
    """The first loop's time, with tracing, and that of an evaluation are in no estimate."""
    stream = io.StringIO()
    with ProgressDisplay(1000, 0, stream=stream) as progress:
        for step, seconds in ((1, 60.0), (2, 3.0), (4, 8.0), (6, 1.0)):
            clock(seconds)
            progress.train_values(step, {"loss/clean": 8.0 / step, "loss/adversarial": 3.0, "top1/clean": 0.5})
        clock(50.0)
        progress.eval_values(6, {"top1_main": 0.875})
        clock(20.0)
        progress.train_values(10, {"loss/clean": 0.5})
    assert stream.getvalue().splitlines() == [
        "first 1 step(s) done after 60 s, tracing and compiling included",
        "step 1/1000  loss: clean 8.000 adversarial 3.000",
        "step 2/1000  loss: clean 4.000 adversarial 3.000  3.00 s/step  49:54 left",
        "step 6  evaluation: top1_main 87.50 %",
        f"step 10/1000  loss: clean 0.500  {29 / 8:.2f} s/step  59:48 left",
    ]


def test_the_last_step_has_a_line(clock):
    stream = io.StringIO()
    with ProgressDisplay(6, 3, stream=stream) as progress:
        for step in (4, 5, 6):
            clock(1.0)
            progress.train_values(step, {"loss/clean": 2.0})
    assert [line[:8] for line in stream.getvalue().splitlines()] == ["first 1 ", "step 4/6", "step 5/6", "step 6/6"]


def test_progress_on_a_terminal_is_a_bar_with_the_time_of_later_steps():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with ProgressDisplay(20, 0, stream=stream) as progress:
        progress._bar.start_t -= 1000
        progress._bar.last_print_t -= 1000  # the first steps took long
        progress.train_values(10, {"loss/clean": 2.0})
        progress._bar.start_t -= 1
        progress._bar.last_print_t -= 1
        progress.train_values(20, {"loss/clean": 1.0})
    assert "20/20" in stream.getvalue()
    assert "clean 1.000" in stream.getvalue()
    assert "16:" not in stream.getvalue().rpartition("10/20")[2]  # 1,000 s
    assert 9 < float(re.search(r"20/20 .* ([\d.]+)step/s", stream.getvalue())[1]) < 11


def test_invisible_progress_writes_nothing():
    stream = io.StringIO()
    with ProgressDisplay(20, 0, visible=False, stream=stream) as progress:
        progress.train_values(20, {"loss/clean": 2.0})
    assert stream.getvalue() == ""


def test_table_shows_accuracies_in_percent_and_paths():
    table = summary_table(
        {"top1_main": 0.97531, "train_seconds": 12.5, "saved_model": "a/b", "attack": {"x": 1}, "drawn": None}
    )
    rows = [line.split(maxsplit=1) for line in table.splitlines()[1:-1]]
    assert rows == [["top1_main", "97.53 %"], ["train_seconds", "12.5"], ["saved_model", "a/b"]]


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("vanilla", "loss: 1 x clean@main"),
        (
            "advprop",
            "loss: 1 x clean@main + 1 x adversarial@auxiliary (PGD-1 linf, epsilon 1 px, step 1 px, random start, "
            "untargeted, running statistics)",
        ),
    ],
)
def test_a_recipe_in_words(scheme, expected):
    words = describe_recipe(small_recipe(scheme))
    assert words.splitlines()[-1] == expected
    assert "peak learning rate 0.0005 (0.016 per 256)" in words
    assert "augmentation" not in words


def test_a_recipe_in_words_says_where_its_attack_does_not_reach_epsilon():
    changes = {"attack__epsilon_px": 4.0}
    assert describe_recipe(small_recipe(**changes)).splitlines()[-1] == (
        "attack: 1 step of 1 px moves at most 1 px from the start, less than epsilon 4 px, which more or "
        "longer steps reach"
    )
    far = (
        changes | {"attack__num_steps": 4},
        changes | {"attack__step_size_px": 4.0},
        changes | {"attack__method": "none"},
    )
    assert not any("attack: " in describe_recipe(small_recipe(**of)) for of in far)


def test_no_named_recipe_has_an_attack_that_does_not_reach_epsilon():
    recipes = [named_recipe(name, dataset, scheme) for name in NETWORKS for dataset in DATASETS for scheme in SCHEMES]
    assert not [one for one in recipes for term in one.attacking_terms if term.attack.about_reach()]


def test_a_recipe_in_words_says_what_augmentation_it_has():
    recipe = small_recipe("vanilla", data__augment_name="randaugment", data__mixup_alpha=0.2)
    assert "augmentation: randaugment (2 operations at level 10), mixup (alpha 0.2)" in describe_recipe(recipe)


def test_progress_of_other_work_without_a_terminal_is_lines_at_intervals(clock, capsys):
    """The first item, which traces, is in no estimate."""
    for _ in progress_bar(range(5), 5, "batch", "evaluation"):
        clock(8.0)
    assert list(progress_bar(iter("abc"), 3, "image")) == ["a", "b", "c"]
    for _ in progress_bar(range(3), 3, "image"):
        clock(40.0)
    assert capsys.readouterr() == (
        "",
        "evaluation: batch 2/5, 00:24 left\nevaluation: batch 4/5, 00:08 left\nimage 1/3\nimage 2/3, 00:40 left\n",
    )


def test_work_without_countable_parts_tells_how_long_it_takes(monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.01)
    with pytest.raises(RecipeError), time_passing("export"):
        time.sleep(0.2)
        raise RecipeError("bad")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1
    assert set(lines) == {"export: 00:00 so far"}
    time.sleep(0.05)
    assert capsys.readouterr().err == ""  # it has ended

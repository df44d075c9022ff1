"""The figures of an evaluation on benchmarks, as PNG."""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.patches
import tensorflow as tf

from efficientnet_advprop.evaluation import (
    SEVERITIES,
    AttackPoint,
    CorruptionError,
    CorruptionScore,
    Part,
    RunResults,
    attack_curves,
    most_frequent_confusions,
    score_of,
)
from efficientnet_advprop.recipes import ATTACKED, CORRUPTED, EXTRA, GROUPS, Benchmark
from efficientnet_advprop.reporting.evaluation_tables import (
    ATTACKS,
    KINDS,
    branches_of,
    main_first,
    measured_benchmarks,
)
from efficientnet_advprop.reporting.figures import FIGURES_FOLDER, legend_below, panels, save

_GROUP_COLORS = dict(zip((*GROUPS, EXTRA), ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:grey"), strict=True))
_ATTACK_COLORS = {"noise": "tab:green", "one_step": "tab:orange", "pgd": "tab:red"}
_PAIRS_SHOWN = 15
_LONGEST_NAME = 32


def write_evaluation_figures(folder: str, results: RunResults) -> list[tuple[str, str]]:
    """Draw what there is to draw; returns (path inside the folder, caption) of each figure.

    Args:
        folder: of the evaluation.
        results: of its benchmarks.
    """
    tf.io.gfile.makedirs(os.path.join(folder, FIGURES_FOLDER))
    figures = []

    def draw(name: str, write: Callable[..., None], *values: Any, caption: str) -> None:
        path = f"{FIGURES_FOLDER}/{name}.png"
        write(os.path.join(folder, path), *values)
        figures.append((path, caption))

    model = results.evaluated.model
    measured = measured_benchmarks(results)
    for benchmark in (benchmark for benchmark in measured if benchmark.kind == CORRUPTED):
        scores = {branch: score_of(results, benchmark.name, branch) for branch in branches_of(results, benchmark)}
        title, name = f"{model}, {benchmark.title}", benchmark.name.replace("_", "-")
        if any(row.error is not None for score in scores.values() for row in score.rows):
            caption = f"{title}: top-1 error of each corruption, mean over its five severities; lower is better."
            draw(f"{name}-errors", write_corruption_bars, scores, title, caption=caption)
        caption = f"{title}: top-1 error against severity."
        draw(f"{name}-severities", write_severity_curves, scores, title, caption=caption)
    if curves := attack_curves(results):
        caption = f"{model}: top-1 of attacked images against the radius of the ball; dashed: unattacked."
        draw("attacks", write_attack_curves, curves, f"{model} under attack", caption=caption)
    for benchmark in measured:
        for curve, parts in _counted_together(results, benchmark).items():
            confusions = most_frequent_confusions(parts, _PAIRS_SHOWN)
            if confusions:
                title = f"{model}, {benchmark.title}{curve}"
                caption = f"{title}: the most frequent confusions, at most {_PAIRS_SHOWN} a panel."
                name = re.sub("[^a-z0-9]+", "-", f"{benchmark.name}{curve}")
                draw(f"{name}-confusions", write_confusions, confusions, title, caption=caption)
    return figures


def _counted_together(results: RunResults, benchmark: Benchmark) -> dict[str, list[Part]]:
    """The parts of a benchmark, by what has to be added to its name: for attacks the curve."""
    if benchmark.kind != ATTACKED:
        return {"": list(results.parts_of(benchmark.name).values())}
    curves = attack_curves(results)
    return {f" {curve}": [results.parts[point.key] for point in points] for curve, points in curves.items()}


def write_corruption_bars(path: str, scores: Mapping[str, CorruptionScore], title: str) -> None:
    """Draw every corruption's mean error: a bar each, coloured by group, a panel for each branch.

    Args:
        path: of the PNG.
        scores: by branch.
        title: above all.
    """
    names = list(dict.fromkeys(row.name for score in scores.values() for row in score.rows if row.error is not None))
    figure, axes = panels(1, len(scores), title, height=0.27 * len(names) + 1.6, sharex=True, sharey=True)
    groups = {}
    for axis, (branch, score) in zip(axes[0], scores.items(), strict=True):
        for row in score.rows:
            if row.error is not None:
                bar = axis.barh(names.index(row.name), 100 * row.error, color=_GROUP_COLORS[row.group])
                axis.bar_label(bar, fmt="%.1f", padding=2, fontsize=7)
                groups[row.group] = _GROUP_COLORS[row.group]
        axis.set_title(f"{branch} branch", fontsize=9)
        axis.set_xlabel("top-1 error, %")
        axis.margins(x=0.12, y=0.02)
    axes[0][0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes[0][0].invert_yaxis()  # shared by all
    legend_below(figure, [matplotlib.patches.Patch(color=color, label=group) for group, color in groups.items()])
    save(figure, path)


def write_severity_curves(path: str, scores: Mapping[str, CorruptionScore], title: str) -> None:
    """Draw errors against severity: a line for each corruption, a column for each group, a row for each branch.

    Args:
        path: of the PNG.
        scores: by branch.
        title: above all.
    """
    groups = list(dict.fromkeys(row.group for score in scores.values() for row in score.rows))
    figure, axes = panels(len(scores), len(groups), title, height=2.6 * len(scores) + 1.2, sharex=True, sharey=True)
    for panels_of_branch, (branch, score) in zip(axes, scores.items(), strict=True):
        panels_of_branch[0].set_ylabel(f"{branch} branch\ntop-1 error, %")
        for axis, group in zip(panels_of_branch, groups, strict=True):
            _draw_group(axis, [row for row in score.rows if row.group == group])
    for axis, group in zip(axes[0], groups, strict=True):
        axis.set_title(group, fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("severity")
        if axis.lines:
            axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))  # below, where no line is
    save(figure, path)


def _draw_group(axis: Any, rows: Sequence[CorruptionError]) -> None:
    for row in rows:
        errors = [100 * error for error in row.errors.values()]
        axis.plot(list(row.errors), errors, marker="o", markersize=3, label=row.name.replace("_", " "))
    axis.set(xticks=SEVERITIES, ylim=(0, 100))


def write_attack_curves(path: str, curves: Mapping[str, Sequence[AttackPoint]], title: str) -> None:
    """Draw top-1 against epsilon: noise, one step, PGD; a panel for each curve.

    Args:
        path: of the PNG.
        curves: points in the order of their epsilon, by what to call them.
        title: above all.
    """
    figure, axes = panels(1, len(curves), title, height=3.6, sharey=True)
    for axis, (name_of_curve, points) in zip(axes[0], curves.items(), strict=True):
        for kind, name in ATTACKS.items():
            top1 = {point.epsilon_px: getattr(point, kind) for point in points}
            percents = [math.nan if value is None else 100 * value for value in top1.values()]
            axis.plot(list(top1), percents, marker="o", color=_ATTACK_COLORS[kind], label=name)
        if points[0].clean is not None:
            axis.axhline(100 * points[0].clean, color="grey", linestyle="--", label="clean")
        axis.set_title(name_of_curve, fontsize=9)
        axis.set_xlabel("epsilon, px")
    axes[0][0].set(ylabel="top-1, %", ylim=(0, 100))
    legend_below(figure, axes[0][0].get_legend_handles_labels()[0])
    save(figure, path)


def write_confusions(path: str, confusions: Mapping[str, Sequence[tuple[str, str, int]]], title: str) -> None:
    """Draw the most frequent confusions: a bar each, a panel for each branch or kind of image, the main branch first.

    Args:
        path: of the PNG.
        confusions: (class, taken for, times) by branch, under attack by kind of image.
        title: above all.
    """
    ordered = {name: confusions[name] for name in main_first(confusions)}
    heights = [0.2 * len(pairs) + 0.2 for pairs in ordered.values()]
    height = sum(heights) + 0.6 * len(heights) + 0.4
    figure, axes = panels(len(ordered), 1, title, height, height_ratios=heights, sharex=True)
    for axis, (name, pairs) in zip(axes[:, 0], ordered.items(), strict=True):
        labels = [f"{_shortened(true)} → {_shortened(taken_for)}" for true, taken_for, _ in pairs]
        bars = axis.barh(range(len(pairs)), [times for *_, times in pairs], color="tab:blue")
        axis.bar_label(bars, padding=2, fontsize=7)
        axis.set_yticks(range(len(pairs)), labels, fontsize=7)
        axis.set_title(KINDS.get(name, f"{name} branch"), fontsize=9)
        axis.set_ylim(len(pairs) - 0.4, -0.6)
        axis.margins(x=0.08)
    axes[-1][0].set_xlabel("images")
    save(figure, path)


def _shortened(name: str) -> str:
    """The first of a class's names, cut where it is long; $ would start a formula."""
    first = name.partition(",")[0].replace("$", r"\$")
    return first if len(first) <= _LONGEST_NAME else f"{first[: _LONGEST_NAME - 1]}…"

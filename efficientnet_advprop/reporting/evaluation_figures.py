"""The figures of an evaluation on benchmarks, as PNG."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
import matplotlib.patches

from efficientnet_advprop.evaluation import (
    CLEAN_IMAGES,
    SEVERITIES,
    AttackPoint,
    CorruptionError,
    CorruptionScore,
    RunResults,
    attack_curves,
    most_frequent_confusions,
)
from efficientnet_advprop.recipes import ATTACKED, CORRUPTED, EXTRA, GROUPS, benchmark_of
from efficientnet_advprop.reporting.attacked_benchmarks import ATTACKED_BENCHMARKS, KIND_TITLES
from efficientnet_advprop.reporting.evaluation_tables import (
    main_first,
    measured_benchmarks,
    scores_by_branch,
)
from efficientnet_advprop.reporting.figures import ReportFigures, legend_below, panels

_GROUP_COLORS = dict(zip((*GROUPS, EXTRA), ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:grey"), strict=True))
_PAIRS_SHOWN = 15
_LONGEST_NAME = 32


def write_evaluation_figures(folder: str, results: RunResults) -> list[tuple[str, str]]:
    """Draw an evaluation into its folder; returns (path inside the folder, caption) of each figure."""
    figures, model = ReportFigures(folder), results.evaluated.model
    measured = measured_benchmarks(results)
    for benchmark in (benchmark for benchmark in measured if benchmark.kind == CORRUPTED):
        scores = scores_by_branch(results, benchmark)
        title, name = f"{model}, {benchmark.title}", benchmark.name.replace("_", "-")
        if any(row.error is not None for score in scores.values() for row in score.rows):
            caption = f"{title}: top-1 error of each corruption, mean over its five severities; lower is better."
            figures.add(f"{name}-errors", caption, _corruption_bars, scores, title)
        caption = f"{title}: top-1 error against severity."
        figures.add(f"{name}-severities", caption, _severity_curves, scores, title)
    curves_of = {
        benchmark.name: attack_curves(results, benchmark.name) for benchmark in measured if benchmark.kind == ATTACKED
    }
    for benchmark in measured:
        if curves := curves_of.get(benchmark.name):
            name = "autoattack" if benchmark.parameter_free else "attacks"
            caption = f"{model}, {benchmark.title}: top-1 against the radius of the ball; dashed: unattacked."
            figures.add(name, caption, _attack_curves, curves, f"{model} under attack")
    for benchmark in measured:
        series = {"": results.parts_of(benchmark.name).values()}
        if curves := curves_of.get(benchmark.name):
            series = {f" {curve}": [point.part for point in points] for curve, points in curves.items()}
        for curve, parts in series.items():
            if confusions := most_frequent_confusions(parts, _PAIRS_SHOWN):
                title = f"{model}, {benchmark.title}{curve}"
                caption = f"{title}: the most frequent confusions, at most {_PAIRS_SHOWN} a panel."
                name = re.sub("[^a-z0-9]+", "-", f"{benchmark.name}{curve}")
                figures.add(f"{name}-confusions", caption, _confusion_bars, confusions, title)
    return figures.captions


def _corruption_bars(scores: Mapping[str, CorruptionScore], title: str) -> matplotlib.figure.Figure:
    """Mean error of every corruption: bars coloured by group, a panel for each branch."""
    names = list(dict.fromkeys(row.name for score in scores.values() for row in score.rows if row.error is not None))
    figure, axes = panels(1, len(scores), title, height=0.27 * len(names) + 1.6, sharex=True, sharey=True)
    groups = dict.fromkeys(row.group for score in scores.values() for row in score.rows if row.error is not None)
    for axis, (branch, score) in zip(axes[0], scores.items(), strict=True):
        for row in score.rows:
            if row.error is not None:
                bar = axis.barh(names.index(row.name), 100 * row.error, color=_GROUP_COLORS[row.group])
                axis.bar_label(bar, fmt="%.1f", padding=2, fontsize=7)
        axis.set_title(f"{branch} branch", fontsize=9)
        axis.set_xlabel("top-1 error, %")
        axis.margins(x=0.12, y=0.02)
    axes[0][0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes[0][0].invert_yaxis()  # shared by all
    legend_below(figure, [matplotlib.patches.Patch(color=_GROUP_COLORS[group], label=group) for group in groups])
    return figure


def _severity_curves(scores: Mapping[str, CorruptionScore], title: str) -> matplotlib.figure.Figure:
    """Errors against severity: a line for each corruption, a column for each group, a row for each branch."""
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
    return figure


def _draw_group(axis: Any, rows: Sequence[CorruptionError]) -> None:
    for row in rows:
        errors = [100 * error for error in row.errors.values()]
        axis.plot(list(row.errors), errors, marker="o", markersize=3, label=row.name.replace("_", " "))
    axis.set(xticks=SEVERITIES, ylim=(0, 100))


def _attack_curves(curves: Mapping[str, Sequence[AttackPoint]], title: str) -> matplotlib.figure.Figure:
    """Top-1 against epsilon, a line for each kind of image: a panel for each curve."""
    figure, axes = panels(1, len(curves), title, height=3.6, sharey=True)
    for axis, (name_of_curve, points) in zip(axes[0], curves.items(), strict=True):
        for kind, (title_of_kind, color) in ATTACKED_BENCHMARKS[benchmark_of(points[0].key).name].kinds.items():
            if not any(kind in point.part.scores for point in points):
                continue
            percents = [math.nan if point.top1(kind) is None else 100 * point.top1(kind) for point in points]
            epsilons = [point.epsilon_px for point in points]
            axis.plot(epsilons, percents, marker="o", color=color, label=title_of_kind)
        if (clean := points[0].top1(CLEAN_IMAGES)) is not None:
            axis.axhline(100 * clean, color="grey", linestyle="--", label="clean")
        axis.set_title(name_of_curve, fontsize=9)
        axis.set_xlabel("epsilon, px")
    axes[0][0].set(ylabel="top-1, %", ylim=(0, 100))
    legend_below(figure, axes[0][0].get_legend_handles_labels()[0])
    return figure


def _confusion_bars(confusions: Mapping[str, Sequence[tuple[str, str, int]]], title: str) -> matplotlib.figure.Figure:
    """The most frequent confusions: a panel for each branch or kind of image, the main branch first."""
    ordered = {name: confusions[name] for name in main_first(confusions)}
    heights = [0.2 * len(pairs) + 0.2 for pairs in ordered.values()]
    height = sum(heights) + 0.6 * len(heights) + 0.4
    figure, axes = panels(len(ordered), 1, title, height, height_ratios=heights, sharex=True)
    for axis, (name, pairs) in zip(axes[:, 0], ordered.items(), strict=True):
        labels = [f"{_shortened(true)} → {_shortened(taken_for)}" for true, taken_for, _ in pairs]
        bars = axis.barh(range(len(pairs)), [times for *_, times in pairs], color="tab:blue")
        axis.bar_label(bars, padding=2, fontsize=7)
        axis.set_yticks(range(len(pairs)), labels, fontsize=7)
        axis.set_title(KIND_TITLES.get(name, f"{name} branch"), fontsize=9)
        axis.set_ylim(len(pairs) - 0.4, -0.6)
        axis.margins(x=0.08)
    axes[-1][0].set_xlabel("images")
    return figure


def _shortened(name: str) -> str:
    """The first of a class's names, cut where it is long."""
    first = name.partition(",")[0]
    return first if len(first) <= _LONGEST_NAME else f"{first[: _LONGEST_NAME - 1]}…"

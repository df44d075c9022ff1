"""Figures of a comparison of evaluated networks or of a study's runs, as PNG."""

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import matplotlib.patches

from efficientnet_advprop.evaluation import Column, Comparison, NetworkRow
from efficientnet_advprop.reporting.figures import ReportFigures, in_percent, legend_below, panels

_ERRORS = "Thin lines are standard errors over seeds."
_OTHER_TASK = "were measured on other images or with another attack than the baseline's."
_BAR_INCHES = 0.16


def write_comparison_figures(folder: str, comparison: Comparison, name: str = "comparison") -> list[tuple[str, str]]:
    """Draw a comparison as `NAME-*.png`; returns (path inside the report's folder, caption) of each figure."""
    figures = ReportFigures(folder)
    columns = [column for column in comparison.columns if not column.corruption]
    attacks = [_attack_of(column) for column in columns if column.strength]
    curves = [column for column in columns if column.strength and attacks.count(_attack_of(column)) > 1]
    if bars := [column for column in columns if column not in curves]:
        caption = f"Networks on benchmarks. {_ERRORS} Hatched bars {_OTHER_TASK}"
        figures.add(f"{name}-benchmarks", caption, _benchmark_bars, comparison, bars)
    if curves:
        caption = (
            f"Networks under attack, main branch: top-1 against the radius of the ball. {_ERRORS} Crosses {_OTHER_TASK}"
        )
        figures.add(f"{name}-attacks", caption, _attack_lines, comparison, curves)
    return figures.captions


def _benchmark_bars(comparison: Comparison, columns: Sequence[Column]) -> matplotlib.figure.Figure:
    """A group of bars for each benchmark, a bar for each network; a panel for each unit."""
    groups = {
        "top-1, % (higher is better)": [one for one in columns if not one.lower_is_better and not one.is_gap],
        "errors, % (lower is better)": [one for one in columns if one.lower_is_better],
        "main over auxiliary branch, points of top-1": [one for one in columns if one.is_gap],
    }
    shown = {title: group for title, group in groups.items() if group}
    heights = [
        sum(_BAR_INCHES * (1 + sum(column in row.values for row in comparison.rows)) for column in group)
        for group in shown.values()
    ]
    title, height = "networks on benchmarks", sum(heights) + len(shown) * 0.7 + 0.8
    figure, axes = panels(len(shown), 1, title, height=height, height_ratios=heights)
    for axis, (title, group) in zip(axes[:, 0], shown.items(), strict=True):
        _draw_groups(axis, comparison, group)
        axis.set_xlabel(title)
    legend_below(figure, _patches(comparison.rows))
    return figure


def _draw_groups(axis: Any, comparison: Comparison, columns: Sequence[Column]) -> None:
    """Horizontal bars, the first network of each group at the top, with space between groups."""
    place, middles = 0, []
    for column in columns:
        first = place
        for row, color in _colored(comparison.rows):
            if column in row.values:
                (mean,), errors = in_percent([row.values[column]])
                hatch = "////" if _is_other_task(row, column, comparison) else None
                bar = axis.barh(place, mean, 1, xerr=errors, color=color, hatch=hatch, error_kw={"lw": 1})
                axis.bar_label(bar, [f"{round(mean, 1) + 0.0:.1f}"], padding=2, fontsize=6)  # no minus before a 0
                place += 1
        middles.append((first + place - 1) / 2)
        place += 1
    titles = [column.benchmark.title if column.is_gap else column.title for column in columns]
    axis.set_yticks(middles, titles, fontsize=8)
    axis.set_ylim(place - 1, -1)
    axis.margins(x=0.08)


def _attack_lines(comparison: Comparison, columns: Sequence[Column]) -> matplotlib.figure.Figure:
    """Top-1 against epsilon: a line for each network, a panel for each attack and norm."""
    rows = comparison.rows
    attacks = list(dict.fromkeys(map(_attack_of, columns)))
    figure, axes = panels(1, len(attacks), "networks under attack", height=4.0, sharey=True)
    for axis, attack in zip(axes[0], attacks, strict=True):
        of_attack = [column for column in columns if _attack_of(column) == attack]
        for row, color in _colored(rows):
            of_row = [column for column in of_attack if column in row.values]
            others = [column for column in of_row if _is_other_task(row, column, comparison)]
            of_row = [column for column in of_row if column not in others]
            for drawn, style in ((of_row, {"marker": "o"}), (others, {"marker": "x", "linestyle": "none"})):
                epsilons = [column.strength[1] for column in drawn]
                axis.errorbar(epsilons, *in_percent([row.values[column] for column in drawn]), color=color, **style)
        axis.set_title(attack, fontsize=9)
        axis.set_xlabel("epsilon, px")
    axes[0][0].set(ylabel="top-1, %", ylim=(0, 100))
    legend_below(figure, _patches(rows))
    return figure


def _attack_of(column: Column) -> str:
    return f"{column.benchmark.title} {column.strength[0]}"


def _is_other_task(row: NetworkRow, column: Column, comparison: Comparison) -> bool:
    """Whether this value cannot be subtracted from the baseline's."""
    baseline = next((other for other in comparison.rows if other.name == comparison.baseline), row)
    return row is not baseline and not column.is_gap and column in baseline.values and column not in row.differences


def _colored(rows: Sequence[NetworkRow]) -> list[tuple[NetworkRow, Any]]:
    """Every row with its color; colors repeat from the 21st row on."""
    colors = matplotlib.colormaps["tab10" if len(rows) <= 10 else "tab20"].colors
    return list(zip(rows, itertools.cycle(colors)))


def _patches(rows: Sequence[NetworkRow]) -> list[matplotlib.patches.Patch]:
    return [matplotlib.patches.Patch(color=color, label=row.name) for row, color in _colored(rows)]

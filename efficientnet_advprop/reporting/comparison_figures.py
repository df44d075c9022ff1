"""The figures of a comparison of evaluated networks, as PNG."""

import os
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.patches
import tensorflow as tf

from efficientnet_advprop.evaluation import Column, Comparison, NetworkRow
from efficientnet_advprop.reporting.figures import FIGURES_FOLDER, in_percent, legend_below, panels, save

_ERRORS = "Thin lines are standard errors over seeds."
_OTHER_TASK = "are about other images or another attack than the first network's."
_BAR_INCHES = 0.16


def write_comparison_figures(folder: str, comparison: Comparison) -> list[tuple[str, str]]:
    """Draw what there is to draw; returns (path inside the folder, caption) of each figure.

    Args:
        folder: of the comparison.
        comparison: of one row at least.
    """
    tf.io.gfile.makedirs(os.path.join(folder, FIGURES_FOLDER))
    figures = []
    benchmarks = [column for column in comparison.columns if column.strength is None]
    if benchmarks:
        path = f"{FIGURES_FOLDER}/comparison-benchmarks.png"
        write_benchmark_bars(os.path.join(folder, path), comparison.rows, benchmarks)
        figures.append((path, f"Networks on benchmarks. {_ERRORS} Hatched bars {_OTHER_TASK}"))
    attacks = [column for column in comparison.columns if column.strength is not None]
    if attacks:
        path = f"{FIGURES_FOLDER}/comparison-attacks.png"
        write_attack_comparison(os.path.join(folder, path), comparison.rows, attacks)
        caption = "Networks under PGD, main branch: top-1 against the radius of the ball."
        figures.append((path, f"{caption} {_ERRORS} Crosses {_OTHER_TASK}"))
    return figures


def write_benchmark_bars(path: str, rows: Sequence[NetworkRow], columns: Sequence[Column]) -> None:
    """Draw a group of bars for each benchmark, one for each network; accuracies and errors in panels of their own.

    Args:
        path: of the PNG.
        rows: the networks.
        columns: the benchmarks.
    """
    accuracies = [column for column in columns if not column.lower_is_better]
    errors = [column for column in columns if column.lower_is_better]
    shown = [(title, group) for title, group in (("top-1", accuracies), ("errors", errors)) if group]
    heights = [len(group) * (len(rows) * _BAR_INCHES + 0.15) for _, group in shown]
    title, height = "networks on benchmarks", sum(heights) + len(shown) * 0.7 + 0.8
    figure, axes = panels(len(shown), 1, title, height=height, height_ratios=heights)
    for axis, (title, group) in zip(axes[:, 0], shown, strict=True):
        better = "lower" if title == "errors" else "higher"
        _draw_groups(axis, rows, group)
        axis.set_xlabel(f"{title}, % ({better} is better)")
    legend_below(figure, _patches(rows))
    save(figure, path)


def _draw_groups(axis: Any, rows: Sequence[NetworkRow], columns: Sequence[Column]) -> None:
    """Horizontal bars, the first network of each group at the top."""
    thickness = 0.8 / len(rows)
    for number, (row, color) in enumerate(zip(rows, _colors(len(rows)), strict=True)):
        offset = (number - (len(rows) - 1) / 2) * thickness
        for place, column in enumerate(columns):
            if column in row.values:
                (mean,), errors = in_percent([row.values[column]])
                hatch = "////" if _is_other_task(row, column, rows[0]) else None
                bar = axis.barh(
                    place + offset, mean, thickness, xerr=errors, color=color, hatch=hatch, error_kw={"lw": 1}
                )
                axis.bar_label(bar, fmt="%.1f", padding=2, fontsize=6)
    axis.set_yticks(range(len(columns)), [column.title for column in columns], fontsize=8)
    axis.set_ylim(len(columns) - 0.45, -0.55)
    axis.margins(x=0.08)


def write_attack_comparison(path: str, rows: Sequence[NetworkRow], columns: Sequence[Column]) -> None:
    """Draw top-1 under PGD against epsilon: a line for each network, a panel for each norm.

    Args:
        path: of the PNG.
        rows: the networks.
        columns: the attacks.
    """
    norms = list(dict.fromkeys(column.strength[0] for column in columns))
    figure, axes = panels(1, len(norms), "networks under PGD", height=4.0, sharey=True)
    for axis, norm in zip(axes[0], norms, strict=True):
        of_norm = [column for column in columns if column.strength[0] == norm]
        for row, color in zip(rows, _colors(len(rows)), strict=True):
            of_row = [column for column in of_norm if column in row.values]
            others = [column for column in of_row if _is_other_task(row, column, rows[0])]
            of_row = [column for column in of_row if column not in others]
            for drawn, style in ((of_row, {"marker": "o"}), (others, {"marker": "x", "linestyle": "none"})):
                epsilons = [column.strength[1] for column in drawn]
                axis.errorbar(epsilons, *in_percent([row.values[column] for column in drawn]), color=color, **style)
        axis.set_title(norm, fontsize=9)
        axis.set_xlabel("epsilon, px")
    axes[0][0].set(ylabel="top-1, %", ylim=(0, 100))
    legend_below(figure, _patches(rows))
    save(figure, path)


def _is_other_task(row: NetworkRow, column: Column, first: NetworkRow) -> bool:
    """Whether this value cannot be subtracted from the first network's."""
    return row is not first and column in first.values and column not in row.differences


def _colors(number: int) -> list[Any]:
    """One for each network; they repeat from the 21st on."""
    colors = matplotlib.colormaps["tab10" if number <= 10 else "tab20"].colors
    return [colors[place % len(colors)] for place in range(number)]


def _patches(rows: Sequence[NetworkRow]) -> list[matplotlib.patches.Patch]:
    return [
        matplotlib.patches.Patch(color=color, label=row.name)
        for row, color in zip(rows, _colors(len(rows)), strict=True)
    ]

"""Figures of a study, as PNG: a comparison for each model, and observations of single runs."""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.figure
import numpy as np

from efficientnet_advprop.evaluation import IMAGES, Column, Comparison, NetworkRow, RunResults, read_observations
from efficientnet_advprop.recipes import BASELINE, MAIN_BRANCH, Trial, scheme_named
from efficientnet_advprop.reporting.comparison_figures import write_comparison_figures
from efficientnet_advprop.reporting.figures import ReportFigures, in_percent, panels
from efficientnet_advprop.reporting.image_sheets import image_rows, rescaled
from efficientnet_advprop.reporting.study_report import comparison_of


def write_study_figures(folder: str, trials: Sequence[Trial], runs: Mapping[str, RunResults]) -> list[tuple[str, str]]:
    """Draw the finished runs of a study; returns (path inside the study's folder, caption) of each figure."""
    figures = ReportFigures(folder)
    for model in dict.fromkeys(trial.model for trial in trials):
        comparison = comparison_of(runs, model)
        of_model = [trial for trial in trials if trial.model == model]
        if comparison.rows:
            found = write_comparison_figures(folder, comparison, model)
            figures.captions += [(path, f"{model}: {caption}") for path, caption in found]
            if by_scheme := _rows_by_strength(of_model, comparison.rows):
                caption = f"{model}: top-1 against the strength of the training attack; axes do not start at 0."
                figures.add(f"{model}-attack-strength", caption, _attack_strengths, by_scheme, comparison, model)
        _add_observations(figures, model, read_observations(folder, of_model))
    return figures.captions


def _rows_by_strength(trials: Sequence[Trial], rows: Sequence[NetworkRow]) -> dict[str, list[tuple[float, NetworkRow]]]:
    """(epsilon in pixels, row) of each scheme that was trained with several strengths."""
    row_of_name = {row.name: row for row in rows}
    by_scheme: dict[str, dict[float, NetworkRow]] = {}
    for trial in trials:
        varies = scheme_named(trial.recipe.scheme).varies_strength and trial.recipe.attacking_terms
        if varies and trial.row in row_of_name:
            by_scheme.setdefault(trial.recipe.scheme, {})[trial.recipe.attack.epsilon_px] = row_of_name[trial.row]
    return {scheme: sorted(found.items()) for scheme, found in by_scheme.items() if len(found) > 1}


def _add_observations(figures: ReportFigures, model: str, observed: Mapping[Trial, Mapping[str, np.ndarray]]) -> None:
    """Gradients of the observed runs, and running statistics of the first one with two branches."""
    gradients = {
        f"{trial.row}, {branch}" if len(trial.recipe.branches) > 1 else trial.row: seen[f"gradients/{branch}"]
        for trial, seen in observed.items()
        for branch in trial.recipe.branches
    }
    if gradients:
        images = next(iter(observed.values()))[IMAGES]
        seeds = ", ".join(dict.fromkeys(str(trial.recipe.seed) for trial in observed))
        caption = (
            f"{model}: gradients of the loss with respect to the image, runs of seed {seeds}; each clipped to its mean "
            "+- 3 standard deviations and rescaled."
        )
        figures.add(f"{model}-gradients", caption, _gradient_images, images, gradients, model)
    two_branches = (trial for trial in observed if len(trial.recipe.branches) > 1)
    for trial in itertools.islice(two_branches, 1):
        statistics = {place: values for place, values in observed[trial].items() if place.count("/") == 2}
        run = f"{trial.row}, seed {trial.recipe.seed}"
        caption = f"{model}: running means and variances of a few batch norms, {run}."
        figures.add(f"{model}-running-statistics", caption, _histograms, statistics, f"{model}, {trial.row}")


def _attack_strengths(
    by_scheme: Mapping[str, Sequence[tuple[float, NetworkRow]]], comparison: Comparison, title: str
) -> matplotlib.figure.Figure:
    """Top-1 of each scheme's (epsilon in pixels, row), a panel for each benchmark; vanilla is a horizontal line."""
    columns = [column for column in comparison.columns if _is_shown(column)]
    baseline = next((row for row in comparison.rows if row.name == BASELINE), None)
    figure, axes = panels(1, len(columns), title, height=3.2)
    for axis, column in zip(axes[0], columns, strict=True):
        if baseline is not None and column in baseline.values:
            axis.axhline(100 * baseline.values[column].mean, color="grey", linestyle="--", label=baseline.name)
        for scheme, rows in by_scheme.items():
            shown = [(epsilon, row.values[column]) for epsilon, row in rows if column in row.values]
            estimates = in_percent([value for _, value in shown])
            axis.errorbar([epsilon for epsilon, _ in shown], *estimates, marker="o", label=scheme)
        axis.set_title(column.title, fontsize=8)
        axis.set(xlabel="epsilon of the training attack, px", ylabel="top-1, %")
    axes[0][0].legend(fontsize=8)
    return figure


def _is_shown(column: Column) -> bool:
    """Whether it is an accuracy on clean, attacked or all corrupted images."""
    return column.metric == "top1" and column.branch == MAIN_BRANCH and not column.corruption


def _histograms(statistics: Mapping[str, np.ndarray], title: str) -> matplotlib.figure.Figure:
    """Histograms over the channels of a layer, both branches in one panel.

    Args:
        statistics: [C] each, by `LAYER/BRANCH/moving_mean` and `LAYER/BRANCH/moving_variance`.
        title: of the figure.
    """
    layers: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for name, values in statistics.items():
        layer, branch, statistic = name.split("/")
        layers.setdefault(layer, {}).setdefault(statistic, {})[branch] = values
    figure, axes = panels(len(layers), 2, title, height=1.6 * len(layers) + 0.6)
    for row, (layer, by_statistic) in zip(axes, layers.items(), strict=True):
        for axis, (statistic, by_branch) in zip(row, by_statistic.items(), strict=True):
            bins = np.histogram_bin_edges(np.concatenate(list(by_branch.values())), bins=24)
            for branch, values in by_branch.items():
                axis.hist(values, bins, alpha=0.5, label=branch)
            axis.set_title(f"{layer}, {statistic.replace('_', ' ')}", fontsize=8)
    axes[0][0].legend(fontsize=8)
    return figure


def _gradient_images(images: np.ndarray, gradients: Mapping[str, np.ndarray], title: str) -> matplotlib.figure.Figure:
    """Loss gradients of the same images under several networks or branches, a row each.

    Args:
        images: uint8 [N, H, W, 3].
        gradients: [N, H, W, 3] each, by name.
        title: of the figure.
    """
    shown = {name.replace(", ", "\n"): [255 * rescaled(one) for one in of] for name, of in gradients.items()}
    none = [""] * len(images)
    return image_rows([("image", images, none), *((name, of, none) for name, of in shown.items())], title)

"""The figures of a study, as PNG."""

from collections.abc import Mapping, Sequence

import matplotlib.figure
import numpy as np

from efficientnet_advprop.evaluation import BRANCH_GAP, Row
from efficientnet_advprop.reporting.figures import horizontal_bars, in_percent, panels, save

_MEASURES = {"top1_main": "clean", "top1_pgd": "under PGD", "top1_corrupted": "corrupted"}


def write_accuracy_bars(path: str, rows: Sequence[Row], title: str) -> None:
    """Draw top-1 of every row: clean, attacked, corrupted; bars with standard errors."""
    figure, axes = panels(1, len(_MEASURES), title, height=0.4 * len(rows) + 1.4)
    for axis, (name, measure) in zip(axes[0], _MEASURES.items(), strict=True):
        horizontal_bars(axis, {row.name: row.values[name] for row in rows})
        axis.set_xlabel(f"top-1 {measure}, %")
    for axis in axes[0][1:]:
        axis.set_yticklabels([])
    save(figure, path)


def write_branch_gaps(path: str, rows: Sequence[Row], title: str) -> None:
    """Draw by how much the main branch is better on clean images than the auxiliary one, of rows that have both."""
    figure, axes = panels(1, 1, title, height=0.4 * len(rows) + 1.4)
    horizontal_bars(axes[0][0], {row.name: row.values[BRANCH_GAP] for row in rows if BRANCH_GAP in row.values})
    axes[0][0].set_xlabel("top-1 of main over auxiliary branch, points")
    save(figure, path)


def write_attack_strengths(
    path: str, by_scheme: Mapping[str, Sequence[tuple[float, Row]]], baseline: Row | None, title: str
) -> None:
    """Draw top-1 against the strength of the training attack.

    Args:
        path: of the PNG.
        by_scheme: (epsilon in pixels, row) of each scheme.
        baseline: drawn across, as it knows no attack; None where all its runs diverged.
        title: above all.
    """
    figure, axes = panels(1, len(_MEASURES), title, height=3.2)
    for axis, (name, measure) in zip(axes[0], _MEASURES.items(), strict=True):
        if baseline is not None:
            axis.axhline(100 * baseline.values[name].mean, color="grey", linestyle="--", label=baseline.name)
        for scheme, rows in by_scheme.items():
            estimates = [row.values[name] for _, row in rows]
            axis.errorbar([epsilon for epsilon, _ in rows], *in_percent(estimates), marker="o", label=scheme)
        axis.set(xlabel="epsilon of the training attack, px", ylabel=f"top-1 {measure}, %")
    axes[0][0].legend(fontsize=8)
    save(figure, path)


def write_running_statistics(path: str, statistics: Mapping[str, np.ndarray], title: str) -> None:
    """Draw how the running means and variances of a layer's channels are spread, branch beside branch.

    Args:
        path: of the PNG.
        statistics: [C] each, by `LAYER/BRANCH/moving_mean` and `LAYER/BRANCH/moving_variance`.
        title: above all.
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
    save(figure, path)


def write_gradients(path: str, images: np.ndarray, gradients: Mapping[str, np.ndarray], title: str) -> None:
    """Draw the same images' loss gradients under several networks or branches, a column each.

    Args:
        path: of the PNG.
        images: uint8 [N, H, W, 3].
        gradients: [N, H, W, 3] each, by name.
        title: above all.
    """
    columns = {"image": images, **{name: [rescaled(one) for one in values] for name, values in gradients.items()}}
    figure = matplotlib.figure.Figure(figsize=(1.5 * len(columns), 1.5 * len(images) + 0.8), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(len(images), len(columns), squeeze=False)
    for column, (name, shown) in enumerate(columns.items()):
        axes[0][column].set_title(name.replace(", ", "\n"), fontsize=8)
        for row, image in enumerate(shown):
            axes[row][column].imshow(image)
            axes[row][column].set(xticks=[], yticks=[])
    save(figure, path)


def rescaled(gradient: np.ndarray) -> np.ndarray:
    """An image's gradient [H, W, 3] for the eye: clipped to mean +- 3 standard deviations, rescaled to [0, 1]."""
    mean, deviation = gradient.mean(), gradient.std()
    if deviation == 0:
        return np.full_like(gradient, 0.5)
    return (np.clip((gradient - mean) / deviation, -3, 3) + 3) / 6

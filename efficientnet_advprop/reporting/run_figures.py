"""The curves of a training run, as PNG."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.figure

from efficientnet_advprop.reporting.figures import ReportFigures, panels

# Okabe and Ito's, which people with any colour vision tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MOST_MARKERS = 60
_CAPTION = (
    "Losses are those of training batches, each the mean since the last point. Dots are accuracies of the averaged "
    "weights on the evaluation images, by branch; thin lines those of the weights in training on its batches, by term."
)


def write_run_figures(folder: str, lines: Sequence[Mapping[str, Any]], title: str) -> list[tuple[str, str]]:
    """Draw the curves of a run into its folder; returns (path inside the folder, caption) of the figure.

    Args:
        folder: of the run.
        lines: of its `metrics.jsonl`.
        title: of the figure.
    """
    figures = ReportFigures(folder)
    figures.add("training", _CAPTION, training_curves, lines, title)
    return figures.captions


def training_curves(lines: Sequence[Mapping[str, Any]], title: str) -> matplotlib.figure.Figure:
    """Losses by term, accuracies by branch, learning rate and weight decay, if any, over epochs: a panel each.

    Args:
        lines: of a run's `metrics.jsonl`; a line without a value is a point that its curve leaves out.
        title: of the figure.
    """
    trained = [line for line in lines if line["kind"] == "train"]
    evaluated = [line for line in lines if line["kind"] == "eval"]
    losses = {name.removeprefix("loss/"): name for name in _names(trained) if name.startswith("loss/")}
    branches = {name.removeprefix("top1_"): name for name in _names(evaluated) if name.startswith("top1_")}
    terms = {name.removeprefix("top1/"): name for name in _names(trained) if name.startswith("top1/")}
    decay = losses.pop("weight_decay", None)  # of another scale than the terms, whose curves it would flatten
    heights = (3, 3, 1.3, *([1.3] if decay else []))
    figure, axes = panels(len(heights), 1, title, height=0.8 + 0.9 * sum(heights), sharex=True, height_ratios=heights)
    loss, accuracy, rate, *others = axes[:, 0]
    for axis in others:
        axis.plot(*_points(trained, decay), color="black", linewidth=1)
        axis.set_ylabel("weight decay")
    for color, (term, name) in zip(_cycled(losses), losses.items(), strict=True):
        loss.plot(*_points(trained, name), color=color, linewidth=1, label=term)
    for color, (term, name) in zip(_cycled(terms), terms.items(), strict=True):
        accuracy.plot(*_points(trained, name, 100), color=color, linewidth=0.6, alpha=0.6, label=f"{term}, training")
    for color, (branch, name) in zip(_cycled(branches), branches.items(), strict=True):
        epochs, percents = _points(evaluated, name, 100)
        marker = "o" if len(epochs) <= _MOST_MARKERS else None
        style = {"linewidth": 1.2, "marker": marker, "markersize": 4}
        accuracy.plot(epochs, percents, color=color, label=f"{branch} branch", **style)
    rate.plot(*_points(trained, "learning_rate"), color="black", linewidth=1)
    loss.set_ylabel("loss")
    accuracy.set(ylabel="top-1, %", ylim=(0, 100))
    rate.set_ylabel("learning rate")
    axes[-1, 0].set_xlabel("epochs")
    for axis in axes[:, 0]:
        axis.grid(linewidth=0.3)
    for axis in (loss, accuracy):
        if axis.lines:
            axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _names(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the values of all lines, in the order in which they appear."""
    return list(dict.fromkeys(name for line in lines for name in line))


def _points(lines: Iterable[Mapping[str, Any]], name: str, factor: float = 1.0) -> tuple[list[float], list[float]]:
    """Epochs and values of the lines that have a value."""
    found = [(line["epoch"], factor * line[name]) for line in lines if name in line]
    return [epoch for epoch, _ in found], [value for _, value in found]


def _cycled(names: Mapping[str, str]) -> list[str]:
    return [_COLORS[place % len(_COLORS)] for place in range(len(names))]

"""Helpers of all figures: panels, numbers in percent, legends, PNG files."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np

from efficientnet_advprop.evaluation import Estimate
from efficientnet_advprop.files import write_atomic

FIGURES_FOLDER = "figures"
_DOTS_PER_INCH = 110
_LEGEND_CHARACTERS = 130  # in 10 inches


def panels(
    rows: int, columns: int, title: str, height: float, **options: Any
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
    """A figure of 10 inches and its axes [rows, columns].

    Args:
        rows: number of rows of axes.
        columns: number of columns of axes.
        title: of the figure.
        height: in inches.
        options: arguments of `Figure.subplots`.
    """
    figure = matplotlib.figure.Figure(figsize=(10, height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def in_percent(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """Means and standard errors in percent; an unknown standard error is 0."""
    means = [100 * estimate.mean for estimate in estimates]
    return means, [100 * float(np.nan_to_num(estimate.standard_error)) for estimate in estimates]


def legend_below(figure: matplotlib.figure.Figure, handles: Sequence[Any]) -> None:
    """One legend below all panels, from lines or patches with labels."""
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, min(len(handles), _LEGEND_CHARACTERS // (longest + 8)))  # 8: the width of the line or patch
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)


def save(figure: matplotlib.figure.Figure, path: str) -> None:
    """Write a PNG, local or gs://, atomically."""
    png = io.BytesIO()
    figure.savefig(png, dpi=_DOTS_PER_INCH, format="png")
    write_atomic(path, png.getvalue())

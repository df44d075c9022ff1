"""What the figures share: size, numbers in percent, a PNG that is whole or not there."""

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
        rows: of axes.
        columns: of axes.
        title: above all.
        height: in inches.
        options: of `Figure.subplots`.
    """
    figure = matplotlib.figure.Figure(figsize=(10, height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def in_percent(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """Means and standard errors; an unknown error is drawn as none."""
    means = [100 * estimate.mean for estimate in estimates]
    return means, [100 * float(np.nan_to_num(estimate.standard_error)) for estimate in estimates]


def legend_below(figure: matplotlib.figure.Figure, handles: Sequence[Any]) -> None:
    """One legend for all panels, below them, of lines or patches that carry their labels."""
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, min(len(handles), _LEGEND_CHARACTERS // (longest + 8)))  # 8: the line or patch before it
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)


def save(figure: matplotlib.figure.Figure, path: str) -> None:
    """Write the PNG, local or gs://, whole or not at all."""
    png = io.BytesIO()
    figure.savefig(png, dpi=_DOTS_PER_INCH, format="png")
    write_atomic(path, png.getvalue())

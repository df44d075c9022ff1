"""What figures have in common: the folder of a report's figures, panels, numbers in percent."""

import io
import os
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np
import tensorflow as tf

from efficientnet_advprop.evaluation import Estimate
from efficientnet_advprop.files import write_atomic

FIGURES_FOLDER = "figures"
_DOTS_PER_INCH = 110
_LEGEND_CHARACTERS = 130  # in 10 inches


class ReportFigures:
    """Writes the figures of a report into the folder `figures` beside it.

    Attributes:
        captions: (path inside the report's folder, caption) of each figure, in the order of the report.

    Args:
        folder: of the report.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.captions: list[tuple[str, str]] = []
        tf.io.gfile.makedirs(os.path.join(folder, FIGURES_FOLDER))

    def add(self, name: str, figure: matplotlib.figure.Figure, caption: str) -> None:
        """Write a figure as `NAME.png`."""
        path = f"{FIGURES_FOLDER}/{name}.png"
        save(figure, os.path.join(self._folder, path))
        self.captions.append((path, caption))


def panels(
    rows: int, columns: int, title: str, height: float, **options: Any
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
    """A figure 10 inches wide and `height` inches high, and its axes [rows, columns]; options of `Figure.subplots`."""
    figure = matplotlib.figure.Figure(figsize=(10, height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def in_percent(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """Means and standard errors; an unknown error becomes 0, for which nothing is drawn."""
    means = [100 * estimate.mean for estimate in estimates]
    return means, [100 * float(np.nan_to_num(estimate.standard_error)) for estimate in estimates]


def legend_below(figure: matplotlib.figure.Figure, handles: Sequence[Any]) -> None:
    """One legend below all panels, of lines or patches that carry their labels."""
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, min(len(handles), _LEGEND_CHARACTERS // (longest + 8)))  # 8: the width of the line or patch
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)


def save(figure: matplotlib.figure.Figure, path: str) -> None:
    """Write a PNG, local or gs://, whole or not at all."""
    png = io.BytesIO()
    figure.savefig(png, dpi=_DOTS_PER_INCH, format="png")
    write_atomic(path, png.getvalue())

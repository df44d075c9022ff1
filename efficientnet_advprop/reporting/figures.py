"""What figures have in common: the folder of a report's figures, panels, numbers in percent."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.figure
import matplotlib.text
import numpy as np
import tensorflow as tf

from efficientnet_advprop.evaluation import Estimate
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.recipes import first_line, one_line
from efficientnet_advprop.reporting.fonts import families_with

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

    def add(self, name: str, caption: str, draw: Callable[..., matplotlib.figure.Figure], *arguments: Any) -> None:
        """Write the figure that `draw(*arguments)` makes as `NAME.png`; a colon in the name becomes a hyphen."""
        path = f"{FIGURES_FOLDER}/{name.replace(':', '-')}.png"
        if save(os.path.join(self._folder, path), draw, *arguments):
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
    places = [str(place) for place in range(len(handles))]  # a label that starts with _ would be left out
    legend = figure.legend(handles, places, loc="outside lower center", ncols=columns, fontsize=8)
    for text, handle in zip(legend.get_texts(), handles, strict=True):
        text.set_text(handle.get_label())


def save(path: str, draw: Callable[..., matplotlib.figure.Figure], *arguments: Any) -> bool:
    """Write the figure that `draw(*arguments)` makes as PNG, local or gs://, whole or not at all.

    A drawing that fails is a line of warning: the work whose results it shows goes on.

    Returns:
        Whether it was written.
    """
    try:
        figure, png = draw(*arguments), io.BytesIO()
        _write_names_as_they_are(figure, path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            figure.savefig(png, dpi=_DOTS_PER_INCH, format="png")
        write_atomic(path, png.getvalue())
    except Exception as error:
        warn(f"{path} is not drawn: {type(error).__name__}, {first_line(error)}")
        return False
    return True


def _write_names_as_they_are(figure: matplotlib.figure.Figure, path: str) -> None:
    """Make no formula of a text with $, and no boxes of characters that an installed font has."""
    texts = figure.findobj(matplotlib.text.Text)
    families, missing = families_with("".join(text.get_text() for text in texts))
    for text in texts:
        text.set(parse_math=False, fontfamily=families)
    if missing:
        warn(f"{path} shows boxes: no installed font has {missing} (Noto fonts have most characters)")


def warn(line: str) -> None:
    """Print a line of warning on standard error."""
    print(one_line(f"warning: {line}"), file=sys.stderr)

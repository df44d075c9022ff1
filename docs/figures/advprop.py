"""Draws AdvProp for the README and the pages: shared convolutions, a batch norm for each kind of image.

    python docs/figures/advprop.py

writes `advprop-light.svg` and `advprop-dark.svg` beside it, for light and for dark backgrounds. The images are digits
of scikit-learn; their perturbation is drawn enlarged and is random, as a sketch of an adversarial one.
"""

import dataclasses
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from sklearn.datasets import load_digits

MAIN, AUXILIARY = 4.05, 1.95  # heights of the two branches
WIDTH, HEIGHT = 15.0, 6.0


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours on one kind of background."""

    text: str
    faint: str
    main: str
    main_fill: str
    auxiliary: str
    auxiliary_fill: str
    shared: str
    shared_fill: str


THEMES = {
    "light": Theme("#1f2328", "#59636e", "#0a5bc4", "#dcebff", "#b35900", "#ffe8cf", "#59636e", "#eef0f3"),
    "dark": Theme("#f0f6fc", "#a9b4c0", "#79b8ff", "#15304f", "#ffb066", "#4a2f14", "#a9b4c0", "#262c36"),
}


def draw(theme: Theme, path: Path) -> None:
    """Write the drawing in the colours of a theme, as an SVG with a transparent background."""
    plt.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "advprop", "font.size": 13})
    figure, axes = plt.subplots(figsize=(WIDTH * 0.8, HEIGHT * 0.8))
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    axes.axis("off")
    _images(axes, theme)
    _network(axes, theme)
    _outcome(axes, theme)
    figure.savefig(path, transparent=True, bbox_inches="tight", pad_inches=0.02, metadata={"Date": None})
    plt.close(figure)


def _images(axes: Axes, theme: Theme) -> None:
    digits = load_digits().images[[0, 4]] / 16  # [2, 8, 8]
    signs = np.random.default_rng(0).choice([-0.18, 0.18], digits.shape)
    rows = (
        (MAIN, digits, theme.main, "clean images"),
        (AUXILIARY, digits + signs, theme.auxiliary, "adversarial images"),
    )
    for height, images, colour, name in rows:
        for place, image in enumerate(images):
            left = 0.35 + 1.15 * place
            extent = (left, left + 1, height - 0.5, height + 0.5)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest", zorder=2)
            axes.add_patch(
                plt.Rectangle((left, height - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=2, zorder=3)
            )
        above = height > 3
        axes.text(1.42, height + (0.72 if above else -0.98), name, color=colour, ha="center", weight="bold")
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))  # imshow has changed them
    _arrow(axes, (1.42, MAIN - 0.6), (1.42, AUXILIARY + 0.6), theme.faint)
    axes.text(1.6, 3.0, "attack: raise\nthe auxiliary loss", color=theme.faint, va="center", fontsize=11)


def _network(axes: Axes, theme: Theme) -> None:
    for left, name in ((4.1, "convolution"), (8.05, "convolution")):
        _box(axes, (left, 1.35), (0.95, 3.3), theme.shared, theme.shared_fill)
        axes.text(left + 0.475, 3.0, name, color=theme.text, ha="center", va="center", rotation=90)
    for left in (5.6, 9.55):
        _norm(axes, left, MAIN, "main\nbatch norm", theme.main, theme.main_fill, theme)
        _norm(axes, left, AUXILIARY, "auxiliary\nbatch norm", theme.auxiliary, theme.auxiliary_fill, theme)
    for height, colour in ((MAIN, theme.main), (AUXILIARY, theme.auxiliary)):
        for start, end in ((2.75, 4.05), (5.1, 5.55), (7.5, 7.95), (9.05, 9.5), (11.45, 12.05)):
            _arrow(axes, (start, height), (end, height), colour)
    axes.text(6.55, 5.35, "one network: all weights but the batch norms are shared", color=theme.text, ha="center")


def _outcome(axes: Axes, theme: Theme) -> None:
    axes.text(12.2, MAIN, "loss on\nclean images", color=theme.main, va="center")
    axes.text(12.2, 3.0, "+", color=theme.text, va="center", fontsize=18)
    axes.text(12.2, AUXILIARY, "loss on\nadversarial images", color=theme.auxiliary, va="center")
    axes.text(12.2, 5.35, "training: their sum", color=theme.text)
    axes.text(
        6.55, 0.45, "inference: the main batch norms alone", color=theme.main, ha="center", va="center", weight="bold"
    )


def _norm(axes: Axes, left: float, height: float, name: str, edge: str, fill: str, theme: Theme) -> None:
    _box(axes, (left, height - 0.55), (1.85, 1.1), edge, fill)
    axes.text(left + 0.925, height, name, color=theme.text, ha="center", va="center", fontsize=12)


def _box(axes: Axes, corner: tuple[float, float], size: tuple[float, float], edge: str, fill: str) -> None:
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, edgecolor=edge, facecolor=fill, linewidth=1.8))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, color=colour, linewidth=1.8))


def main(folder: Path) -> None:
    """Draw every theme into a folder."""
    for name, theme in THEMES.items():
        draw(theme, folder / f"advprop-{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

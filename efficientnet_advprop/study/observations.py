"""What figures show of single runs: arrays in small files beside the results, since weights are not kept."""

import io
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.files import write_whole
from efficientnet_advprop.recipes import Cell

IMAGES = "images"
OBSERVATIONS_FOLDER = "observations"
_OBSERVED_SCHEMES = ("vanilla", "adversarial", "advprop")


def observed_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The runs that are looked at: of vanilla, adversarial training and AdvProp the first of each model."""
    first: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        first.setdefault((cell.model, cell.recipe.scheme), cell)
    return [cell for (_, scheme), cell in first.items() if scheme in _OBSERVED_SCHEMES]


def write_observation(folder: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep arrays of a run.

    Args:
        folder: of the study.
        key: of the run's cell.
        arrays: by name.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(_path(folder, key), content.getvalue())


def read_observation(folder: str, key: str) -> dict[str, np.ndarray] | None:
    """The arrays of a run by name; None when there are none."""
    if not tf.io.gfile.exists(_path(folder, key)):
        return None
    with tf.io.gfile.GFile(_path(folder, key), "rb") as file:
        return dict(np.load(io.BytesIO(file.read())))


def _path(folder: str, key: str) -> str:
    return os.path.join(folder, OBSERVATIONS_FOLDER, f"{key}.npz")

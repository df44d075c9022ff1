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


def cells_to_observe(folder: str, cells: Sequence[Cell], missing: Sequence[Cell]) -> list[Cell]:
    """The runs to look at: of vanilla, adversarial training and AdvProp the first of each model that is to be trained.

    Args:
        folder: of the study.
        cells: all of them; where one of a kind was looked at before, no other has to be.
        missing: those that are to be trained.
    """
    seen = {_kind(cell) for cell in cells if _exists(folder, cell.key)}
    first: dict[tuple[str, str], Cell] = {}
    for cell in missing:
        if _kind(cell) not in seen and cell.recipe.scheme in _OBSERVED_SCHEMES:
            first.setdefault(_kind(cell), cell)
    return list(first.values())


def read_observations(folder: str, cells: Sequence[Cell]) -> dict[Cell, dict[str, np.ndarray]]:
    """What was kept of the runs that were looked at: of each kind the first.

    Args:
        folder: of the study.
        cells: all of them.
    """
    first: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        if _exists(folder, cell.key):
            first.setdefault(_kind(cell), cell)
    return {cell: _read(folder, cell.key) for cell in first.values()}


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


def _kind(cell: Cell) -> tuple[str, str]:
    """Model and scheme: runs of one kind differ in their seed, or in a strength that is not looked at."""
    return cell.model, cell.recipe.scheme


def _exists(folder: str, key: str) -> bool:
    return tf.io.gfile.exists(_path(folder, key))


def _read(folder: str, key: str) -> dict[str, np.ndarray]:
    with tf.io.gfile.GFile(_path(folder, key), "rb") as file:
        return dict(np.load(io.BytesIO(file.read())))


def _path(folder: str, key: str) -> str:
    return os.path.join(folder, OBSERVATIONS_FOLDER, f"{key}.npz")

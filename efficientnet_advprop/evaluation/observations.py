"""What figures show of single runs: arrays in small files beside the results, since weights are not kept."""

import io
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.recipes import Cell, digest

IMAGES = "images"
OBSERVATIONS_FOLDER = "observations"
_RECIPE = "recipe"  # digest of what was looked at
_OBSERVED_SCHEMES = ("vanilla", "adversarial", "advprop")


def has_to_be_observed(folder: str, cell: Cell, cells: Sequence[Cell]) -> bool:
    """Whether a run that was just trained has to be looked at: no other of its kind was, and its kind is shown.

    Args:
        folder: of the study.
        cell: of the run.
        cells: all of the study.
    """
    return _is_shown(cell) and all(_read(folder, other) is None for other in cells if _kind(other) == _kind(cell))


def kinds_not_observed(folder: str, cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """(model, scheme) of these runs that should have been looked at, in a study whose files were not kept together."""
    observed = {_kind(cell) for cell in read_observations(folder, cells)}
    return [kind for kind in dict.fromkeys(_kind(cell) for cell in cells if _is_shown(cell)) if kind not in observed]


def write_observation(folder: str, cell: Cell, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep arrays of a run.

    Args:
        folder: of the study.
        cell: of the run.
        arrays: by name.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, **{_RECIPE: np.array(digest(cell.recipe))})
    write_atomic(_path(folder, cell), content.getvalue())


def read_observations(folder: str, cells: Sequence[Cell]) -> dict[Cell, dict[str, np.ndarray]]:
    """What was kept of the runs that were looked at: of each kind the first, arrays by name.

    Args:
        folder: of the study.
        cells: all of them; what is kept of other recipes is none of theirs.
    """
    first: dict[tuple[str, str], tuple[Cell, dict[str, np.ndarray]]] = {}
    for cell in cells:
        arrays = _read(folder, cell)
        if arrays is not None:
            first.setdefault(_kind(cell), (cell, arrays))
    return dict(first.values())


def _is_shown(cell: Cell) -> bool:
    return cell.recipe.scheme in _OBSERVED_SCHEMES and not cell.has_equal_budget


def _kind(cell: Cell) -> tuple[str, str]:
    """What runs share that differ in their seed, or in a strength or length that is not looked at."""
    return cell.model, cell.recipe.scheme


def _read(folder: str, cell: Cell) -> dict[str, np.ndarray] | None:
    if not tf.io.gfile.exists(_path(folder, cell)):
        return None
    with tf.io.gfile.GFile(_path(folder, cell), "rb") as file:
        arrays = dict(np.load(io.BytesIO(file.read())))
    return arrays if str(arrays.pop(_RECIPE, "")) == digest(cell.recipe) else None


def _path(folder: str, cell: Cell) -> str:
    return os.path.join(folder, OBSERVATIONS_FOLDER, f"{cell.key}.npz")

"""The finished runs of a study, kept where the next start finds them."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from efficientnet_advprop.files import write_whole
from efficientnet_advprop.recipes import Cell, RecipeError, digest

RESULTS_FILE = "results.json"


@dataclasses.dataclass(frozen=True)
class CellResult:
    """What one run came to.

    Attributes:
        model: the network.
        row: the cell's.
        seed: the run's.
        values: accuracies by name, as fractions.
        passes: forward and backward passes over the training pictures, naively counted, over the whole run.
        seconds: of training, on the wall.
        recipe: digest of what was computed.
    """

    model: str
    row: str
    seed: int
    values: dict[str, float]
    passes: float
    seconds: float
    recipe: str


class Results:
    """`results.json` of a study: small, without weights, and longer by one run at a time.

    Runs of other plans stay in it, so that a scheme or a seed can be added later.

    Args:
        folder: of the study.

    Raises:
        RecipeError: when the file cannot be read.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, RESULTS_FILE)
        self._by_key = _read(self._path)

    def missing(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells without a result, in their order.

        Raises:
            RecipeError: when the result of one is of another recipe.
        """
        for cell in cells:
            recorded = self._by_key.get(cell.key)
            if recorded is not None and recorded.recipe != digest(cell.recipe):
                raise RecipeError(
                    f"{self._path} holds {cell.key} with another recipe: give its values again, or another --model_dir"
                )
        return [cell for cell in cells if cell.key not in self._by_key]

    def add(self, cell: Cell, values: Mapping[str, float], seconds: float) -> None:
        """Record a finished run.

        Args:
            cell: that was run.
            values: its accuracies by name.
            seconds: of its training.
        """
        recipe = cell.recipe
        passes = recipe.total_steps / recipe.steps_per_epoch * recipe.passes_per_image()
        self._by_key[cell.key] = CellResult(
            cell.model, cell.row, recipe.seed, dict(values), passes, seconds, digest(recipe)
        )
        text = json.dumps({"cells": {key: dataclasses.asdict(self._by_key[key]) for key in self._by_key}}, indent=1)
        write_whole(self._path, text + "\n")

    def of(self, cells: Sequence[Cell]) -> list[CellResult]:
        """The results of those of these cells that are finished, in their order."""
        return [self._by_key[cell.key] for cell in cells if cell.key in self._by_key]


def _read(path: str) -> dict[str, CellResult]:
    if not tf.io.gfile.exists(path):
        return {}
    try:
        with tf.io.gfile.GFile(path) as file:
            return {key: CellResult(**values) for key, values in json.load(file)["cells"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise RecipeError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error

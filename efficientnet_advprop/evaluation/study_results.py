"""The finished runs of a study, kept where the next start finds them."""

import dataclasses
import json
import os
from collections.abc import Sequence

import tensorflow as tf

from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.recipes import Cell, RecipeError, digest, first_line

RESULTS_FILE = "results.json"


@dataclasses.dataclass(frozen=True)
class CellResult:
    """What one run came to.

    Attributes:
        model: the network.
        row: the cell's.
        seed: the run's.
        values: accuracies and losses by name, accuracies as fractions; empty for a run that diverged.
        bad_images: evaluation images that could not be read, and count in no accuracy.
        passes: forward and backward passes over the training images, naively counted, over the whole run.
        seconds: of training, on the wall.
        precision: of the computation, such as "float32".
        recipe: digest of what was computed.
        diverged: where a loss, a gradient or a weight was no longer finite, and the run ended; None for a whole run.
    """

    model: str
    row: str
    seed: int
    values: dict[str, float]
    bad_images: int
    passes: float
    seconds: float
    precision: str
    recipe: str
    diverged: str | None = None


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

    def require_precision(self, cells: Sequence[Cell], precision: str) -> None:
        """Refuse to set runs of two precisions beside each other.

        Raises:
            RecipeError: naming the first result of another precision.
        """
        for cell in cells:
            recorded = self._by_key.get(cell.key)
            if recorded is not None and recorded.precision != precision:
                raise RecipeError(f"{self._path} holds {cell.key} in {recorded.precision}, not {precision}")

    def add(self, cell: Cell, result: CellResult) -> None:
        """Record a finished run, beside those that another process may have recorded meanwhile."""
        by_key = {**_read(self._path), cell.key: result}
        cells = {key: dataclasses.asdict(result) for key, result in by_key.items()}
        write_atomic(self._path, json.dumps({"cells": cells}, indent=1, allow_nan=False) + "\n")
        self._by_key = by_key

    def of(self, cells: Sequence[Cell]) -> list[CellResult]:
        """The results of those of these cells that have one, in their order."""
        return [self._by_key[cell.key] for cell in cells if cell.key in self._by_key]


def _read(path: str) -> dict[str, CellResult]:
    if not tf.io.gfile.exists(path):
        return {}
    try:
        with tf.io.gfile.GFile(path) as file:
            return {key: CellResult(**values) for key, values in json.load(file)["cells"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise RecipeError(f"{path} is damaged or of another version: {first_line(error)}") from error

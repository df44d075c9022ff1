"""Observations of single runs for figures: loss gradients (`input_gradients`) and running statistics.

A study keeps them in small files, since it does not keep weights.
"""

import io
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.files import read_or_refuse, write_atomic
from efficientnet_advprop.recipes import RecipeError, Trial, digest, first_line

IMAGES = "images"
OBSERVATIONS_FOLDER = "observations"
_RECIPE = "recipe"  # its digest
_OBSERVED_SCHEMES = ("vanilla", "adversarial", "advprop")
_STATISTICS = ("moving_mean", "moving_variance")
_BATCH_NORM = re.compile(r"(?P<layer>.+)\.norms\.(?P<branch>\w+)\.moving_mean")


def running_statistics(model: tf.keras.Model, branches: Sequence[str], num_layers: int) -> dict[str, np.ndarray]:
    """Running means and variances of at most `num_layers` batch norms, evenly spaced from stem to head.

    Returns:
        float32 [C] each, by `LAYER/BRANCH/moving_mean` and `LAYER/BRANCH/moving_variance`.
    """
    variables = model.weights_by_path()
    matches = (_BATCH_NORM.fullmatch(path) for path in variables)
    layers = sorted(dict.fromkeys(match["layer"] for match in matches if match), key=_depth)
    chosen = sorted({round(place) for place in np.linspace(0, len(layers) - 1, num_layers)})
    return {
        f"{layers[place]}/{branch}/{statistic}": variables[f"{layers[place]}.norms.{branch}.{statistic}"].numpy()
        for place in chosen
        for branch in branches
        for statistic in _STATISTICS
    }


def has_to_be_observed(folder: str, trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether figures show a run of this kind, and the study's folder has no observation of one yet."""
    return _is_shown(trial) and all(_read(folder, other) is None for other in trials if _kind(other) == _kind(trial))


def kinds_not_observed(folder: str, trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """(model, scheme) of the runs that figures show and whose observations are missing from the study's folder."""
    observed = {_kind(trial) for trial in read_observations(folder, trials)}
    kinds = dict.fromkeys(_kind(trial) for trial in trials if _is_shown(trial))
    return [kind for kind in kinds if kind not in observed]


def write_observation(folder: str, trial: Trial, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the observed arrays of a run into the study's folder."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, **{_RECIPE: np.array(digest(trial.recipe))})
    write_atomic(_path(folder, trial), content.getvalue())


def read_observations(folder: str, trials: Sequence[Trial]) -> dict[Trial, dict[str, np.ndarray]]:
    """The observations in a study's folder: arrays by name, of the first observed trial of each kind."""
    first: dict[tuple[str, str], tuple[Trial, dict[str, np.ndarray]]] = {}
    for trial in trials:
        arrays = _read(folder, trial)
        if arrays is not None:
            first.setdefault(_kind(trial), (trial, arrays))
    return dict(first.values())


def _is_shown(trial: Trial) -> bool:
    return trial.recipe.scheme in _OBSERVED_SCHEMES and not trial.has_equal_budget


def _kind(trial: Trial) -> tuple[str, str]:
    """Model and scheme: runs of one kind differ in seed, attack strength or length."""
    return trial.model, trial.recipe.scheme


def _read(folder: str, trial: Trial) -> dict[str, np.ndarray] | None:
    if not tf.io.gfile.exists(_path(folder, trial)):
        return None
    arrays = read_or_refuse(_path(folder, trial), _arrays, "remove it, and the figures are drawn without it")
    return arrays if str(arrays.pop(_RECIPE, "")) == digest(trial.recipe) else None


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(content)) as file:
            return dict(file)
    except Exception as error:  # the readers of zip files, of their members and of NumPy's headers raise their own
        raise RecipeError(f"not a file of NumPy arrays: {first_line(error)}") from error


def _path(folder: str, trial: Trial) -> str:
    return os.path.join(folder, OBSERVATIONS_FOLDER, f"{trial.key}.npz")


def _depth(layer: str) -> tuple[int, int]:
    """Stem, blocks by number, head."""
    if block := re.match(r"blocks\.(\d+)", layer):
        return 1, int(block[1])
    return (0 if layer.startswith("stem") else 2), 0

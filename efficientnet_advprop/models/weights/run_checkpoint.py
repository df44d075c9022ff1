"""The checkpoints of this project's runs, written by `training/checkpoints.py`."""

import tensorflow as tf
from absl import logging

from efficientnet_advprop.models.weights.assignment import assign_weights
from efficientnet_advprop.models.weights.checkpoint_file import CheckpointFile
from efficientnet_advprop.recipes import RecipeError, WeightsRecord

_VALUE = ".ATTRIBUTES/VARIABLE_VALUE"
_RECORD = "record/.ATTRIBUTES/py_state"
_STEP = f"optimizer/_iterations/{_VALUE}"


def is_run_checkpoint(file: CheckpointFile) -> bool:
    """Whether a run of this project wrote the file."""
    return _RECORD in file.shapes and _STEP in file.shapes


def read_record(file: CheckpointFile) -> WeightsRecord:
    """The record of recipe and classes in the checkpoint.

    Raises:
        RecipeError: when another version wrote it.
    """
    try:
        return WeightsRecord.from_json(file.read(_RECORD).decode())
    except RecipeError as error:
        raise RecipeError(f"checkpoint {file.path}: {error}") from error


def read_step(file: CheckpointFile) -> int:
    """The step that the checkpoint was written at."""
    return int(file.read(_STEP))


def load_run_checkpoint(
    model: tf.keras.Model, file: CheckpointFile, ema: bool = True, skip_other_classifier: bool = False
) -> list[str]:
    """Load the weights of a run, without its optimizer, into a network with the same or other branches.

    Args:
        model: the run's network.
        file: the checkpoint.
        ema: load the moving averages, not the raw values.
        skip_other_classifier: keep the classifier's initialisation when the checkpoint has another number of classes.

    Returns:
        Notes for the user, one per line; they are logged too.

    Raises:
        RecipeError: when variables are missing or of another shape; the message lists their names.
    """
    root = "average_model" if ema else "model"
    keys = {path: f"{root}/{path.replace('.', '/')}/{_VALUE}" for path in model.weights_by_path()}
    present = {path: key for path, key in keys.items() if key in file.shapes or _is_needed(path, model)}
    notes = assign_weights(model, file, present, skip_other_classifier)
    for note in notes:
        logging.info("%s", note)
    return notes


def _is_needed(path: str, model: tf.keras.Model) -> bool:
    """Whether the checkpoint must have the variable: those of other branches can start from the main branch's."""
    return not any(f".norms.{branch}." in path for branch in model.branches[1:])

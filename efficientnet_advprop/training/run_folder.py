"""The folder of a run: its recipe and its summary."""

import json
import os
from typing import Annotated, Any

import tensorflow as tf

from efficientnet_advprop.files import read_or_refuse, write_atomic
from efficientnet_advprop.recipes import (
    COUNT,
    FRACTION,
    JsonObject,
    Recipe,
    RecipeError,
    differences,
    first_line,
    from_json,
    from_values,
    json_values,
    to_json,
)

RECIPE_FILE = "recipe.json"
SUMMARY_FILE = "summary.json"
CHECKPOINT_FOLDER = "checkpoints"
BEST_FOLDER = "best"
# Records of results: `top1_BRANCH` and the like are fractions, and the folder of an export is a path.
_OF_STEP = JsonObject({"step": Annotated[int, COUNT]}, {"top": Annotated[float, FRACTION], "saved_model": str, "": Any})


def check(model_dir: str, recipe: Recipe) -> None:
    """Refuse a folder that holds results of another recipe; writes nothing.

    A run without a checkpoint (after an out-of-memory error, for example) has no results: its recipe may be replaced.

    Raises:
        RecipeError: naming every difference.
    """
    if not has_results(model_dir):
        return
    changed = differences(recorded_recipe(model_dir), recipe)
    if changed:
        raise RecipeError(
            f"{model_dir} was started with another recipe ({'; '.join(changed)}): "
            "give those values again, or another --model_dir"
        )


def holds_run(model_dir: str) -> bool:
    """Whether a run was started in this folder."""
    return _exists(model_dir, RECIPE_FILE)


def has_results(model_dir: str) -> bool:
    """Whether a run in this folder has reached its first checkpoint."""
    return holds_run(model_dir) and (_exists(model_dir, CHECKPOINT_FOLDER) or _exists(model_dir, SUMMARY_FILE))


def remove_checkpoints(model_dir: str) -> None:
    """Remove the checkpoints of a run; its recipe, metrics and summary stay."""
    for name in (CHECKPOINT_FOLDER, BEST_FOLDER):
        if _exists(model_dir, name):
            tf.io.gfile.rmtree(os.path.join(model_dir, name))


def require_writable_file(what: str, path: str) -> None:
    """Refuse a file that cannot be written, before the work whose result goes there.

    Raises:
        RecipeError: naming the flag and the file.
    """
    if tf.io.gfile.isdir(path):
        raise RecipeError(f"{what} {path} is a folder, not a file")
    require_writable(what, os.path.dirname(path) or ".")


def record_recipe(model_dir: str, recipe: Recipe) -> None:
    """Write the recipe into the folder of its run.

    Raises:
        RecipeError: when the folder cannot be written.
    """
    write_or_refuse("model_dir", model_dir, RECIPE_FILE, to_json(recipe))


def recorded_recipe(model_dir: str) -> Recipe:
    """The recipe that a run was started with.

    Raises:
        RecipeError: when the folder holds no run, or its record cannot be read.
    """
    path = os.path.join(model_dir, RECIPE_FILE)
    if not holds_run(model_dir):
        raise RecipeError(f"no run in {model_dir}: {RECIPE_FILE} not found")
    return read_or_refuse(path, _valid_recipe, "restore it; --init_checkpoint reads the run's checkpoints without it")


def write_summary(model_dir: str, summary: dict[str, Any]) -> None:
    """Write the summary of a finished run."""
    write_atomic(os.path.join(model_dir, SUMMARY_FILE), json.dumps(summary, indent=2) + "\n")


def read_summary(model_dir: str) -> dict[str, Any] | None:
    """The summary of a finished run; None if the run is not finished.

    Raises:
        RecipeError: when it cannot be read.
    """
    return read_results(os.path.join(model_dir, SUMMARY_FILE), "remove it, and the same command writes it again")


def read_results(path: str, remedy: str) -> dict[str, Any] | None:
    """The recorded results of a step, `step` among them; None when there is no such file.

    Raises:
        RecipeError: when the file holds anything else; the message ends with the remedy.
    """
    if not tf.io.gfile.exists(path):
        return None
    return read_or_refuse(path, lambda text: from_values(_OF_STEP, json_values(text)), remedy)


def require_writable(what: str, folder: str) -> None:
    """Refuse a folder that cannot be written, before the work whose results go there.

    Raises:
        RecipeError: naming the flag and the folder.
    """
    name = f".writable-{os.getpid()}"
    missing = folder
    while os.path.dirname(missing) and not tf.io.gfile.exists(os.path.dirname(missing)):
        missing = os.path.dirname(missing)
    is_new = not tf.io.gfile.exists(folder)
    write_or_refuse(what, folder, name, "")
    tf.io.gfile.remove(os.path.join(folder, name))
    if is_new and tf.io.gfile.exists(missing):
        tf.io.gfile.rmtree(missing)  # the work may still be refused: leave no empty folder


def write_or_refuse(what: str, folder: str, name: str, text: str) -> None:
    """Write a file into a folder that a user named.

    Raises:
        RecipeError: when the folder cannot be written; the message starts with `what`, the name of the flag.
    """
    try:
        write_atomic(os.path.join(folder, name), text)
    except (tf.errors.OpError, OSError) as error:
        raise RecipeError(f"{what} {folder} cannot be written: {first_line(error)}") from error


def _valid_recipe(text: bytes) -> Recipe:
    recipe = from_json(text)
    recipe.validate()
    return recipe


def _exists(model_dir: str, name: str) -> bool:
    return tf.io.gfile.exists(os.path.join(model_dir, name))

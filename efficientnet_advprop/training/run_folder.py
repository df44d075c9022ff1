"""The folder of a run: its recipe and its summary."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Annotated, Any

import tensorflow as tf

from efficientnet_advprop import checkpoint_names
from efficientnet_advprop.files import behind_links, read_or_refuse, takes_a_stream, without_space, write_atomic
from efficientnet_advprop.locks import hold
from efficientnet_advprop.paths import is_remote
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


def require_recipe_of(checkpoint: str, theirs: Recipe | None, ours: Recipe) -> None:
    """Refuse the checkpoint of a run whose recorded recipe is another one, as after an edit of `recipe.json`.

    Args:
        checkpoint: its path, for the message.
        theirs: the recipe inside the checkpoint; None if it holds none.
        ours: the recipe of the run's folder.

    Raises:
        RecipeError: naming every difference.
    """
    if theirs is not None and (changed := differences(theirs, ours)):
        raise RecipeError(
            f"{checkpoint} was written with another recipe than {RECIPE_FILE} says ({'; '.join(changed)}): "
            f"put the checkpoint's values back into {RECIPE_FILE}"
        )


def holds_run(model_dir: str) -> bool:
    """Whether a run was started in this folder."""
    return _exists(model_dir, RECIPE_FILE)


def has_results(model_dir: str) -> bool:
    """Whether a run in this folder has reached its first checkpoint."""
    return holds_run(model_dir) and (_exists(model_dir, CHECKPOINT_FOLDER) or _exists(model_dir, SUMMARY_FILE))


def goes_on(model_dir: str) -> bool:
    """Whether a run in this folder is finished or has a checkpoint to go on from, so that it needs no other weights."""
    path, _ = checkpoint_names.newest(os.path.join(model_dir, CHECKPOINT_FOLDER))
    return holds_run(model_dir) and (path is not None or _exists(model_dir, SUMMARY_FILE))


@contextlib.contextmanager
def own(model_dir: str, recipe: Recipe, inside: tuple[str, ...] = ()) -> Iterator[None]:
    """A context in which this process alone writes to the folder of a run; it records the recipe.

    Args:
        model_dir: the folder.
        recipe: of the run.
        inside: subfolders of the run beside those of its checkpoints.

    Raises:
        RecipeError: when another process does, the folder cannot be written, or it holds results of another recipe.
    """
    with hold("model_dir", model_dir, (CHECKPOINT_FOLDER, BEST_FOLDER, *inside)):
        check(model_dir, recipe)  # again: until now another process may have written to it
        record_recipe(model_dir, recipe)
        yield


def require_place(what: str, folder: str) -> None:
    """Refuse an output folder whose files would lie at the root of the file system or among a run's checkpoints.

    Raises:
        RecipeError: naming the flag and the folder.
    """
    if is_remote(folder):
        return
    place = os.path.realpath(folder)
    if place == os.path.dirname(place):
        raise RecipeError(f"{what} {folder} is the root of the file system: name a folder in it")
    while place != os.path.dirname(place):
        run, name = os.path.split(place)
        if name in (CHECKPOINT_FOLDER, BEST_FOLDER) and holds_run(run):
            raise RecipeError(f"{what} {folder} lies among the checkpoints of the run in {run}: give another folder")
        place = run


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
    if takes_a_stream(path):
        if not os.access(path, os.W_OK):
            raise RecipeError(f"{what} {path} cannot be written: permission denied")
        return
    try:
        folder = os.path.dirname(behind_links(path))
    except OSError as error:
        raise RecipeError(f"{what} {path} cannot be written: {error.strerror}") from error
    require_writable(what, folder or ".")


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
        raise RecipeError(
            f"no run in {model_dir}: {RECIPE_FILE} not found (--model_dir names a run, --init_checkpoint other weights)"
        )
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
    with contextlib.suppress(tf.errors.NotFoundError):  # another process takes it for a leftover
        tf.io.gfile.remove(os.path.join(folder, name))
    if is_new and tf.io.gfile.exists(missing):
        tf.io.gfile.rmtree(missing)  # the work may still be refused: leave no empty folder


def write_or_refuse(what: str, folder: str, name: str, text: str) -> None:
    """Write a file into a folder that a user named.

    Raises:
        RecipeError: when the folder cannot be written; the message starts with `what`, the name of the flag.
        OSError, tf.errors.OpError: when no space is left, which is no mistake of the user.
    """
    try:
        write_atomic(os.path.join(folder, name), text)
    except (tf.errors.OpError, OSError) as error:
        if without_space(error):
            raise
        raise RecipeError(f"{what} {folder} cannot be written: {first_line(error)}") from error


def _valid_recipe(text: bytes) -> Recipe:
    recipe = from_json(text)
    recipe.validate()
    return recipe


def _exists(model_dir: str, name: str) -> bool:
    return tf.io.gfile.exists(os.path.join(model_dir, name))

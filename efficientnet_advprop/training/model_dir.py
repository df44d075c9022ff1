"""A run's folder: the recipe it was started with and the summary it ends with."""

import json
import os
from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import Recipe, RecipeError, differences, from_json, to_json

RECIPE_FILE = "recipe.json"
SUMMARY_FILE = "summary.json"


def claim(model_dir: str, recipe: Recipe) -> None:
    """Make the folder this recipe's, or check that it is already.

    Raises:
        RecipeError: when the folder cannot be written, or a run of another recipe was started in it.
    """
    if tf.io.gfile.exists(os.path.join(model_dir, RECIPE_FILE)):
        changed = differences(recorded_recipe(model_dir), recipe)
        if changed:
            raise RecipeError(
                f"{model_dir} was started with another recipe ({'; '.join(changed)}): "
                "give those values again, or another --model_dir"
            )
    try:
        write_text(os.path.join(model_dir, RECIPE_FILE), to_json(recipe))
    except (tf.errors.OpError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RecipeError(f"model_dir {model_dir} cannot be written: {reason}") from error


def recorded_recipe(model_dir: str) -> Recipe:
    """The recipe that a run was started with.

    Raises:
        RecipeError: when the folder holds no run, or its record cannot be read.
    """
    path = os.path.join(model_dir, RECIPE_FILE)
    if not tf.io.gfile.exists(path):
        raise RecipeError(f"no run in {model_dir}: {RECIPE_FILE} not found")
    with tf.io.gfile.GFile(path) as file:
        try:
            return from_json(file.read())
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error


def write_summary(model_dir: str, summary: dict[str, Any]) -> None:
    """Record the end of a run."""
    write_text(os.path.join(model_dir, SUMMARY_FILE), json.dumps(summary, indent=2) + "\n")


def read_summary(model_dir: str) -> dict[str, Any] | None:
    """The record of the end of a run, or None before it."""
    path = os.path.join(model_dir, SUMMARY_FILE)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return json.load(file)


def write_text(path: str, text: str) -> None:
    """Write a file whole or not at all: under a temporary name, then renamed."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    temporary = f"{path}.tmp"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(text)
    tf.io.gfile.rename(temporary, path, overwrite=True)

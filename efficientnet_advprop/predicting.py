"""Prediction of picture files, from finding them to the files with the results."""

import io
import json
import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import find_pictures, read_pictures
from efficientnet_advprop.evaluation import logits_of_batches, top_classes
from efficientnet_advprop.files import write_whole
from efficientnet_advprop.recipes import RecipeError
from efficientnet_advprop.reporting import progress_bar
from efficientnet_advprop.run import Run

PREDICTIONS_FILE = "predictions.json"


def predict(run: Run) -> dict[str, Any]:
    """Predict the pictures that the run's options name.

    `predictions.json` in the run's folder gets every file: with its likeliest classes, or as skipped with the reason.
    The raw logits [N, K] of those predicted, in the same order, go to the file that `--output` names.

    Returns:
        What `predictions.json` holds.

    Raises:
        RecipeError: when there is no picture, or none that can be read, or several workers would share the work.
    """
    if isinstance(run.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise RecipeError("--mode=predict runs in one process: unset TF_CONFIG")
    files, skipped, logits = _logits_of_pictures(run)
    if not files:
        raise RecipeError(f"none of the {len(skipped)} files of {run.options.images} is a picture")
    results = {
        "weights": run.weights.facts.path,
        "model": run.recipe.network.name,
        "preprocessing": run.recipe.network.preprocessing,
        "input_image_size": run.recipe.network.input_image_size,
        "eval_crop": run.recipe.data.eval_crop,
        "resize": run.recipe.data.resize,
        "predictions": [
            {"file": file, "top": top_classes(row, run.class_names)} for file, row in zip(files, logits, strict=True)
        ],
        "skipped": skipped,
    }
    if run.options.output:
        array = io.BytesIO()
        np.save(array, logits)
        write_whole(run.options.output, array.getvalue())
    write_whole(os.path.join(run.options.model_dir, PREDICTIONS_FILE), json.dumps(results, indent=2) + "\n")
    return results


def _logits_of_pictures(run: Run) -> tuple[list[str], list[dict[str, str]], np.ndarray]:
    """The files that could be read, those that could not with the reason, and the logits [N, K] of the former."""
    paths = find_pictures(run.options.images)
    batch_size, image_size = run.recipe.cadence.eval_batch_size, run.recipe.network.input_image_size
    logits_of = logits_of_batches(run.strategy, run.evaluated_model)
    files, skipped = [], []
    waiting: list[np.ndarray] = []
    logits = [np.zeros((0, run.recipe.data.num_label_classes), np.float32)]
    for path, picture in progress_bar(read_pictures(paths, image_size, run.recipe.data), len(paths), "picture"):
        if isinstance(picture, str):
            skipped.append({"file": path, "reason": picture})
            print(f"skipped {path}: {picture}", file=sys.stderr)
            continue
        files.append(path)
        waiting.append(picture)
        if len(waiting) == batch_size:
            logits.append(logits_of(waiting))
            waiting = []
    if waiting:
        logits.append(logits_of(waiting))
    return files, skipped, np.concatenate(logits)

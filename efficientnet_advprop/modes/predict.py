"""`--mode=predict`: predictions for image files."""

import io
import json
import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import find_images, read_images
from efficientnet_advprop.evaluation import logits_of_batches, top_classes
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.models.weights import Weights
from efficientnet_advprop.modes.loaded_network import LoadedNetwork
from efficientnet_advprop.recipes import Recipe, RecipeError, RunOptions, one_line
from efficientnet_advprop.reporting import prediction_table, progress_bar
from efficientnet_advprop.training import run_folder

PREDICTIONS_FILE = "predictions.json"


def predict(recipe: Recipe, options: RunOptions, weights: Weights) -> None:
    """Predict the classes of image files, write the results and print a table."""
    run_folder.require_writable("model_dir", options.model_dir)
    if options.output:
        run_folder.require_writable_file("output", options.output)
    run = LoadedNetwork(recipe, options, None, weights)
    run.check_batches(training=False, evaluation=True)
    run.read_weights()
    results = predict_images(run)
    print(prediction_table(results["predictions"]))
    print(
        f"{len(results['predictions'])} images predicted, {len(results['skipped'])} skipped: "
        f"{os.path.join(options.model_dir, PREDICTIONS_FILE)}"
    )


def predict_images(run: LoadedNetwork) -> dict[str, Any]:
    """Predict the images that the run's options name.

    `predictions.json` in the run's folder lists every file: with its most likely classes, or as skipped, with the
    reason. The raw logits [N, K] of the predicted files, in the same order, go to the file of `--output`.

    Returns:
        The content of `predictions.json`.

    Raises:
        RecipeError: when no image is found or none can be read, or with several workers.
    """
    if isinstance(run.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise RecipeError("--mode=predict runs in one process: unset TF_CONFIG")
    files, skipped, logits = _logits_of_images(run)
    if not files:
        raise RecipeError(f"none of the {len(skipped)} files of {run.options.images} is an image")
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
        write_atomic(run.options.output, array.getvalue())
    write_atomic(os.path.join(run.options.model_dir, PREDICTIONS_FILE), json.dumps(results, indent=2) + "\n")
    return results


def _logits_of_images(run: LoadedNetwork) -> tuple[list[str], list[dict[str, str]], np.ndarray]:
    """The files that were read, the skipped files with the reason, and the logits [N, K] of the former."""
    paths = find_images(run.options.images)
    batch_size, image_size = run.recipe.cadence.eval_batch_size, run.recipe.network.input_image_size
    logits_of = logits_of_batches(run.strategy, run.evaluated_model)
    files, skipped = [], []
    waiting: list[np.ndarray] = []
    logits = [np.zeros((0, run.recipe.data.num_label_classes), np.float32)]
    for path, image in progress_bar(read_images(paths, image_size, run.recipe.data), len(paths), "image"):
        if isinstance(image, str):
            skipped.append({"file": path, "reason": image})
            print(one_line(f"skipped {path}: {image}"), file=sys.stderr)
            continue
        files.append(path)
        waiting.append(image)
        if len(waiting) == batch_size:
            logits.append(logits_of(waiting))
            waiting = []
    if waiting:
        logits.append(logits_of(waiting))
    return files, skipped, np.concatenate(logits)

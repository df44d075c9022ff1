"""A study from its first run to the report: trains and evaluates what has no result yet, then compares all."""

import dataclasses
import functools
import logging
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

import tpu_utils
from efficientnet_advprop.data import Source, eval_dataset, evaluation_pictures
from efficientnet_advprop.evaluation import (
    CorruptedAccuracy,
    corrupted_dataset,
    loss_gradients,
    run_all,
    running_statistics,
)
from efficientnet_advprop.recipes import MOST_CORRUPTED_IMAGES, Cell, RecipeError, RunOptions
from efficientnet_advprop.reporting import write_study_figures, write_study_report
from efficientnet_advprop.run import Run
from efficientnet_advprop.study import IMAGES, Results, observed_cells, write_observation
from efficientnet_advprop.training import model_dir as run_folder

_CELLS_FOLDER = "cells"
_OBSERVED_PICTURES = 4
_OBSERVED_LAYERS = 5


def run_study(cells: Sequence[Cell], options: RunOptions, source: Source) -> str:
    """Run the cells that have no result yet, and write report and figures; returns the report's path.

    A finished run leaves its values in `results.json`, its recipe and metrics in `cells/KEY`, and what figures show of
    it in `observations`; its checkpoints are removed. A run that was stopped goes on from its own.

    Args:
        cells: the runs, in their order.
        options: where and how; `model_dir` is the study's folder.
        source: of the pictures.

    Raises:
        RecipeError: when the folder holds a run, or results or a run under way of other recipes.
    """
    folder = options.model_dir
    if run_folder.holds_run(folder):
        raise RecipeError(f"{folder} holds a run: a study needs another --model_dir")
    run_folder.require_writable("model_dir", folder)
    results = Results(folder)
    missing = results.missing(cells)
    for cell in cells:
        if cell in missing:
            run_folder.check(_cell_folder(folder, cell), cell.recipe)
        else:  # killed after its result was written
            run_folder.remove_checkpoints(_cell_folder(folder, cell))
    print(f"study: {len(cells)} runs, {len(cells) - len(missing)} of them finished before", flush=True)
    tf.get_logger().addFilter(_is_not_about_retracing)
    observed = {cell.key for cell in observed_cells(cells)}
    strategy = None
    for number, cell in enumerate(missing, start=1):
        print(f"\nrun {number} of {len(missing)}: {cell.key}", flush=True)
        gradients_before = tpu_utils.registered_gradients()
        run = _prepared(cell, options, source, strategy)
        strategy = run.strategy
        seconds = run.train(with_evaluation=False)
        values = _evaluate(run)
        if cell.key in observed:
            write_observation(folder, cell.key, _observe(run))
        results.add(cell, values, seconds)
        run_folder.remove_checkpoints(run.options.model_dir)
        del run
        tpu_utils.release_graphs(gradients_before)
        write_study_report(folder, cells, results.of(cells), options.command, figures=())  # for who stops here
    figures = write_study_figures(folder, cells, results.of(cells))
    return write_study_report(folder, cells, results.of(cells), options.command, figures)


def _cell_folder(folder: str, cell: Cell) -> str:
    return os.path.join(folder, _CELLS_FOLDER, cell.key)


def _prepared(cell: Cell, options: RunOptions, source: Source, strategy: tf.distribute.Strategy | None) -> Run:
    """A run of this cell, on devices that are connected already if one ran before."""
    folder = _cell_folder(options.model_dir, cell)
    run = Run(cell.recipe, dataclasses.replace(options, model_dir=folder), source, strategy=strategy)
    if isinstance(run.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise RecipeError("--mode=study runs in one process: unset TF_CONFIG")
    run.check_batches(training=True, evaluation=True)
    run.record_recipe()
    return run


def _evaluate(run: Run) -> dict[str, float]:
    """Accuracies of the averaged weights: clean through every branch, under attack, on corrupted pictures."""
    num_images = min(MOST_CORRUPTED_IMAGES, run.recipe.data.num_eval_images)

    # Read once, for thirty passes; a study runs in one process.
    @functools.cache
    def clean_pictures() -> tf.data.Dataset:
        context = tf.distribute.InputContext(num_replicas_in_sync=run.strategy.num_replicas_in_sync)
        return eval_dataset(run.source, run.recipe, context, run.options.input, num_images).cache()

    def batches(name: str, severity: int) -> tf.distribute.DistributedDataset:
        return run.strategy.distribute_datasets_from_function(
            lambda context: corrupted_dataset(clean_pictures(), context, name, severity)
        )

    corrupted = CorruptedAccuracy(run.strategy, run.evaluated_model, batches, num_images)
    return {**run.evaluate(), **run_all([corrupted])}


def _observe(run: Run) -> dict[str, np.ndarray]:
    """What figures show of a run: a few pictures, their gradients through each branch, running statistics."""
    images, labels = evaluation_pictures(run.source, run.recipe, _OBSERVED_PICTURES, run.options.input)
    gradients = {
        f"gradients/{branch}": loss_gradients(run.evaluated_model, images, labels, branch)
        for branch in run.recipe.branches
    }
    return {
        IMAGES: images,
        **gradients,
        **running_statistics(run.evaluated_model, run.recipe.branches, _OBSERVED_LAYERS),
    }


def _is_not_about_retracing(record: logging.LogRecord) -> bool:
    """TensorFlow takes the steps of the sixth run for a function that is traced again and again by mistake."""
    return "triggered tf.function retracing" not in record.getMessage()

"""A study from its first run to the report: trains and evaluates what has no result yet, then compares all."""

import dataclasses
import logging
import math
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

import tpu_utils
from efficientnet_advprop.data import Source, eval_dataset, evaluation_images
from efficientnet_advprop.evaluation import (
    IMAGES,
    CellResult,
    CorruptedAccuracy,
    Results,
    corrupted_dataset,
    has_to_be_observed,
    kept_in_memory,
    loss_gradients,
    run_all,
    running_statistics,
    write_observation,
)
from efficientnet_advprop.modes.session import check_batches, connect
from efficientnet_advprop.modes.training_run import TrainingRun
from efficientnet_advprop.recipes import MOST_CORRUPTED_IMAGES, Cell, RecipeError, RunOptions, digest
from efficientnet_advprop.reporting import write_study_figures, write_study_report
from efficientnet_advprop.training import run_folder

_CELLS_FOLDER = "cells"
_OBSERVED_IMAGES = 4
_OBSERVED_LAYERS = 5
_BAD_IMAGES = "bad_images"  # a count among the accuracies


def run_study(cells: Sequence[Cell], options: RunOptions, source: Source) -> tuple[str, list[str]]:
    """Run the cells that have no result yet, and write report and figures.

    A finished run leaves its values in `results.json`, its recipe and metrics in `cells/KEY`, and what figures show of
    it in `observations`; its checkpoints are removed. A run that was stopped goes on from its own. One that diverges is
    recorded as such, and the others follow.

    Args:
        cells: the runs, in their order.
        options: where and how; `model_dir` is the study's folder.
        source: of the images.

    Returns:
        The report's path, and the keys of the runs that diverged.

    Raises:
        RecipeError: when the folder holds a run, or results or a run under way of other recipes.
    """
    folder = options.model_dir
    if run_folder.holds_run(folder):
        raise RecipeError(f"{folder} holds a run: a study needs another --model_dir")
    run_folder.require_writable("model_dir", folder)
    for cell in cells:
        run_folder.check(_cell_folder(folder, cell), cell.recipe)
    results = Results(folder)
    missing = results.missing(cells)
    strategy = connect(options)
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise RecipeError("--mode=study runs in one process: unset TF_CONFIG")
    tpu_utils.refuse_other_hosts(strategy, "the corruptions of a study")
    for cell in missing:
        check_batches(cell.recipe, strategy, training=True, evaluation=True)
    results.require_precision(cells, tpu_utils.set_precision(options.use_bfloat16, strategy))
    for cell in cells:
        if cell not in missing:  # killed after its result was written
            run_folder.remove_checkpoints(_cell_folder(folder, cell))
    print(f"study: {len(cells)} runs, {len(cells) - len(missing)} of them finished before", flush=True)
    tf.get_logger().addFilter(_is_not_about_retracing)
    for number, cell in enumerate(missing, start=1):
        print(f"\nrun {number} of {len(missing)}: {cell.key}", flush=True)
        gradients_before = tpu_utils.registered_gradients()
        _run_cell(cell, options, source, strategy, results, is_observed=has_to_be_observed(folder, cell, cells))
        tpu_utils.release_graphs(gradients_before)
        report = _publish(cells, results, options)  # after every run, for who stops there
    if not missing:
        report = _publish(cells, results, options)
    diverged = [cell.key for cell in cells for result in results.of([cell]) if result.diverged]
    return report, diverged


def _run_cell(
    cell: Cell,
    options: RunOptions,
    source: Source,
    strategy: tf.distribute.Strategy,
    results: Results,
    is_observed: bool,
) -> None:
    """Train and evaluate one run, and record what it came to."""
    study_folder, folder = options.model_dir, _cell_folder(options.model_dir, cell)
    run = TrainingRun(cell.recipe, dataclasses.replace(options, model_dir=folder), source, strategy=strategy)
    run.record_recipe()
    values: dict[str, float] = {}
    diverged = None
    try:
        run.train(with_evaluation=False)
        values = _evaluate(run)
        if is_observed:
            write_observation(study_folder, cell, _observe(run))
    except FloatingPointError as error:
        diverged = str(error)
        print(f"{cell.key} diverged: {diverged}; the next run follows", flush=True)
    recipe = cell.recipe
    epochs = recipe.total_steps / recipe.steps_per_epoch
    result = CellResult(
        model=cell.model,
        row=cell.row,
        seed=recipe.seed,
        values={name: value for name, value in values.items() if name != _BAD_IMAGES},
        bad_images=int(values.get(_BAD_IMAGES, 0)),
        passes=epochs * recipe.passes_per_image(num_replicas=strategy.num_replicas_in_sync),
        seconds=run.log.train_seconds,
        precision=run.precision,
        recipe=digest(recipe),
        diverged=diverged,
    )
    results.add(cell, result)
    run_folder.write_summary(folder, {"step": run.state.step, "diverged": diverged, **values})
    run_folder.remove_checkpoints(folder)


def _publish(cells: Sequence[Cell], results: Results, options: RunOptions) -> str:
    """Write figures and report of the runs finished so far; returns the report's path."""
    folder, finished = options.model_dir, results.of(cells)
    figures = write_study_figures(folder, cells, finished)
    return write_study_report(folder, cells, finished, options.command, figures)


def _cell_folder(folder: str, cell: Cell) -> str:
    return os.path.join(folder, _CELLS_FOLDER, cell.key)


def _evaluate(run: TrainingRun) -> dict[str, float]:
    """Accuracies of the averaged weights: clean through every branch, under attack, on corrupted images.

    Raises:
        FloatingPointError: when there is no loss, as the last steps of training left weights that are not finite.
    """
    num_images = min(MOST_CORRUPTED_IMAGES, run.recipe.data.num_eval_images)
    # One host makes all images: others are refused.
    whole = tf.distribute.InputContext(num_replicas_in_sync=run.strategy.num_replicas_in_sync)
    clean = kept_in_memory(eval_dataset(run.source, run.recipe, whole, run.options.input, num_images))

    def batches(name: str, severity: int) -> tf.distribute.DistributedDataset:
        return run.strategy.distribute_datasets_from_function(
            lambda context: corrupted_dataset(clean, context, name, severity)
        )

    corrupted = CorruptedAccuracy(run.strategy, run.evaluated_model, batches, num_images)
    values = run.evaluate()
    if not_finite := [name for name, value in values.items() if not math.isfinite(value)]:
        raise FloatingPointError(f"not finite in the evaluation: {', '.join(not_finite)}")
    return {**values, **run_all([corrupted])}


def _observe(run: TrainingRun) -> dict[str, np.ndarray]:
    """What figures show of a run: a few images, their gradients through each branch, running statistics."""
    images, labels = evaluation_images(run.source, run.recipe, _OBSERVED_IMAGES, run.options.input)
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

"""`--mode=train_and_eval` and `--mode=train`."""

import dataclasses
import os
from typing import Any

import tensorflow as tf

from efficientnet_advprop.data import Source
from efficientnet_advprop.models.weights import Weights, require_keras_weights
from efficientnet_advprop.modes.export import export_weights, require_branch
from efficientnet_advprop.modes.training_run import TrainingRun
from efficientnet_advprop.recipes import EVALUATION_ATTACK, MAIN_BRANCH, Recipe, RecipeError, RunOptions
from efficientnet_advprop.reporting import METRICS_FILE, report_path, summary_table, write_run_report
from efficientnet_advprop.training import run_folder


def train_and_evaluate(recipe: Recipe, options: RunOptions, source: Source, weights: Weights | None) -> dict[str, Any]:
    """Train, evaluate, draw adversarial examples, export; returns the results that `summary.json` records."""
    summary = run_folder.read_summary(options.model_dir)
    if summary is not None and "saved_model" not in summary:
        raise RecipeError(
            f"{options.model_dir} is a run of a study, whose weights were removed: use another --model_dir"
        )
    if summary is not None and summary["step"] >= recipe.total_steps:
        branch = [options.export_branch] if options.export_branch not in (None, MAIN_BRANCH) else []
        exported_to = os.path.dirname(summary["saved_model"])
        asks_for_export = options.export_dir is not None or options.export_branch is not None
        if asks_for_export and exported_to != os.path.join(options.export_folder, *branch):
            raise RecipeError(f"{options.model_dir} is finished: use --mode=export for another folder or branch")
        print(f"this run is finished: {options.model_dir} is at step {summary['step']}")
        print(summary_table(summary))
        return summary
    _refuse_foreign_report(options.model_dir)
    require_keras_weights(recipe.keras_weights)
    run = TrainingRun(recipe, options, source, weights)
    run.check_batches(training=True, evaluation=True)
    if options.export_dir is not None:
        run_folder.require_writable("export_dir", options.export_dir)
    require_branch(run)
    with run.own_folder():
        return _to_the_end(run)


def _refuse_foreign_report(model_dir: str) -> None:
    """Refuse a folder whose report a run would replace.

    Raises:
        RecipeError: naming it.
    """
    report = report_path(model_dir)
    if tf.io.gfile.exists(report) and not run_folder.holds_run(model_dir):
        raise RecipeError(f"{report} is of no run: a run needs another --model_dir")


def _to_the_end(run: TrainingRun) -> dict[str, Any]:
    recipe, options = run.recipe, run.options
    train_seconds = run.train(with_evaluation=True)
    results = run.evaluate()
    summary = {
        "model": recipe.network.name,
        "dataset": recipe.data.dataset,
        "scheme": recipe.scheme,
        "precision": run.precision,
        "step": run.state.step,
        **results,
        "eval_images": recipe.data.num_eval_images - results.get("bad_images", 0),
        "eval_branch": recipe.cadence.eval_branch,
        "evaluation_attack": dataclasses.asdict(EVALUATION_ATTACK),
        "train_seconds": round(train_seconds, 1),
        "adversarial_examples": run.draw_examples(),
        "saved_model": export_weights(run, results),
        "best_checkpoint": os.path.join(options.model_dir, run_folder.BEST_FOLDER),
        "recipe": os.path.join(options.model_dir, run_folder.RECIPE_FILE),
        "metrics": os.path.join(options.model_dir, METRICS_FILE),
    }
    return run.finish(summary)


def train_only(recipe: Recipe, options: RunOptions, source: Source, weights: Weights | None) -> None:
    """Train to the last step without evaluation, which another process can do (`--mode=eval`)."""
    _refuse_foreign_report(options.model_dir)
    require_keras_weights(recipe.keras_weights)
    run = TrainingRun(recipe, options, source, weights)
    run.check_batches(training=True, evaluation=False)
    with run.own_folder():
        run.train(with_evaluation=False)
        if run.is_chief:
            write_run_report(recipe, options)
    run.say(f"trained to step {run.state.step}: {options.model_dir}")
    run.remove_scratch()

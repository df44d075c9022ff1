"""`--mode=study`: trains and evaluates all trials without a result, then compares them."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

import tpu_utils
from efficientnet_advprop.data import Source, evaluation_images
from efficientnet_advprop.evaluation import (
    IMAGES,
    OBSERVATIONS_FOLDER,
    BenchmarkPass,
    Evaluated,
    Part,
    ResultsFile,
    RunResults,
    Training,
    completed,
    evaluated_trial,
    find_sets,
    has_to_be_observed,
    loss_gradients,
    plan_passes,
    read_observations,
    recorded_success,
    running_statistics,
    write_observation,
)
from efficientnet_advprop.locks import hold
from efficientnet_advprop.modes.benchmarks import PassMaker, refuse_replicas
from efficientnet_advprop.modes.session import (
    check_batches,
    class_names_of,
    connect,
    expect_many_graphs,
    scheme_and_dataset,
)
from efficientnet_advprop.modes.training_run import TrainingRun
from efficientnet_advprop.recipes import RecipeError, RunOptions, Trial, trials_in_words
from efficientnet_advprop.reporting import FIGURES_FOLDER, write_study_figures, write_study_report
from efficientnet_advprop.training import run_folder

_TRIALS_FOLDER = "cells"
_OBSERVED_IMAGES = 4
_OBSERVED_LAYERS = 5


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A trial and its evaluation."""

    trial: Trial
    evaluated: Evaluated
    passes: Sequence[BenchmarkPass]


def run_study(trials: Sequence[Trial], options: RunOptions, source: Source) -> tuple[str, list[str]]:
    """Run the trials without a result, and write report and figures.

    A finished run leaves its results in `results.json`, its recipe and metrics in `cells/KEY`, and observations for
    figures in `observations`; its checkpoints are removed. An interrupted run resumes from its checkpoint. A run that
    diverges is recorded, and the next one follows.

    Args:
        trials: in the order of the runs.
        options: of the study; `model_dir` is its folder, `benchmarks` the evaluation of each run.
        source: of the images.

    Returns:
        The report's path, and the keys of the runs that diverged.

    Raises:
        RecipeError: when the folder holds a run, or results or an unfinished run of other recipes.
    """
    if run_folder.holds_run(options.model_dir):
        raise RecipeError(f"{options.model_dir} holds a run: a study needs another --model_dir")
    with hold("model_dir", options.model_dir, (FIGURES_FOLDER, OBSERVATIONS_FOLDER)):
        return _run_missing(trials, options, source)


def _run_missing(trials: Sequence[Trial], options: RunOptions, source: Source) -> tuple[str, list[str]]:
    folder = options.model_dir
    for trial in trials:
        run_folder.check(trial_folder(folder, trial), trial.recipe)
    file = ResultsFile(folder)
    plans = _plans(trials, options, source, file)
    finished = _finished(file, plans)
    missing = [plan for plan in plans if plan.trial.key not in finished]
    read_observations(folder, trials)  # a damaged one is refused before the first run, not by the figures after it
    strategy = connect(options)
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise RecipeError("--mode=study runs in one process: unset TF_CONFIG")
    tpu_utils.refuse_other_hosts(strategy, "the corruptions of a study")
    refuse_replicas(strategy, options.benchmarks)
    for plan in missing:
        check_batches(plan.trial.recipe, strategy, training=True, evaluation=True)
    _require_precision(file, trials, tpu_utils.set_precision(options.precision, strategy))
    if any(run != file.runs[key] for key, run in finished.items()):
        file.write(finished)
    for trial in trials:
        if trial.key in finished:  # of a process killed after it had written the result
            run_folder.remove_checkpoints(trial_folder(folder, trial))
    before = f"{len(trials) - len(missing)} of them finished before"
    print(f"study: {len(trials)} runs, {before}: {trials_in_words(trials)}", flush=True)
    expect_many_graphs()
    for number, plan in enumerate(missing, start=1):
        print(f"\nrun {number} of {len(missing)}: {plan.trial.key}", flush=True)
        gradients_before = tpu_utils.registered_gradients()
        is_observed = has_to_be_observed(folder, plan.trial, trials)
        file.write({plan.trial.key: _run_trial(plan, options, source, strategy, is_observed)})
        run_folder.remove_checkpoints(trial_folder(folder, plan.trial))
        tpu_utils.release_graphs(gradients_before)
        report = _publish(trials, file, options)  # after every run: the study may be interrupted
    if not missing:
        report = _publish(trials, file, options)
    runs = {trial.key: file.runs[trial.key] for trial in trials if trial.key in file.runs}
    return report, [key for key, run in runs.items() if run.training.diverged]


def _plans(trials: Sequence[Trial], options: RunOptions, source: Source, file: ResultsFile) -> list[_Plan]:
    """The evaluation of every trial; a success criterion that is not set is the one of the finished trials."""
    spec = options.benchmarks
    if spec.success is None:
        spec = dataclasses.replace(spec, success=recorded_success(file) or "last")
    spec.validate()
    plans = []
    for trial in trials:
        names = class_names_of(trial.recipe, source)
        passes = plan_passes(trial.recipe, source, spec, find_sets(spec, names))
        plans.append(_Plan(trial, evaluated_trial(trial, scheme_and_dataset(trial.recipe), names), passes))
    return plans


def _finished(file: ResultsFile, plans: Sequence[_Plan]) -> dict[str, RunResults]:
    """The results of finished trials, checked and completed, by the trials' keys.

    Raises:
        RecipeError: when a result is of another recipe or another evaluation.
    """
    if file.runs and not file.is_study:
        raise RecipeError(f"{file.path} is of an evaluation: a study needs another --model_dir")
    finished = [plan for plan in plans if plan.trial.key in file.runs]
    return {plan.trial.key: completed(file, plan.trial, plan.evaluated, plan.passes) for plan in finished}


def _require_precision(file: ResultsFile, trials: Sequence[Trial], precision: str) -> None:
    """Refuse to compare runs of different precisions."""
    for trial in trials:
        run = file.runs.get(trial.key)
        if run is not None and run.training.precision != precision:
            raise RecipeError(f"{file.path} holds {trial.key} in {run.training.precision}, not {precision}")


def _run_trial(
    plan: _Plan, options: RunOptions, source: Source, strategy: tf.distribute.Strategy, is_observed: bool
) -> RunResults:
    """Train and evaluate one run."""
    folder = trial_folder(options.model_dir, plan.trial)
    run = TrainingRun(plan.trial.recipe, dataclasses.replace(options, model_dir=folder), source, strategy=strategy)
    with run.own_folder():
        return _results_of(run, plan, options.model_dir, is_observed)


def _results_of(run: TrainingRun, plan: _Plan, study_dir: str, is_observed: bool) -> RunResults:
    trial, recipe, folder = plan.trial, run.recipe, run.options.model_dir
    parts: dict[str, Part] = {}
    diverged = None
    try:
        run.train(with_evaluation=False)
        parts = _evaluate(run, plan.passes)
        if is_observed:
            write_observation(study_dir, trial, _observe(run))
    except FloatingPointError as error:
        diverged = str(error)
        print(f"{trial.key} diverged: {diverged}; the next run follows", flush=True)
    epochs = recipe.total_steps / recipe.steps_per_epoch
    passes = epochs * recipe.passes_per_image(num_replicas=run.strategy.num_replicas_in_sync)
    training = Training(trial.row, passes, run.log.train_seconds, run.precision, diverged)
    evaluated = dataclasses.replace(plan.evaluated, step=run.state.step)
    run_folder.write_summary(folder, {"step": run.state.step, "diverged": diverged, **_clean_values(parts)})
    return RunResults(evaluated, training, parts)


def _evaluate(run: TrainingRun, passes: Sequence[BenchmarkPass]) -> dict[str, Part]:
    """The results of the passes with the averaged weights.

    Raises:
        FloatingPointError: when a loss is not finite, because weights became infinite or NaN in the last steps.
    """
    maker, parts = PassMaker(run), {}
    for one in passes:
        parts[one.key] = maker.make(one)
        if one.corruption is None:
            print(f"{one.key}: {parts[one.key].summary()}", flush=True)
        if not_finite := [name for name, value in _clean_values(parts).items() if not math.isfinite(value)]:
            raise FloatingPointError(f"not finite in the evaluation: {', '.join(not_finite)}")
    return parts


def _clean_values(parts: Mapping[str, Part]) -> dict[str, float]:
    """Accuracies and losses on clean images, by their names in the summary of a run."""
    scores = parts["clean"].scores if "clean" in parts else {}
    return {f"{name}_{branch}": value for branch, of in scores.items() for name, value in of.items()}


def _publish(trials: Sequence[Trial], file: ResultsFile, options: RunOptions) -> str:
    """Write figures and report of the finished runs; returns the report's path."""
    folder = options.model_dir
    runs = {trial.key: file.runs[trial.key] for trial in trials if trial.key in file.runs}
    figures = write_study_figures(folder, trials, runs)
    return write_study_report(folder, trials, runs, options.command, figures)


def trial_folder(folder: str, trial: Trial) -> str:
    """The folder of a trial's run in that of its study."""
    return os.path.join(folder, _TRIALS_FOLDER, trial.key)


def _observe(run: TrainingRun) -> dict[str, np.ndarray]:
    """Observations of a run for figures: a few images, their gradients through each branch, running statistics."""
    images, labels = evaluation_images(run.source, run.recipe, _OBSERVED_IMAGES, run.options.input)
    model, branches = run.evaluated_model, run.recipe.branches
    gradients = {f"gradients/{branch}": loss_gradients(model, images, labels, branch) for branch in branches}
    return {IMAGES: images, **gradients, **running_statistics(model, branches, _OBSERVED_LAYERS)}

"""What a run or study goes on with as it was recorded, where this version would begin with something else.

The order of class folders once was that of their names as text, also for numbers. Random numbers once were Philox's.
Studies of few images once had ImageNet's recipe.
"""

import dataclasses
from collections.abc import Sequence

from efficientnet_advprop.data import Source, labelled_as
from efficientnet_advprop.evaluation import ResultsFile, began_with_philox, digest_over_seeds
from efficientnet_advprop.models.weights import Weights, open_weights
from efficientnet_advprop.modes.study import trial_folder
from efficientnet_advprop.recipes import RecipeError, Trial, differences, override
from efficientnet_advprop.recipes.recipe import GENERATORS
from efficientnet_advprop.training import checkpoints, run_folder


def labelled_as_run(source: Source, model_dir: str, weights: Weights | None) -> Source:
    """The training images with the labels of the run in this folder, or else of its initial weights."""
    names = _names_of_run(model_dir)
    if names is None and weights is not None:
        return labelled_as(source, weights.class_names, weights.facts.path)
    return labelled_as(source, names, f"the run in {model_dir}")


def labelled_as_study(source: Source, folder: str, trials: Sequence[Trial]) -> Source:
    """The training images with the labels of the first run of a study that recorded them."""
    finished = (run.evaluated.class_names for run in ResultsFile(folder).runs.values())
    started = (_names_of_run(trial_folder(folder, trial)) for trial in trials)
    names = next((names for some in (finished, started) for names in some if names is not None), None)
    return labelled_as(source, names, f"the study in {folder}")


def began_with(trials: Sequence[Trial], folder: str) -> bool:
    """Whether the study in this folder has finished or started one of these trials, with either random generator."""
    finished = ResultsFile(folder).runs
    for trial in trials:
        run = trial_folder(folder, trial)
        recorded = run_folder.recorded_recipe(run) if run_folder.has_results(run) else None
        for recipe in (override(trial.recipe, {"generator": generator}) for generator in GENERATORS):
            if trial.key in finished and finished[trial.key].evaluated.recipe == digest_over_seeds(recipe):
                return True
            if recorded is not None and not differences(recorded, recipe):
                return True
    return False


def with_generator_of_study(trials: Sequence[Trial], folder: str) -> list[Trial]:
    """The trials with the random generator of the study in this folder, if it holds one."""
    started = (trial_folder(folder, trial) for trial in trials)
    generators = {run_folder.recorded_recipe(run).generator for run in started if run_folder.has_results(run)}
    if "philox" not in generators and not began_with_philox(ResultsFile(folder), trials):
        return list(trials)
    return [dataclasses.replace(trial, recipe=override(trial.recipe, {"generator": "philox"})) for trial in trials]


def _names_of_run(model_dir: str) -> tuple[str, ...] | None:
    try:
        return open_weights(checkpoints.find(model_dir, "last")).class_names
    except RecipeError:
        return None  # no checkpoint, or one that restoring will refuse

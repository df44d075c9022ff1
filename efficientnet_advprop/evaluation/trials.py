"""Finished trials of a study: checks that they match the plan, and completes results of older versions."""

import dataclasses
from collections.abc import Mapping, Sequence

from efficientnet_advprop.evaluation.measurements import differences_in_words
from efficientnet_advprop.evaluation.old_results import WEIGHTS_OF_TRIALS
from efficientnet_advprop.evaluation.part_keys import MEAN, corruption_key
from efficientnet_advprop.evaluation.passes import BenchmarkPass
from efficientnet_advprop.evaluation.results import Evaluated, Part, ResultsFile, RunResults, digest_over_seeds
from efficientnet_advprop.recipes import RecipeError, Trial, benchmark_of, override


def evaluated_trial(trial: Trial, scheme_and_dataset: tuple[str, str], class_names: tuple[str, ...]) -> Evaluated:
    """The network of a trial at the end of its training. Its weights are not kept, so they have no digest."""
    recipe = trial.recipe
    return Evaluated(
        trial.model,
        *scheme_and_dataset,
        recipe.seed,
        recipe.total_steps,
        WEIGHTS_OF_TRIALS,
        recipe.network.input_image_size,
        class_names,
        digest_over_seeds(recipe),
        digest=None,
    )


def began_with_philox(file: ResultsFile, trials: Sequence[Trial]) -> bool:
    """Whether finished trials drew with Philox, as all did before there was another generator."""
    return any(
        file.runs[trial.key].evaluated.recipe
        in (None, digest_over_seeds(override(trial.recipe, {"generator": "philox"})))
        for trial in trials
        if trial.key in file.runs
    )


def recorded_success(file: ResultsFile) -> str | None:
    """The success criterion of PGD in a study's results; None without PGD."""
    parts = (item for run in file.runs.values() for item in run.parts.items())
    return next((part.settings["success"] for key, part in parts if benchmark_of(key).name == "pgd"), None)


def completed(file: ResultsFile, trial: Trial, evaluated: Evaluated, passes: Sequence[BenchmarkPass]) -> RunResults:
    """The results of a finished trial, with the values that an older version did not record.

    Args:
        file: with the results.
        trial: of the plan.
        evaluated: the network of this trial, by the plan.
        passes: the evaluation of this trial, by the plan.

    Raises:
        RecipeError: when the trial has another recipe or evaluation; its weights are not kept.
    """
    run, where = file.runs[trial.key], f"{file.path} holds {trial.key}"
    if run.evaluated.recipe not in (None, evaluated.recipe):
        raise RecipeError(f"{where} with another recipe: give its values again, or another --model_dir")
    known = {name: value for name, value in dataclasses.asdict(run.evaluated).items() if value is not None}
    evaluated = dataclasses.replace(evaluated, **{**known, "class_names": evaluated.class_names})
    if run.training.diverged:
        return RunResults(dataclasses.replace(evaluated, step=run.evaluated.step), run.training)
    planned = {_stored_key(one, run): one for one in passes}
    if others := planned.keys() ^ run.parts.keys():
        raise RecipeError(
            f"{where} with other benchmarks ({', '.join(sorted(others))}) and without its weights: give the same "
            "flags, or another --model_dir"
        )
    parts = {key: _completed_part(where, part, planned[key]) for key, part in run.parts.items()}
    return RunResults(evaluated, run.training, parts)


def _stored_key(one: BenchmarkPass, run: RunResults) -> str:
    """The key of this pass in the results; an older version kept only the mean over the severities of a corruption."""
    mean = corruption_key(one.benchmark.name, one.corruption[0], MEAN) if one.corruption else one.key
    return mean if mean in run.parts else one.key


def _completed_part(where: str, part: Part, planned: BenchmarkPass) -> Part:
    shared: Mapping[str, object] = {name: value for name, value in part.settings.items() if name in planned.settings}
    differing = differences_in_words(shared, {name: planned.settings[name] for name in shared})
    if differing:
        raise RecipeError(
            f"{where} with {'; '.join(differing.values())} of this command, and without its weights: give the same "
            "flags, or another --model_dir"
        )
    images = part.images
    if images is None and part.bad_images is not None:
        total = planned.recipe.data.num_eval_images
        images = min(planned.num_images or total, total) - part.bad_images
    return dataclasses.replace(part, settings={**planned.settings, **part.settings}, images=images)

"""The finished trials of a study in its results file: whether they are those of a plan, and what they leave unsaid."""

import dataclasses
from collections.abc import Mapping, Sequence

from efficientnet_advprop.evaluation.measurements import differences_in_words
from efficientnet_advprop.evaluation.old_results import WEIGHTS_OF_TRIALS
from efficientnet_advprop.evaluation.part_keys import MEAN, corruption_key, corruption_of
from efficientnet_advprop.evaluation.passes import BenchmarkPass
from efficientnet_advprop.evaluation.results import Evaluated, Part, ResultsFile, RunResults, digest_over_seeds
from efficientnet_advprop.recipes import ATTACKED, CORRUPTED, RecipeError, Trial, benchmark_of


def evaluated_trial(trial: Trial, scheme_and_dataset: tuple[str, str], class_names: tuple[str, ...]) -> Evaluated:
    """What is evaluated of a trial that was trained to its end; its weights are not kept.

    Args:
        trial: the trial.
        scheme_and_dataset: it is trained with and on.
        class_names: in label order.
    """
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


def recorded_success(file: ResultsFile) -> str | None:
    """What counted as the success of an attack in a study's results; None where nothing was attacked."""
    parts = (item for run in file.runs.values() for item in run.parts.items())
    return next((part.settings["success"] for key, part in parts if benchmark_of(key).kind == ATTACKED), None)


def completed(file: ResultsFile, trial: Trial, evaluated: Evaluated, passes: Sequence[BenchmarkPass]) -> RunResults:
    """A finished trial with all that its plan knows and an older version did not record.

    Args:
        file: that holds it.
        trial: the plan's.
        evaluated: what a run of this trial says of itself.
        passes: that a run of this trial makes.

    Raises:
        RecipeError: when it is of another recipe, or was evaluated in another way: its weights are gone.
    """
    run, where = file.runs[trial.key], f"{file.path} holds {trial.key}"
    if run.evaluated.recipe not in (None, evaluated.recipe):
        raise RecipeError(f"{where} with another recipe: give its values again, or another --model_dir")
    known = {name: value for name, value in dataclasses.asdict(run.evaluated).items() if value is not None}
    evaluated = dataclasses.replace(evaluated, **{**known, "class_names": evaluated.class_names})
    if run.training.diverged:
        return RunResults(dataclasses.replace(evaluated, step=run.evaluated.step), run.training)
    planned = {one.key: one for one in passes}
    planned |= {_mean_key(key): one for key, one in planned.items() if one.benchmark.kind == CORRUPTED}
    others = {key for key in run.parts if key not in planned}
    others |= {key for key in planned if not {key, _mean_key(key)} & run.parts.keys() and MEAN not in key.split("/")}
    if others:
        raise RecipeError(
            f"{where} with other benchmarks ({', '.join(sorted(others))}) and without its weights: give the same "
            "flags, or another --model_dir"
        )
    parts = {key: _completed_part(where, part, planned[key]) for key, part in run.parts.items()}
    return RunResults(evaluated, run.training, parts)


def _mean_key(key: str) -> str:
    """Where an older version kept the mean over the severities of which this part is one."""
    if benchmark_of(key).kind != CORRUPTED:
        return key
    return corruption_key(benchmark_of(key).name, corruption_of(key)[0], MEAN)


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

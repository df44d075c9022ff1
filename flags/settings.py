"""From flags to the data that they ask for, to a recipe, and to the options that are no part of it."""

import dataclasses
import os
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe, RunOptions, WeightsFacts
from flags.benchmarks import benchmarks_from_flags
from flags.command import command_of, given_flags
from flags.flag import READING
from flags.given_weights import recipe_of_weights, refuse_other_settings
from flags.new_recipe import changes_of, dataset_of, new_recipe


@dataclasses.dataclass(frozen=True)
class DataRequest:
    """The data that the command line asks for, as `data.find_source` takes it."""

    dataset: str
    data_dir: str | None
    holdout_shards: int
    evaluation_only: bool
    train_images_per_class: int | None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    Attributes:
        options: where and how.
        recipe: what the flags give for a new run, or for weights from elsewhere.
    """

    options: RunOptions
    recipe: Recipe


def data_request(values: absl_flags.FlagValues, weights: WeightsFacts | None = None) -> DataRequest | None:
    """What to look for before `settings_from_flags`; None where a recorded recipe names the data, or none are read.

    Args:
        values: the flags.
        weights: what --init_checkpoint holds; a run's are evaluated on the run's kind of data.

    Raises:
        RecipeError: for benchmarks that cannot be measured.
    """
    benchmarks = benchmarks_from_flags(values)
    needs_own_images = benchmarks is None or benchmarks.needs_own_images
    evaluates_given = values.mode == "eval" and weights is not None and needs_own_images
    if values.mode in READING and not evaluates_given:
        return None
    dataset = dataset_of(values)
    if evaluates_given and values.dataset is None and weights.dataset is not None:
        dataset = weights.dataset
    return DataRequest(
        dataset, values.data_dir, values.holdout_shards or 0, evaluates_given, values.train_images_per_class
    )


def settings_from_flags(
    values: absl_flags.FlagValues, data: DataFacts | None = None, weights: WeightsFacts | None = None
) -> Settings:
    """Read the flags, which `refuse_contradictions` has let pass.

    Args:
        values: the flags.
        data: what was found for `data_request`; its numbers replace the named recipe's.
        weights: what --init_checkpoint turned out to hold, if it was given.

    Raises:
        RecipeError: for values that cannot be run, that nothing would read, or that data or weights contradict.
    """
    if weights is not None:
        refuse_other_settings(weights, changes_of(values))
    if weights is not None and values.mode in READING:
        recipe, kind = recipe_of_weights(values, weights, data), "pretrained"
    else:
        recipe = new_recipe(values, data, weights)
        kind = recipe.scheme
    model_dir = values.model_dir or os.path.join("runs", f"{recipe.data.dataset}-{recipe.network.name}-{kind}")
    return Settings(run_options(values, model_dir), recipe)


def run_options(values: absl_flags.FlagValues, model_dir: str) -> RunOptions:
    """Where and how, in this folder: a flag replaces the value of its name."""
    given = {
        **_given(values, RunOptions),
        "model_dir": model_dir,
        "input": InputOptions(**_given(values, InputOptions)),
        "benchmarks": benchmarks_from_flags(values),
        "evaluation_dir": values.evaluation_dir or os.path.join(model_dir, "evaluation"),
        "command": command_of(values),
    }
    return RunOptions(**given)


def _given(values: absl_flags.FlagValues, kind: type) -> dict[str, Any]:
    """The fields of a dataclass that flags of their names give."""
    fields = {field.name for field in dataclasses.fields(kind)}
    return {flag.name: values[flag.name].value for flag in given_flags(values) if flag.name in fields}

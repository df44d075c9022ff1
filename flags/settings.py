"""The data set, the recipe and the options of a run, and the settings of a comparison, from flags."""

import dataclasses
import os
from typing import Any, NamedTuple

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    DEFAULT_MODEL,
    DEFAULT_SCHEME,
    SYNTHESES,
    VISUALIZATIONS,
    WITHOUT_FOLDER,
    DataFacts,
    InputOptions,
    Recipe,
    RecipeError,
    RunOptions,
    VisualizationSpec,
    WeightsFacts,
    flatten,
)
from flags.benchmarks import benchmarks_from_flags
from flags.checks import precision_of
from flags.command import command_of, given_flags
from flags.flag import READING
from flags.given_weights import recipe_of_weights, refuse_other_settings
from flags.new_recipe import changes_of, dataset_of, new_recipe


@dataclasses.dataclass(frozen=True)
class DataRequest:
    """The arguments of `data.find_source`."""

    dataset: str
    data_dir: str | None
    holdout_shards: int
    evaluation_only: bool
    train_images_per_class: int | None


class Settings(NamedTuple):
    """Recipe and options of the command line.

    Attributes:
        recipe: for a new run, or for the weights of --init_checkpoint.
        options: files, devices and input pipeline.
    """

    recipe: Recipe
    options: RunOptions


class ComparisonSettings(NamedTuple):
    """The arguments of `modes.compare.run_comparison`."""

    runs: tuple[str, ...]
    folder: str
    published: bool
    command: str


def model_dir_of(values: absl_flags.FlagValues, weights: WeightsFacts | None = None) -> str:
    """The folder of a training run: --model_dir, or the one named after data set, network and scheme.

    Args:
        values: the flags.
        weights: what --init_checkpoint holds.

    Raises:
        RecipeError: for two different schemes.
    """
    changes, settings = changes_of(values), weights.settings if weights else {}
    model = changes.get("network.name") or settings.get("network.name") or DEFAULT_MODEL
    return values.model_dir or _folder_named(dataset_of(values), model, changes.get("scheme", DEFAULT_SCHEME))


def names_its_folder(values: absl_flags.FlagValues) -> bool:
    """Whether `model_dir_of` needs no weights."""
    return bool(values.model_dir or values.init_checkpoint is None or values["model"].present)


def names_run(values: absl_flags.FlagValues, recorded: Recipe) -> bool:
    """Whether the flags name no other network, scheme or data set than a recorded recipe has."""
    changes, known = changes_of(values), flatten(recorded)
    if values.data_dir and recorded.data.dataset in WITHOUT_FOLDER:
        changes.setdefault("data.dataset", dataset_of(values))
    names = ("network.name", "scheme", "data.dataset")
    return all(changes[path] == known[path] for path in names if path in changes)


def data_request(
    values: absl_flags.FlagValues, weights: WeightsFacts | None = None, recorded: Recipe | None = None
) -> DataRequest | None:
    """The data to open before `settings_from_flags`; None if a recorded recipe names the data, or none are read.

    Args:
        values: the flags.
        weights: what --init_checkpoint holds; weights of a run are evaluated on the data set of the run by default.
        recorded: the recipe of the training run that goes on; its data set is read by default.

    Raises:
        RecipeError: for invalid benchmarks.
    """
    benchmarks = benchmarks_from_flags(values)
    needs_own_images = benchmarks is None or benchmarks.needs_own_images
    if values.mode == "visualize":
        # Image files may take the place of a data set. That of a run needs no flag if it needs no folder.
        needs_own_images = values.dataset or values.data_dir or weights is None or weights.dataset in WITHOUT_FOLDER
    evaluates_given = values.mode in ("eval", "visualize") and weights is not None and needs_own_images
    if values.mode in READING and not evaluates_given:
        return None
    dataset, holdout_shards, per_class = dataset_of(values), values.holdout_shards, values.train_images_per_class
    if evaluates_given and values.dataset is None and weights.dataset is not None:
        dataset = weights.dataset
    if recorded is not None:
        dataset = dataset if values.dataset or not names_run(values, recorded) else recorded.data.dataset
        holdout_shards = recorded.data.holdout_shards if holdout_shards is None else holdout_shards
        per_class = recorded.data.train_images_per_class if per_class is None else per_class
    return DataRequest(dataset, values.data_dir, holdout_shards or 0, evaluates_given, per_class)


def settings_from_flags(
    values: absl_flags.FlagValues,
    data: DataFacts | None = None,
    weights: WeightsFacts | None = None,
    recorded: Recipe | None = None,
) -> Settings:
    """Read the flags; `refuse_contradictions` has checked them.

    Args:
        values: the flags.
        data: the numbers found in the data of `data_request`; they replace those of the named recipe.
        weights: what --init_checkpoint holds, if given.
        recorded: the recipe of the training run in `model_dir_of`, if it goes on; it has the values that no flag gives.

    Raises:
        RecipeError: for invalid values, flags without effect, or values that data or weights contradict.
    """
    if weights is not None:
        refuse_other_settings(weights, changes_of(values))
    if weights is not None and values.mode in READING:
        recipe = recipe_of_weights(values, weights, data)
        model_dir = values.model_dir or _folder_named(recipe.data.dataset, recipe.network.name, "pretrained")
    else:
        recipe, model_dir = new_recipe(values, data, weights, recorded), model_dir_of(values, weights)
    return Settings(recipe, run_options(values, model_dir))


def _folder_named(dataset: str, model: str, kind: str) -> str:
    return os.path.join("runs", f"{dataset}-{model}-{kind}".replace(":", "-"))


def run_options(values: absl_flags.FlagValues, model_dir: str) -> RunOptions:
    """The options of a run in this folder; a flag replaces the field of its name."""
    given = {
        **_given(values, RunOptions),
        "model_dir": model_dir,
        "precision": precision_of(values),
        "input": InputOptions(**_given(values, InputOptions)),
        "benchmarks": benchmarks_from_flags(values),
        "evaluation_dir": values.evaluation_dir or os.path.join(model_dir, "evaluation"),
        "visualization": visualization_from_flags(values),
        "command": command_of(values),
    }
    return RunOptions(**given)


def visualization_from_flags(values: absl_flags.FlagValues) -> VisualizationSpec:
    """What `--mode=visualize` draws; the default for other modes.

    Raises:
        RecipeError: for invalid values.
    """
    if values.mode != "visualize":
        return VisualizationSpec()
    for name in ("visualize", "visualize_classes"):
        if values[name].value is not None and not all(values[name].value or [""]):
            raise RecipeError(f"--{name}={','.join(values[name].value)} names nothing")
    given = {**_given(values, VisualizationSpec), "parts": values.visualize, "compared": values.compare}
    given = {field: tuple(value) if isinstance(value, list) else value for field, value in given.items()}
    spec = VisualizationSpec(**{field: value for field, value in given.items() if value is not None})
    spec.validate()
    if values.images is not None and set(spec.parts) <= set(SYNTHESES):
        readers = [part for part in VISUALIZATIONS if part not in SYNTHESES]
        raise RecipeError(f"--images would have no effect: only --visualize={','.join(readers)} read image files")
    return spec


def comparison_from_flags(values: absl_flags.FlagValues) -> ComparisonSettings:
    """Read the flags of `--mode=compare`; `refuse_contradictions` has checked them."""
    folder = values.model_dir or os.path.join("runs", "comparison")
    return ComparisonSettings(tuple(values.compare), folder, bool(values.published), command_of(values))


def _given(values: absl_flags.FlagValues, kind: type) -> dict[str, Any]:
    """The fields of a dataclass for which a flag of the same name was given."""
    fields = {field.name for field in dataclasses.fields(kind)}
    return {flag.name: values[flag.name].value for flag in given_flags(values) if flag.name in fields}

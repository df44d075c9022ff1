"""From flags to a recipe and to the options that are no part of it."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    DataFacts,
    InputOptions,
    Recipe,
    RecipeError,
    RunOptions,
    WeightsFacts,
    differences,
    flatten,
    named_recipe,
    override,
)
from flags.benchmarks import benchmarks_from_flags
from flags.checks import READING, TRAINING, refuse_contradictions, refuse_unread
from flags.command import command_of
from flags.definitions import RECIPE_FLAGS

DEFAULT_MODEL = "efficientnet-b0"  # the official trainer's
_DEFAULT_SCHEME = "vanilla"

# Modes that look at the data before they have a recipe, which depends on what is there.
_LOOKING = (*TRAINING, "study", "check_data")
# What is read of a recipe when a SavedModel or a checkpoint is given; the rest is about training.
_READ_OF_GRAPHS = {
    "network.name",
    "network.input_image_size",
    "network.preprocessing",
    "data.num_label_classes",
    "data.eval_crop",
    "data.resize",
    "cadence.eval_batch_size",
}
_READ_OF_WEIGHTS = _READ_OF_GRAPHS | {
    "network.width_coefficient",
    "network.depth_coefficient",
    "network.batch_norm_epsilon",
    "network.stem_strides",
}
_READ_BY_EVAL_TOO = {"data.num_eval_images", "data.holdout_shards", "cadence.eval_branch", "seed"}
# Flags that replace no value of a recipe that is there already.
_ABOUT_WEIGHTS = ("init_checkpoint", "init_ema")


@dataclasses.dataclass(frozen=True)
class DataRequest:
    """The data that the command line asks for, as `data.find_source` takes it."""

    dataset: str
    data_dir: str | None
    holdout_shards: int
    train_images_per_class: int | None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    Attributes:
        options: where and how.
        recipe: what the flags give for a new run, or for weights from elsewhere.
        apply_to: the flags' changes applied to a recipe recorded in a model_dir; raises RecipeError as above.
    """

    options: RunOptions
    recipe: Recipe
    apply_to: Callable[[Recipe], Recipe]


def data_request(values: absl_flags.FlagValues, weights: WeightsFacts | None = None) -> DataRequest | None:
    """What to look for before `settings_from_flags`; None in modes that read a recorded recipe, or no data.

    Args:
        values: the flags.
        weights: what --init_checkpoint holds; a run's are evaluated on the run's kind of data.

    Raises:
        RecipeError: for flags that contradict each other.
    """
    refuse_contradictions(values)
    benchmarks = benchmarks_from_flags(values)
    needs_own_images = benchmarks is None or benchmarks.needs_own_images
    evaluates_given = values.mode == "eval" and values.init_checkpoint and needs_own_images
    if values.mode not in _LOOKING and not evaluates_given:
        return None
    dataset = dataset_of(values)
    if values.mode == "eval" and values.dataset is None and weights.dataset is not None:
        dataset = weights.dataset
    return DataRequest(dataset, values.data_dir, values.holdout_shards or 0, values.train_images_per_class)


def settings_from_flags(
    values: absl_flags.FlagValues, data: DataFacts | None = None, weights: WeightsFacts | None = None
) -> Settings:
    """Read the parsed flags.

    Args:
        values: the flags.
        data: what was found for `data_request`; its numbers replace the named recipe's.
        weights: what --init_checkpoint turned out to hold, if it was given.

    Raises:
        RecipeError: for values that cannot be run, that nothing would read, or that data or weights contradict.
    """
    refuse_contradictions(values)
    scheme = _scheme(values)
    changes = changes_of(values)
    named = {"network.name": values.model, "data.dataset": values.dataset, "scheme": scheme}
    named = {path: value for path, value in named.items() if value is not None}
    if weights is not None:
        _refuse_other_settings(weights, named | changes)
    if weights is not None and values.mode in READING:
        recipe = _recipe_of_weights(values.mode, weights, data, named, changes)
    else:
        recipe = _new_recipe(values, data, weights, named, changes)

    def apply_to(recorded: Recipe) -> Recipe:
        changed = _apply(recorded, named | _of_a_recipe(changes))
        changed.validate()
        refuse_unread([changed], changes)
        return changed

    model_dir = values.model_dir or os.path.join("runs", _run_name(recipe, weights is not None, values.mode))
    return Settings(run_options(values, model_dir), recipe, apply_to)


def run_options(values: absl_flags.FlagValues, model_dir: str) -> RunOptions:
    """Where and how, in this folder."""
    return RunOptions(
        mode=values.mode,
        model_dir=model_dir,
        data_dir=values.data_dir,
        export_dir=values.export_dir or os.path.join(model_dir, "saved_model"),
        export_format=values.export_format,
        export_branch=values.export_branch,
        checkpoint=values.checkpoint,
        init_checkpoint=values.init_checkpoint,
        ema=values.ema is not False,
        allow_extra_variables=values.allow_extra_variables,
        images=values.images,
        output=values.output,
        strategy=values.strategy,
        tpu=values.tpu,
        tpu_zone=values.tpu_zone,
        gcp_project=values.gcp_project,
        use_bfloat16=values.use_bfloat16,
        asks_for_export=values["export_dir"].present > 0 or values["export_branch"].present > 0,
        remat=values.remat,
        input=InputOptions(values.bad_images or "error", bool(values.deterministic), bool(values.use_cache)),
        benchmarks=benchmarks_from_flags(values),
        evaluation_dir=values.evaluation_dir or os.path.join(model_dir, "evaluation"),
        command=command_of(values),
    )


def changes_of(values: absl_flags.FlagValues) -> dict[str, Any]:
    """What the flags that are there change in a recipe, by path."""
    return {flag.path: values[flag.name].value for flag in RECIPE_FLAGS if values[flag.name].present}


def recipe_on_data(
    base: Recipe, data: DataFacts | None, changes: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> Recipe:
    """A named recipe with the numbers of what was found, and with the flags' changes; not validated.

    Args:
        base: the named recipe.
        data: what was found.
        changes: by path.
        settings: of given weights, by path; found numbers and changes come before them.

    Raises:
        RecipeError: when a change contradicts what was found.
    """
    recipe = _apply(base, {**_known(settings or {}), **_found(data), **changes})
    if data is not None:
        data.check(recipe.data)
        _require_counts_of_holdout(recipe, {**_found(data), **changes})
    return recipe


def with_own_receipt(base: Recipe, recipe: Recipe) -> Recipe:
    """A valid recipe, which promises nothing where it is no longer the named one."""
    if not differences(base, recipe):
        return recipe
    return override(recipe, {"receipt.expected": "not known: the named recipe was changed", "receipt.measured": False})


def _new_recipe(
    values: absl_flags.FlagValues,
    data: DataFacts | None,
    weights: WeightsFacts | None,
    named: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> Recipe:
    """The recipe of a new run, which may start from given weights."""
    settings = weights.settings if weights else {}
    model = named.get("network.name") or settings.get("network.name") or DEFAULT_MODEL
    base = named_recipe(model, dataset_of(values), named.get("scheme", _DEFAULT_SCHEME))
    recipe = recipe_on_data(base, data, changes, settings)
    if values.mode == "check_data":
        recipe.data.validate()  # nothing is going to be trained, with whatever batch
    elif values.mode in TRAINING:  # else a run's own recipe is what counts, which `apply_to` validates
        recipe.validate()
        refuse_unread([recipe], changes)
    return with_own_receipt(base, recipe)


def _recipe_of_weights(
    mode: str, weights: WeightsFacts, data: DataFacts | None, named: Mapping[str, Any], changes: Mapping[str, Any]
) -> Recipe:
    """The recipe by which given weights are evaluated, predict or are exported: the run's own, or the named one."""
    if weights.recipe is not None:
        base = weights.recipe
        recorded = flatten(base)
        for path, value in named.items():
            if value != recorded[path]:
                raise RecipeError(f"{weights.path} is of {path} {recorded[path]}, not {value}")
    else:
        if "scheme" in named:
            raise RecipeError(f"--scheme={named['scheme']} is about training; {weights.path} has the branches it has")
        dataset = named.get("data.dataset") or weights.dataset or "imagenet"
        base = named_recipe(weights.settings["network.name"], dataset, _DEFAULT_SCHEME)
    base = override(base, {"data.num_label_classes": weights.num_classes})
    flag_of = {flag.path: flag.name for flag in RECIPE_FLAGS}
    read = _READ_OF_GRAPHS if weights.is_graph else _READ_OF_WEIGHTS
    read = read | _READ_BY_EVAL_TOO if mode == "eval" else read
    for path in _of_a_recipe(changes):
        if path not in read:
            raise RecipeError(f"--{flag_of[path]} would have no effect on --mode={mode} of given weights")
    if changes.get("data.num_label_classes", weights.num_classes) != weights.num_classes:
        raise RecipeError(
            f"--num_label_classes={changes['data.num_label_classes']}: {weights.path} has {weights.num_classes} classes"
        )
    images = {path: number for path, number in _found(data).items() if path == "data.num_eval_images"}
    if mode == "eval":
        images["data.holdout_shards"] = 0  # those of the run that wrote the weights are about its own data
    recipe = _apply(base, {**_known(weights.settings), **images, **_of_a_recipe(changes)})
    recipe.validate()
    return recipe


def _refuse_other_settings(weights: WeightsFacts, asked: Mapping[str, Any]) -> None:
    """Given weights have their own network and preprocessing; flags may repeat them, and must fill the gaps."""
    flag_of = {"network.name": "model"} | {flag.path: flag.name for flag in RECIPE_FLAGS}
    for path, value in weights.settings.items():
        flag = flag_of[path]
        if value is None and path not in asked:
            raise RecipeError(
                f"give --{flag}: neither {weights.path} nor a folder in its path tells the {flag} of its weights "
                "(advprop for those trained with AdvProp, imagenet for all other official ones)"
            )
        if value is not None and path in asked and asked[path] != value and path not in weights.hinted:
            raise RecipeError(f"--{flag}={asked[path]} contradicts {weights.path}, whose weights are for {value}")


def _run_name(recipe: Recipe, has_weights: bool, mode: str) -> str:
    """Name of the default folder."""
    what = "pretrained" if has_weights and mode in READING else recipe.scheme
    return f"{recipe.data.dataset}-{recipe.network.name}-{what}"


def _found(data: DataFacts | None) -> dict[str, int]:
    """What was counted, by the paths of a recipe."""
    return {f"data.{field}": number for field, number in data.known().items()} if data else {}


def _known(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in settings.items() if value is not None}


def _of_a_recipe(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in changes.items() if path not in _ABOUT_WEIGHTS}


def _require_counts_of_holdout(recipe: Recipe, known: dict[str, Any]) -> None:
    """The named recipe's numbers are those of the whole data set."""
    missing = [f"--{name}" for name in ("num_train_images", "num_eval_images") if f"data.{name}" not in known]
    if recipe.data.holdout_shards and missing:
        raise RecipeError(
            f"--holdout_shards={recipe.data.holdout_shards} needs {' and '.join(missing)} where images are not "
            "counted: 20 of ImageNet's 1,024 files hold 25,022 and leave 1,256,145"
        )


def dataset_of(values: absl_flags.FlagValues) -> str:
    """The data set's name, given or by what else is given."""
    return values.dataset or ("imagenet" if values.data_dir else "digits")


def _scheme(values: absl_flags.FlagValues) -> str | None:
    if values.advprop:
        if values.scheme not in (None, "advprop"):
            raise RecipeError(f"--advprop and --scheme={values.scheme} contradict each other")
        return "advprop"
    if values.advprop is False and values.scheme == "advprop":
        raise RecipeError("--noadvprop and --scheme=advprop contradict each other")
    return values.scheme


def _apply(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    if changes.get("attack.method") == "ifgsm" and "attack.random_start" not in changes:
        changes = {**changes, "attack.random_start": False}  # I-FGSM is PGD without the random start
    if "train_epochs" in changes:
        changes = {**changes, "train_steps": None}
    return override(recipe, changes)

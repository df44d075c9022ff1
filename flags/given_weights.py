"""The recipe of trained weights, from flags: of a run, or of the weights of --init_checkpoint."""

from collections.abc import Mapping
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    DEFAULT_SCHEME,
    DataFacts,
    Recipe,
    RecipeError,
    WeightsFacts,
    differences,
    flatten,
    named_recipe,
    override,
)
from flags.checks import refuse_unread
from flags.command import given_flags
from flags.flag import RecipeFlag
from flags.new_recipe import changes_of, known_settings, numbers_found, with_changes
from flags.recipe_flags import RECIPE_FLAGS


def recipe_of_run(values: absl_flags.FlagValues, model_dir: str, recorded: Recipe) -> Recipe:
    """The recorded recipe of a run, with the cadence of the flags.

    Args:
        values: the flags.
        model_dir: the run's folder.
        recorded: its recipe.

    Raises:
        RecipeError: when a flag contradicts the recipe or has no effect.
    """
    changes = changes_of(values)
    recipe = with_changes(recorded, changes)
    recipe.validate()
    refuse_unread([recipe], changes)
    if changed := differences(recorded, recipe):
        raise RecipeError(f"flags contradict the recipe of {model_dir}: {'; '.join(changed)}")
    return recipe


def recipe_of_weights(values: absl_flags.FlagValues, weights: WeightsFacts, data: DataFacts | None) -> Recipe:
    """The recipe to evaluate, predict with or export given weights: that of their run, or a named one.

    Args:
        values: the flags.
        weights: what --init_checkpoint holds.
        data: the numbers found in the evaluation data.

    Raises:
        RecipeError: when a flag contradicts the weights or has no effect.
    """
    changes = changes_of(values)
    if weights.recipe is not None:
        base, recorded = weights.recipe, flatten(weights.recipe)
        for path in ("network.name", "data.dataset", "scheme"):
            if path in changes and changes[path] != recorded[path]:
                raise RecipeError(f"{weights.path} is of {path} {recorded[path]}, not {changes[path]}")
    else:
        if "scheme" in changes:
            raise RecipeError(f"--scheme={changes['scheme']} would have no effect: {weights.path} is trained already")
        dataset = changes.get("data.dataset") or weights.dataset or "imagenet"
        base = named_recipe(weights.settings["network.name"], dataset, DEFAULT_SCHEME)
    for flag in given_flags(values):
        if isinstance(flag, RecipeFlag) and values.mode not in flag.given:
            raise RecipeError(f"--{flag.name} would have no effect on --mode={values.mode} of given weights")
    num_classes = changes.get("data.num_label_classes", weights.num_classes)
    if num_classes != weights.num_classes:
        raise RecipeError(f"--num_label_classes={num_classes}: {weights.path} has {weights.num_classes} classes")
    of_data = {"data.num_label_classes": weights.num_classes}
    of_data |= {path: number for path, number in numbers_found(data).items() if path == "data.num_eval_images"}
    if values.mode in ("eval", "visualize"):
        of_data["data.holdout_shards"] = 0  # the holdout of the run that wrote the weights concerns its own data
    recipe = with_changes(override(base, of_data), {**known_settings(weights.settings), **changes})
    recipe.validate()
    return recipe


def refuse_other_settings(weights: WeightsFacts, changes: Mapping[str, Any]) -> None:
    """Refuse flags that contradict the settings of given weights, and missing flags for unknown settings.

    Raises:
        RecipeError: naming the flag.
    """
    if changes.get("init_ema") is False and not weights.has_averages:
        raise RecipeError(f"--noema: {weights.path} holds one set of weights, and no averaged ones beside it")
    flag_of = {flag.path: flag.name for flag in RECIPE_FLAGS}
    for path, value in weights.settings.items():
        flag = flag_of[path]
        if value is None and path not in changes:
            raise RecipeError(
                f"give --{flag}: neither {weights.path} nor its folder gives the {flag} of its weights (advprop for "
                "those trained with AdvProp, imagenet for all others that are published)"
            )
        if value is not None and path in changes and changes[path] != value and path not in weights.hinted:
            raise RecipeError(f"--{flag}={changes[path]} contradicts {weights.path}, whose weights are for {value}")


def refuse_unread_of_saved_model(values: absl_flags.FlagValues) -> None:
    """Refuse modes and flags that have no effect on a SavedModel, which is one fixed network.

    Raises:
        RecipeError: naming the flag.
    """
    if values.mode not in ("eval", "visualize"):
        raise RecipeError(
            f"--init_checkpoint={values.init_checkpoint} is a SavedModel, which only --mode=eval and visualize read; "
            f"{values.mode} needs a checkpoint"
        )
    for flag in given_flags(values):
        if not flag.saved_model:
            raise RecipeError(
                f"--{flag.name} would have no effect on a SavedModel, which is one network with fixed weights"
            )

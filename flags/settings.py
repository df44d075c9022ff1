"""From flags to a recipe and to the options that are no part of it."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    Recipe,
    RecipeError,
    RunOptions,
    WeightsFacts,
    differences,
    flatten,
    named_recipe,
    override,
)
from flags.definitions import RECIPE_FLAGS

_DEFAULT_MODEL = "efficientnet-b0"  # the official trainer's
_DEFAULT_SCHEME = "vanilla"

_TRAINING = ("train_and_eval", "train")
_READING = ("eval", "predict", "export")
# Flags that only some modes read, and which.
_MODES_THAT_READ = {
    "checkpoint": _READING,
    "data_dir": (*_TRAINING, "eval"),
    "images": ("predict", "export"),
    "output": ("predict",),
    "export_dir": ("train_and_eval", "export"),
    "export_branch": ("train_and_eval", "export"),
    "export_format": ("export",),
    "remat": _TRAINING,
    "iterations_per_loop": _TRAINING,
    "steps_per_eval": ("train_and_eval",),
    "steps_per_checkpoint": _TRAINING,
    "keep_checkpoint_max": _TRAINING,
    "eval_batch_size": ("train_and_eval", "eval", "predict"),
}
# What evaluation, prediction and export of given weights read of a recipe; the rest is about training.
_READ_OF_WEIGHTS = (
    "network.name",
    "network.input_image_size",
    "network.width_coefficient",
    "network.depth_coefficient",
    "network.batch_norm_epsilon",
    "network.preprocessing",
    "data.num_label_classes",
    "data.num_eval_images",
    "data.eval_crop",
    "data.resize",
    "cadence.eval_batch_size",
    "seed",
)
# Flags that replace no value of a recipe that is there already.
_ABOUT_WEIGHTS = ("init_checkpoint", "init_ema")


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


def settings_from_flags(values: absl_flags.FlagValues, weights: WeightsFacts | None = None) -> Settings:
    """Read the parsed flags.

    Args:
        values: of the flags.
        weights: what --init_checkpoint turned out to hold, if it was given.

    Raises:
        RecipeError: for values that cannot be run or that nothing would read.
    """
    scheme = _scheme(values)
    changes = {flag.path: values[flag.name].value for flag in RECIPE_FLAGS if values[flag.name].present}
    named = {"network.name": values.model, "data.dataset": values.dataset, "scheme": scheme}
    named = {path: value for path, value in named.items() if value is not None}
    _refuse_contradictions(values)
    if weights is not None:
        _refuse_other_settings(weights, named | changes)
    if weights is not None and values.mode in _READING:
        recipe = _recipe_of_weights(weights, named, changes)
    else:
        recipe = _new_recipe(values, weights, named, changes)

    def apply_to(recorded: Recipe) -> Recipe:
        changed = _apply(recorded, named | _of_a_recipe(changes))
        changed.validate()
        _refuse_unread(changed, changes)
        return changed

    model_dir = values.model_dir or os.path.join("runs", _run_name(recipe, weights is not None, values.mode))
    options = RunOptions(
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
        remat=values.remat,
    )
    return Settings(options, recipe, apply_to)


def _new_recipe(
    values: absl_flags.FlagValues, weights: WeightsFacts | None, named: Mapping[str, Any], changes: Mapping[str, Any]
) -> Recipe:
    """The recipe of a new run, which may start from given weights."""
    settings = weights.settings if weights else {}
    dataset = values.dataset or ("imagenet" if values.data_dir else "digits")
    model = named.get("network.name") or settings.get("network.name") or _DEFAULT_MODEL
    base = named_recipe(model, dataset, named.get("scheme", _DEFAULT_SCHEME))
    recipe = _apply(base, {**_known(settings), **changes})
    recipe.validate()
    if values.mode in _TRAINING:
        _refuse_unread(recipe, changes)
    if differences(base, recipe):
        recipe = override(
            recipe, {"receipt.expected": "not known: the named recipe was changed", "receipt.measured": False}
        )
    return recipe


def _recipe_of_weights(weights: WeightsFacts, named: Mapping[str, Any], changes: Mapping[str, Any]) -> Recipe:
    """The recipe by which given weights are evaluated, predict or are exported: the run's own, or the named one."""
    if weights.recipe is not None:
        base = weights.recipe
        recorded = flatten(base)
        for path, value in named.items():
            if value != recorded[path]:
                raise RecipeError(f"{weights.path} is of {path} {recorded[path]}, not {value}")
    else:
        dataset, scheme = named.get("data.dataset", "imagenet"), named.get("scheme", _DEFAULT_SCHEME)
        base = named_recipe(weights.settings["network.name"], dataset, scheme)
        base = override(base, {"data.num_label_classes": weights.num_classes})
    flag_of = {flag.path: flag.name for flag in RECIPE_FLAGS}
    for path in _of_a_recipe(changes):
        if not path.startswith(_READ_OF_WEIGHTS):
            raise RecipeError(f"--{flag_of[path]} would have no effect: it is about training")
    if changes.get("data.num_label_classes", weights.num_classes) != weights.num_classes:
        raise RecipeError(
            f"--num_label_classes={changes['data.num_label_classes']}: {weights.path} has {weights.num_classes} classes"
        )
    recipe = _apply(base, {**_known(weights.settings), **_of_a_recipe(changes)})
    recipe.validate()
    return recipe


def _refuse_other_settings(weights: WeightsFacts, asked: Mapping[str, Any]) -> None:
    """Given weights have their own network and preprocessing; flags may repeat them, and must fill the gaps."""
    flag_of = {"network.name": "model"} | {flag.path: flag.name for flag in RECIPE_FLAGS}
    for path, value in weights.settings.items():
        flag = flag_of[path]
        if value is None and path not in asked:
            raise RecipeError(
                f"give --{flag}: neither {weights.path} nor the folder it lies in tells the {flag} of its weights "
                "(advprop for those trained with AdvProp, imagenet for all other official ones)"
            )
        if value is not None and path in asked and asked[path] != value:
            raise RecipeError(f"--{flag}={asked[path]} contradicts {weights.path}, whose weights are for {value}")


def _run_name(recipe: Recipe, has_weights: bool, mode: str) -> str:
    """Name of the default folder."""
    what = "pretrained" if has_weights and mode in _READING else recipe.scheme
    return f"{recipe.data.dataset}-{recipe.network.name}-{what}"


def _known(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in settings.items() if value is not None}


def _of_a_recipe(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in changes.items() if path not in _ABOUT_WEIGHTS}


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


def _refuse_contradictions(values: absl_flags.FlagValues) -> None:
    if values.train_steps is not None and values.train_epochs is not None:
        raise RecipeError("--train_steps and --train_epochs are two lengths for one run: give one of them")
    for name in ("model_dir", "data_dir", "export_dir", "init_checkpoint", "images", "output"):
        if values[name].present and not values[name].value:
            raise RecipeError(f"--{name}= is empty")
    for name, modes in _MODES_THAT_READ.items():
        if values[name].present and values.mode not in modes:
            raise RecipeError(f"--{name} is read by --mode={' and '.join(modes)}, not by {values.mode}")
    if values.remat and values.sync_batch_norm:
        raise RecipeError("--remat and --sync_batch_norm exclude each other: recomputed statistics are one replica's")
    if values.mode == "predict" and values.images is None:
        raise RecipeError("--mode=predict needs --images, a pattern such as 'FOLDER/*.jpg'")
    if values.init_checkpoint is not None:
        if values["checkpoint"].present:
            raise RecipeError("--checkpoint chooses among a run's checkpoints; --init_checkpoint names one already")
    elif values.allow_extra_variables:
        raise RecipeError("--allow_extra_variables would have no effect without --init_checkpoint")
    elif values["ema"].present and values.mode in _TRAINING:
        raise RecipeError("--ema is about weights that are read; training without --init_checkpoint reads none")


def _refuse_unread(recipe: Recipe, changes: Mapping[str, Any]) -> None:
    """A flag that this recipe never reads would be accepted and ignored."""
    attacked = any(term.attack for phase in recipe.phases for term in phase.terms)
    optimizer, data = recipe.optimizer, recipe.data
    schedule = f"lr_schedule is {optimizer.lr_schedule}"
    resized = data.dataset != "digits" or data.train_crop == "distorted_box" or data.eval_crop != "none"
    readers = (
        ("attack.", attacked, f"scheme {recipe.scheme} makes no adversarial images"),
        ("term_weights.adversarial", attacked, f"scheme {recipe.scheme} makes no adversarial images"),
        ("optimizer.lr_decay_epochs", optimizer.lr_schedule == "exponential", schedule),
        ("optimizer.lr_step_epochs", optimizer.lr_schedule == "step", schedule),
        ("optimizer.lr_decay_factor", optimizer.lr_schedule in ("exponential", "step"), schedule),
        ("optimizer.decay_batch_norm", optimizer.weight_decay > 0, "weight_decay is 0"),
        ("data.resize", resized, "the digits have the input's size already"),
        ("optimizer.momentum", optimizer.optimizer in ("rmsprop", "momentum"), f"optimizer is {optimizer.optimizer}"),
    )
    names = {flag.path: flag.name for flag in RECIPE_FLAGS}
    for prefix, is_read, reason in readers:
        for path in changes:
            if path.startswith(prefix) and not is_read:
                raise RecipeError(f"--{names[path]} would have no effect: {reason}")

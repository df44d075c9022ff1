"""From flags to a recipe and to the options that are no part of it."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    DataFacts,
    InputOptions,
    Recipe,
    RecipeError,
    RunOptions,
    differences,
    named_recipe,
    override,
)
from flags.definitions import RECIPE_FLAGS

_DEFAULT_MODEL = "efficientnet-b0"  # the official trainer's
_DEFAULT_SCHEME = "vanilla"

_TRAINING = ("train_and_eval", "train")
_READING = ("eval", "export")
_EVALUATING = ("train_and_eval", "eval")
# Flags that only some modes read, and which.
_MODES_THAT_READ = {
    "checkpoint": _READING,
    "export_dir": ("train_and_eval", "export"),
    "remat": _TRAINING,
    "iterations_per_loop": _TRAINING,
    "steps_per_eval": ("train_and_eval",),
    "steps_per_checkpoint": _TRAINING,
    "keep_checkpoint_max": _TRAINING,
    "eval_batch_size": _EVALUATING,
    "bad_images": (*_TRAINING, "eval"),
    "deterministic": _TRAINING,
    "use_cache": _TRAINING,
}
# Modes that look at the data before they have a recipe, which depends on what is there.
_LOOKING = (*_TRAINING, "check_data")


@dataclasses.dataclass(frozen=True)
class DataRequest:
    """The data that the command line asks for, as `data.find_source` takes it."""

    dataset: str
    data_dir: str | None
    holdout_shards: int


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    Attributes:
        options: where and how.
        recipe: what the flags give for a new run.
        apply_to: the flags' changes applied to a recipe recorded in a model_dir; raises RecipeError as above.
    """

    options: RunOptions
    recipe: Recipe
    apply_to: Callable[[Recipe], Recipe]


def data_request(values: absl_flags.FlagValues) -> DataRequest | None:
    """What to look for before `settings_from_flags`; None in modes that read a recorded recipe.

    Raises:
        RecipeError: for flags that contradict each other.
    """
    _refuse_contradictions(values)
    if values.mode not in _LOOKING:
        return None
    return DataRequest(_dataset(values), values.data_dir, values.holdout_shards or 0)


def settings_from_flags(values: absl_flags.FlagValues, facts: DataFacts | None = None) -> Settings:
    """Read the parsed flags.

    Args:
        values: the flags.
        facts: what was found for `data_request`; its numbers replace the named recipe's.

    Raises:
        RecipeError: for values that cannot be run, that nothing would read, or that the data contradict.
    """
    _refuse_contradictions(values)
    scheme, dataset = _scheme(values), _dataset(values)
    base = named_recipe(values.model or _DEFAULT_MODEL, dataset, scheme or _DEFAULT_SCHEME)
    changes = {flag.path: values[flag.name].value for flag in RECIPE_FLAGS if values[flag.name].present}
    found = {f"data.{field}": number for field, number in facts.known().items()} if facts else {}
    recipe = _apply(base, found | changes)
    if facts:
        facts.check(recipe.data)
        _require_counts_of_holdout(recipe, found | changes)
    if values.mode == "check_data":
        recipe.data.validate()  # nothing is going to be trained, with whatever batch
    else:
        recipe.validate()
    if values.mode in _TRAINING:
        _refuse_unread(recipe, changes)
    if differences(base, recipe):
        recipe = override(
            recipe, {"receipt.expected": "not known: the named recipe was changed", "receipt.measured": False}
        )

    def apply_to(recorded: Recipe) -> Recipe:
        named = {"network.name": values.model, "data.dataset": values.dataset, "scheme": scheme}
        changed = _apply(recorded, {path: value for path, value in named.items() if value is not None} | changes)
        changed.validate()
        _refuse_unread(changed, changes)
        return changed

    model_dir = values.model_dir or os.path.join("runs", f"{dataset}-{recipe.network.name}-{recipe.scheme}")
    options = RunOptions(
        mode=values.mode,
        model_dir=model_dir,
        data_dir=values.data_dir,
        export_dir=values.export_dir or os.path.join(model_dir, "saved_model"),
        checkpoint=values.checkpoint,
        strategy=values.strategy,
        tpu=values.tpu,
        tpu_zone=values.tpu_zone,
        gcp_project=values.gcp_project,
        use_bfloat16=values.use_bfloat16,
        remat=values.remat,
        input=InputOptions(values.bad_images or "error", bool(values.deterministic), bool(values.use_cache)),
    )
    return Settings(options, recipe, apply_to)


def _require_counts_of_holdout(recipe: Recipe, known: dict[str, Any]) -> None:
    """The named recipe's numbers are those of the whole data set."""
    missing = [f"--{name}" for name in ("num_train_images", "num_eval_images") if f"data.{name}" not in known]
    if recipe.data.holdout_shards and missing:
        raise RecipeError(
            f"--holdout_shards={recipe.data.holdout_shards} needs {' and '.join(missing)} where pictures are not "
            "counted: 20 of ImageNet's 1,024 files hold 25,022 and leave 1,256,145"
        )


def _dataset(values: absl_flags.FlagValues) -> str:
    return values.dataset or ("imagenet" if values.data_dir else "digits")


def _scheme(values: absl_flags.FlagValues) -> str | None:
    if values.advprop:
        if values.scheme not in (None, "advprop"):
            raise RecipeError(f"--advprop and --scheme={values.scheme} contradict each other")
        return "advprop"
    if values.advprop is False and values.scheme == "advprop":
        raise RecipeError("--noadvprop and --scheme=advprop contradict each other")
    return values.scheme


def _apply(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    if changes.get("attack.method") == "ifgsm" and "attack.random_start" not in changes:
        changes = {**changes, "attack.random_start": False}  # I-FGSM is PGD without the random start
    if "train_epochs" in changes:
        changes = {**changes, "train_steps": None}
    return override(recipe, changes)


def _refuse_contradictions(values: absl_flags.FlagValues) -> None:
    if values.train_steps is not None and values.train_epochs is not None:
        raise RecipeError("--train_steps and --train_epochs are two lengths for one run: give one of them")
    for name in ("dataset", "model_dir", "data_dir", "export_dir"):
        if values[name].present and not values[name].value:
            raise RecipeError(f"--{name}= is empty")
    for name, modes in _MODES_THAT_READ.items():
        if values[name].present and values.mode not in modes:
            raise RecipeError(f"--{name} is read by --mode={' and '.join(modes)}, not by {values.mode}")
    if values.remat and values.sync_batch_norm:
        raise RecipeError("--remat and --sync_batch_norm exclude each other: recomputed statistics are one replica's")


def _refuse_unread(recipe: Recipe, changes: dict[str, Any]) -> None:
    """A flag that this recipe never reads would be accepted and ignored."""
    attacked = any(term.attack for phase in recipe.phases for term in phase.terms)
    optimizer = recipe.optimizer
    readers = (
        ("attack.", attacked, f"scheme {recipe.scheme} makes no adversarial images"),
        ("term_weights.adversarial", attacked, f"scheme {recipe.scheme} makes no adversarial images"),
        ("optimizer.lr_decay_", optimizer.lr_schedule == "exponential", f"lr_schedule is {optimizer.lr_schedule}"),
        ("optimizer.momentum", optimizer.optimizer in ("rmsprop", "momentum"), f"optimizer is {optimizer.optimizer}"),
    )
    names = {flag.path: flag.name for flag in RECIPE_FLAGS}
    for prefix, is_read, reason in readers:
        for path in changes:
            if path.startswith(prefix) and not is_read:
                raise RecipeError(f"--{names[path]} would have no effect: {reason}")

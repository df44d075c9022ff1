"""Flags that contradict each other, and flags that nothing would read."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import FAST_ADVPROP, AttackSpec, Recipe, RecipeError, TermWeights
from flags.command import own_flags
from flags.definitions import RECIPE_FLAGS

TRAINING = ("train_and_eval", "train")
READING = ("eval", "predict", "export")
_ALL_THAT_TRAIN = (*TRAINING, "study")
_ALL_BUT_STUDY = (*TRAINING, *READING, "check_data")
# Flags that only some modes read, and which.
_MODES_THAT_READ = {
    "schemes": ("study",),
    "models": ("study",),
    "seeds": ("study",),
    "attack_epsilons": ("study",),
    "compare": ("compare",),
    "published": ("compare",),
    "benchmarks": ("eval", "study"),
    "benchmark_dir": ("eval",),
    "robustness_resize": ("eval",),
    "pgd_norm": ("eval", "study"),
    "pgd_epsilons": ("eval", "study"),
    "pgd_steps": ("eval", "study"),
    "pgd_restarts": ("eval", "study"),
    "pgd_success": ("eval", "study"),
    "corruptions": ("eval", "study"),
    "benchmark_images": ("eval", "study"),
    "evaluation_dir": ("eval",),
    "checkpoint": READING,
    "init_checkpoint": _ALL_BUT_STUDY,
    "ema": _ALL_BUT_STUDY,
    "data_dir": (*_ALL_THAT_TRAIN, "eval", "check_data"),
    "images": ("predict", "export"),
    "output": ("predict",),
    "export_dir": ("train_and_eval", "export"),
    "export_branch": ("train_and_eval", "export"),
    "export_format": ("export",),
    "remat": _ALL_THAT_TRAIN,
    "iterations_per_loop": _ALL_THAT_TRAIN,
    "steps_per_eval": ("train_and_eval",),
    "steps_per_checkpoint": _ALL_THAT_TRAIN,
    "keep_checkpoint_max": _ALL_THAT_TRAIN,
    "eval_branch": ("train_and_eval", "eval"),
    "eval_batch_size": ("train_and_eval", "eval", "predict", "study"),
    "bad_images": (*_ALL_THAT_TRAIN, "eval"),
    "deterministic": _ALL_THAT_TRAIN,
    "use_cache": _ALL_THAT_TRAIN,
}
# Flags of one run, and what a study of many has instead.
_INSTEAD_IN_A_STUDY = {"model": "models", "scheme": "schemes", "advprop": "schemes", "seed": "seeds"}
_READ_BY_COMPARISONS = ("mode", "compare", "published", "model_dir")
NO_BALL = "attack gd without a random start has no ball"
# Fields that a method which perturbs nothing leaves unread, and terms that have a weight.
_READ_BY_ATTACKS = tuple(field.name for field in dataclasses.fields(AttackSpec) if field.name != "method")
_WEIGHED = tuple(field.name for field in dataclasses.fields(TermWeights))


def refuse_contradictions(values: absl_flags.FlagValues) -> None:
    """Refuse flags that cannot go together, or not with the mode.

    Raises:
        RecipeError: naming the flags.
    """
    if values.train_steps is not None and values.train_epochs is not None:
        raise RecipeError("--train_steps and --train_epochs are two lengths for one run: give one of them")
    for name in (
        "dataset",
        "model_dir",
        "data_dir",
        "export_dir",
        "evaluation_dir",
        "init_checkpoint",
        "images",
        "output",
    ):
        if values[name].present and not values[name].value:
            raise RecipeError(f"--{name}= is empty")
    for name, modes in _MODES_THAT_READ.items():
        if values[name].present and values.mode not in modes:
            raise RecipeError(f"--{name} is read by --mode={' and '.join(modes)}, not by {values.mode}")
    for name, instead in _INSTEAD_IN_A_STUDY.items():
        if values[name].present and values.mode == "study":
            raise RecipeError(f"--{name} is about one run: --mode=study has --{instead}")
    if values.mode == "study":
        _refuse_contradictions_of_a_study(values)
    if values.mode == "compare":
        _refuse_contradictions_of_a_comparison(values)
    if values.remat and values.sync_batch_norm:
        raise RecipeError("--remat and --sync_batch_norm exclude each other: recomputed statistics are one replica's")
    if values.mode == "predict" and values.images is None:
        raise RecipeError("--mode=predict needs --images, a pattern such as 'FOLDER/*.jpg'")
    if values.init_checkpoint is not None:
        if values.mode == "eval" and values.model_dir:
            raise RecipeError(
                "--model_dir would have no effect: evaluation of --init_checkpoint writes the results of --benchmarks "
                "alone, to --evaluation_dir"
            )
        if values.mode == "export" and values.model_dir and values.export_dir:
            raise RecipeError(
                "--model_dir would have no effect: --export_dir and --init_checkpoint are all that is used"
            )
        if values["checkpoint"].present:
            raise RecipeError("--checkpoint chooses among a run's checkpoints; --init_checkpoint names one already")
    elif values.allow_extra_variables:
        raise RecipeError("--allow_extra_variables would have no effect without --init_checkpoint")
    elif values["ema"].present and values.mode in TRAINING:
        raise RecipeError("--ema is about weights that are read; training without --init_checkpoint reads none")


def refuse_unread_of_saved_model(values: absl_flags.FlagValues) -> None:
    """Refuse what a SavedModel as --init_checkpoint cannot do: it is one finished graph with one set of weights.

    Raises:
        RecipeError: naming the flag.
    """
    if values.mode != "eval":
        raise RecipeError(
            f"--init_checkpoint={values.init_checkpoint} is a SavedModel, which --mode=eval alone reads; {values.mode} "
            "needs a checkpoint"
        )
    for name in ("ema", "allow_extra_variables", "use_bfloat16", "eval_branch"):
        if values[name].present:
            raise RecipeError(f"--{name} would have no effect on a SavedModel, which is one finished network")


def _refuse_contradictions_of_a_study(values: absl_flags.FlagValues) -> None:
    if not values.schemes:
        raise RecipeError("--mode=study needs --schemes, such as vanilla,advprop")
    for name in ("attack_epsilon", "attack_steps", "attack_step_size"):
        if values.attack_epsilons is not None and values[name].present:
            raise RecipeError(f"--attack_epsilons gives each strength the paper's steps: --{name} contradicts it")


def _refuse_contradictions_of_a_comparison(values: absl_flags.FlagValues) -> None:
    for flag in own_flags(values):
        if flag.name not in _READ_BY_COMPARISONS:
            raise RecipeError(f"--{flag.name} would have no effect: --mode=compare reads finished evaluations")
    if not values.compare:
        raise RecipeError("--mode=compare needs --compare, such as runs/a,runs/b")
    if not all(values.compare):
        raise RecipeError(f"--compare={','.join(values.compare)} names an empty folder")
    folders = [run.rstrip("/") for run in values.compare]
    repeated = next((run for run in folders if folders.count(run) > 1), None)
    if repeated is not None:
        raise RecipeError(f"--compare names {repeated} twice")


def refuse_unread(recipes: Sequence[Recipe], changes: Mapping[str, Any]) -> None:
    """A flag that none of these recipes reads would be accepted and ignored.

    Args:
        recipes: one at least.
        changes: what the flags give, by path.

    Raises:
        RecipeError: naming the flag and what keeps the recipes from reading it.
    """
    names = {flag.path: flag.name for flag in RECIPE_FLAGS}
    unread = [_unread(recipe, changes) for recipe in recipes]
    for path in unread[0]:
        if all(path in reasons for reasons in unread):
            reasons = dict.fromkeys(reasons[path] for reasons in unread)
            raise RecipeError(f"--{names[path]} would have no effect: {', '.join(reasons)}")


def _unread(recipe: Recipe, changes: Mapping[str, Any]) -> dict[str, str]:
    """The changes that this recipe never reads, by path, with the reason."""
    terms = {term.name for phase in recipe.phases for term in phase.terms}
    attacked, scheme = "adversarial" in terms, f"scheme is {recipe.scheme}"
    optimizer, data = recipe.optimizer, recipe.data
    schedule = f"lr_schedule is {optimizer.lr_schedule}"
    resized = data.dataset != "digits" or data.train_crop == "distorted_box" or data.eval_crop != "none"
    readers = (
        ("attack.", attacked, f"scheme {recipe.scheme} makes no adversarial images"),
        *((f"attack.{field}", recipe.attack.perturbs, "attack is none") for field in _READ_BY_ATTACKS),
        ("attack.epsilon_px", recipe.attack.has_ball, NO_BALL),
        *((f"term_weights.{term}", term in terms, f"scheme {recipe.scheme} has no {term} term") for term in _WEIGHED),
        ("clean_from_epoch", recipe.scheme == "adversarial_then_clean", scheme),
        ("fast_adversarial_share", recipe.scheme == FAST_ADVPROP, scheme),
        ("optimizer.lr_decay_epochs", optimizer.lr_schedule == "exponential", schedule),
        ("optimizer.lr_step_epochs", optimizer.lr_schedule == "step", schedule),
        ("optimizer.lr_decay_factor", optimizer.lr_schedule in ("exponential", "step"), schedule),
        ("optimizer.decay_batch_norm", optimizer.weight_decay > 0, "weight_decay is 0"),
        ("data.randaug_", data.augment_name == "randaugment", f"augment_name is {data.augment_name}"),
        ("data.augment_pixel_scale", data.augment_name != "none", "augment_name is none"),
        ("data.resize", resized, "the digits have the input's size already"),
        ("optimizer.momentum", optimizer.optimizer in ("rmsprop", "momentum"), f"optimizer is {optimizer.optimizer}"),
    )
    unread: dict[str, str] = {}
    for prefix, is_read, reason in readers:
        for path in changes:
            if path.startswith(prefix) and not is_read:
                unread.setdefault(path, reason)
    return unread

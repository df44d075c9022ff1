"""Refusal of flags that contradict each other, and of flags without effect."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    BENCHMARKS,
    SCHEMES,
    AttackSpec,
    Recipe,
    RecipeError,
    TermWeights,
    about_small_epsilon,
    family_of,
    scheme_named,
)
from flags.benchmarks import asked_benchmarks
from flags.command import given_flags
from flags.flag import TRAINING, Topic
from flags.recipe_flags import RECIPE_FLAGS

_EPSILONS = ("attack_epsilon", "attack_epsilons", "pgd_epsilons")
NO_BALL = "attack gd without a uniform random start has no ball"
# Fields that only some schemes read.
_OF_SCHEMES = tuple(dict.fromkeys(field for scheme in SCHEMES.values() for field in scheme.own_fields))
# Fields that attack "none" does not read, and terms that have a weight.
_ATTACK_FIELDS = tuple(field.name for field in dataclasses.fields(AttackSpec) if field.name != "method")
_WEIGHTED = tuple(field.name for field in dataclasses.fields(TermWeights))


def refuse_contradictions(values: absl_flags.FlagValues) -> None:
    """Refuse flags that the mode does not read, and flags that contradict each other.

    Raises:
        RecipeError: naming the flags.
    """
    asked = [BENCHMARKS[name] for name in asked_benchmarks(values) if name in BENCHMARKS]
    for flag in given_flags(values):
        if flag.kind in (str, Path) and not values[flag.name].value:
            raise RecipeError(f"--{flag.name}= is empty")
        if values.mode == "study" and flag.instead_in_study:
            raise RecipeError(f"--{flag.name} is about one run: --mode=study has --{flag.instead_in_study}")
        if values.mode not in flag.modes:
            remedy = (
                ": leave it out, a plan opens no data" if values.mode == "plan" and flag.topic is Topic.DATA else ""
            )
            raise RecipeError(f"--{flag.name} is read by --mode={_in_words(flag.modes)}, not by {values.mode}{remedy}")
        if values.print_recipe and flag.modes == ("plan",):
            raise RecipeError(f"--{flag.name} would have no effect: --print_recipe prints no plan")
        if flag.needs_benchmarks and not asked_benchmarks(values):
            raise RecipeError(f"--{flag.name} would have no effect without --benchmarks")
        if flag.read_by and asked and not any(map(flag.read_by, asked)):
            readers = [benchmark.name for benchmark in BENCHMARKS.values() if flag.read_by(benchmark)]
            verb = "read" if len(readers) > 1 else "reads"
            raise RecipeError(f"--{flag.name} would have no effect: only {_in_words(readers)} {verb} it")
    if values.train_steps is not None and values.train_epochs is not None:
        raise RecipeError("--train_steps and --train_epochs both give the length of the run: give one of them")
    if values.mode == "study":
        _refuse_contradictions_of_a_study(values)
    if values.mode == "compare" and not values.compare:
        raise RecipeError("--mode=compare needs --compare, such as runs/a,runs/b")
    if values.compare is not None:
        _refuse_compared_folders(values.compare)
    if values.use_bfloat16 is not None and values.precision not in (None, precision_of(values)):
        raise RecipeError(f"{values['use_bfloat16'].serialize()} and --precision={values.precision}: give one of them")
    if values.remat and values.sync_batch_norm:
        raise RecipeError("--remat and --sync_batch_norm exclude each other: recomputation is local to a replica")
    if values.mode == "predict" and values.images is None:
        raise RecipeError("--mode=predict needs --images, a pattern such as 'FOLDER/*.jpg'")
    if values.init_checkpoint is not None:
        if values.mode == "eval" and values.model_dir:
            raise RecipeError(
                "--model_dir would have no effect: evaluation of --init_checkpoint writes only the results of "
                "--benchmarks, to --evaluation_dir"
            )
        if values.mode == "export" and values.model_dir and values.export_dir:
            raise RecipeError(
                "--model_dir would have no effect: the export uses only --init_checkpoint and --export_dir"
            )
        if values["checkpoint"].present:
            raise RecipeError("--checkpoint chooses a checkpoint of a run; --init_checkpoint already names one")
        return
    for name in ("allow_extra_variables", "cache_dir", "offline"):
        if values[name].present:
            raise RecipeError(f"--{name} would have no effect without --init_checkpoint")
    if values["ema"].present and values.mode in TRAINING:
        raise RecipeError("--ema would have no effect: training without --init_checkpoint reads no weights")


def warnings_of(values: absl_flags.FlagValues) -> list[str]:
    """Warnings of values that are allowed and hardly ever meant."""
    given = [(name, values[name].value) for name in _EPSILONS if values[name].present]
    lengths = [(name, px) for name, value in given for px in (value if isinstance(value, tuple) else (value,))]
    return [warning for name, px in lengths if (warning := about_small_epsilon(f"--{name}", px))]


def _refuse_contradictions_of_a_study(values: absl_flags.FlagValues) -> None:
    if not values.schemes:
        raise RecipeError("--mode=study needs --schemes, such as vanilla,advprop")
    for name in ("attack_epsilon", "attack_steps", "attack_step_size"):
        if values.attack_epsilons is not None and values[name].present:
            raise RecipeError(f"--attack_epsilons gives each strength the paper's steps: --{name} contradicts it")


def _refuse_compared_folders(compared: Sequence[str]) -> None:
    if not compared or not all(compared):
        raise RecipeError(f"--compare={','.join(compared)} names an empty folder")
    folders = [run.rstrip("/") for run in compared]
    repeated = next((run for run in folders if folders.count(run) > 1), None)
    if repeated is not None:
        raise RecipeError(f"--compare names {repeated} twice")


def _in_words(names: Sequence[str]) -> str:
    """A list in words: a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def refuse_unread(recipes: Sequence[Recipe], changes: Mapping[str, Any]) -> None:
    """Refuse flags that none of the recipes reads.

    Args:
        recipes: at least one.
        changes: recipe values that flags give, by path.

    Raises:
        RecipeError: naming the flag and why it has no effect.
    """
    names = {flag.path: flag.name for flag in RECIPE_FLAGS}
    unread = [unread_by(recipe, changes) for recipe in recipes]
    for path in unread[0]:
        if all(path in reasons for reasons in unread):
            reasons = dict.fromkeys(reasons[path] for reasons in unread)
            raise RecipeError(f"--{names[path]} would have no effect: {', '.join(reasons)}")


def precision_of(values: absl_flags.FlagValues) -> str | None:
    """The precision that --use_bfloat16 or --precision asks for."""
    if values.use_bfloat16 is None:
        return values.precision
    return "bfloat16" if values.use_bfloat16 else "float32"


def refuse_unsuited(values: absl_flags.FlagValues, recipes: Iterable[Recipe]) -> None:
    """Refuse --remat for networks of Keras, which have no blocks to recompute, and what --jit_compile cannot compile.

    Raises:
        RecipeError: naming the network, or the option.
    """
    for recipe in recipes:
        if values.jit_compile and recipe.network.sync_batch_norm:
            raise RecipeError(
                "--jit_compile and --sync_batch_norm exclude each other: XLA compiles no exchange between replicas"
            )
        if values.remat and family_of(recipe.network.name).of_keras:
            raise RecipeError(f"--remat recomputes blocks, which {recipe.network.name} does not have")


def unread_by(recipe: Recipe, changes: Mapping[str, Any]) -> dict[str, str]:
    """The changes that this recipe does not read: path -> reason."""
    terms = {term.name for phase in recipe.phases for term in phase.terms}
    attacked, scheme = "adversarial" in terms, f"scheme is {recipe.scheme}"
    optimizer, data = recipe.optimizer, recipe.data
    schedule = f"lr_schedule is {optimizer.lr_schedule}"
    resized = data.dataset != "digits" or data.train_crop == "distorted_box" or data.eval_crop != "none"
    readers = (
        ("attack.", attacked, f"scheme {recipe.scheme} makes no adversarial images"),
        *((f"attack.{field}", recipe.attack.perturbs, "attack is none") for field in _ATTACK_FIELDS),
        ("attack.epsilon_px", recipe.attack.has_ball, NO_BALL),
        ("attack.start_std_px", recipe.attack.random_start, "attack_random_start is false"),
        *((f"term_weights.{term}", term in terms, f"scheme {recipe.scheme} has no {term} term") for term in _WEIGHTED),
        *((field, field in scheme_named(recipe.scheme).own_fields, scheme) for field in _OF_SCHEMES),
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

"""A recipe as the flags that give it."""

import shlex
from collections.abc import Iterable
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import Recipe, flatten, named_recipe
from flags.checks import unread_by
from flags.command import given_flags
from flags.flag import TRAINING, RecipeFlag
from flags.recipe_flags import RECIPE_FLAGS

_WIDTH = 118  # columns
# Flags whose value is in the printed recipe, or that ask for it.
_ANSWERED = ("mode", "advprop", "print_recipe")


def describe_choice(recipe: Recipe, mode: str) -> str:
    """The recipe in full, where it is not the named one of its data set: why it was chosen, and its flags; else ""."""
    named = named_recipe(recipe.network.name, recipe.data.dataset, recipe.scheme)
    if recipe.provenance.source == named.provenance.source:
        return ""
    lines = _in_lines(as_flags(recipe, mode))
    return "\n".join((f"recipe: {recipe.provenance.source}; each value is a flag:", *(f" {line}" for line in lines)))


def describe_as_command(recipe: Recipe, values: absl_flags.FlagValues) -> str:
    """The recipe as a command that trains it: its origin as comments, then every value as a flag."""
    mode = values.mode if values.mode in TRAINING else TRAINING[0]
    origin = recipe.provenance
    measured = "measured with this code" if origin.measured else "not measured with this code"
    others = [flag for flag in given_flags(values) if mode in flag.modes and flag.name not in _ANSWERED]
    given = [values[flag.name].serialize() for flag in others if not isinstance(flag, RecipeFlag)]
    mode_flag = [f"--mode={mode}"] if mode != TRAINING[0] else []
    lines = _in_lines((*mode_flag, *given, *as_flags(recipe, mode)))
    return "\n".join(
        (
            f"# source: {origin.source}",
            f"# hardware: {origin.hardware}",
            f"# expected: {origin.expected}; {measured}",
            " \\\n".join(("python main.py", *(f" {line}" for line in lines))),
        )
    )


def _in_lines(flags: Iterable[str]) -> list[str]:
    lines = [""]
    for flag in map(shlex.quote, flags):
        if len(lines[-1]) + len(flag) + 3 > _WIDTH:
            lines.append("")
        lines[-1] += f" {flag}"
    return lines


def as_flags(recipe: Recipe, mode: str) -> Iterable[str]:
    """The flags of this mode that give the recipe, without those of values that it does not read."""
    values = flatten(recipe)
    values["train_epochs" if values["train_steps"] else "train_steps"] = None
    if values["init_checkpoint"] is None:
        values["init_ema"] = None
    unread = unread_by(recipe, values)
    for flag in RECIPE_FLAGS:
        value = values[flag.path]
        if isinstance(flag.kind, tuple) and value not in flag.kind:
            continue  # the preprocessing of Keras' networks, which have no other
        if mode in flag.modes and value is not None and flag.path not in unread:
            yield _as_flag(flag.name, value)


def _as_flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, tuple):
        return f"--{name}={','.join(map(str, value))}"
    return f"--{name}={value}"

"""A recipe as the flags that give it."""

import shlex
from collections.abc import Iterable
from typing import Any

from efficientnet_advprop.recipes import Recipe, flatten, named_recipe
from flags.checks import unread_by
from flags.recipe_flags import RECIPE_FLAGS

_WIDTH = 120  # columns


def describe_choice(recipe: Recipe, mode: str) -> str:
    """The recipe in full, where it is not the named one of its data set: why it was chosen, and its flags; else ""."""
    named = named_recipe(recipe.network.name, recipe.data.dataset, recipe.scheme)
    if recipe.provenance.source == named.provenance.source:
        return ""
    lines = [""]
    for flag in map(shlex.quote, as_flags(recipe, mode)):
        if len(lines[-1]) + len(flag) + 3 > _WIDTH:
            lines.append("")
        lines[-1] += f" {flag}"
    return "\n".join((f"recipe: {recipe.provenance.source}; each value is a flag:", *(f" {line}" for line in lines)))


def as_flags(recipe: Recipe, mode: str) -> Iterable[str]:
    """The flags of this mode that give the recipe, without those of values that it does not read."""
    values = flatten(recipe)
    values["train_epochs" if values["train_steps"] else "train_steps"] = None
    if values["init_checkpoint"] is None:
        values["init_ema"] = None
    unread = unread_by(recipe, values)
    for flag in RECIPE_FLAGS:
        value = values[flag.path]
        if mode in flag.modes and value is not None and flag.path not in unread:
            yield _as_flag(flag.name, value)


def _as_flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, tuple):
        return f"--{name}={','.join(map(str, value))}"
    return f"--{name}={value}"

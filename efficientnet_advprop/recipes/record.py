"""Recipes as JSON, as flat `group.field` paths, and the difference between two of them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from efficientnet_advprop.recipes.recipe import Recipe
from efficientnet_advprop.recipes.stored import leaves, parse, to_record

# These groups say how a run is watched and where it comes from, not what it computes.
# Nor where weights came from once: a run goes on from its own.
NOT_COMPARED = ("cadence.", "provenance.", "init_checkpoint", "init_ema")
LENGTH_FIELDS = ("train_epochs", "train_steps")


def flatten(recipe: Recipe) -> dict[str, Any]:
    """The recipe's values by path, such as `optimizer.momentum`."""
    return {leaf.path: leaf.value for leaf in leaves(recipe)}


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with the values at these paths replaced.

    Raises:
        KeyError: for a path that no recipe has.
    """
    known = flatten(recipe)
    groups: dict[str, dict[str, Any]] = {}
    changes: dict[str, Any] = {}
    for path, value in values.items():
        if path not in known:
            raise KeyError(path)
        group, _, field = path.rpartition(".")
        if group:
            groups.setdefault(group, {})[field] = value
        else:
            changes[field] = value
    for group, fields in groups.items():
        changes[group] = dataclasses.replace(getattr(recipe, group), **fields)
    return dataclasses.replace(recipe, **changes)


def to_json(recipe: Recipe) -> str:
    """The recipe as indented JSON, with the version of the record."""
    return json.dumps(to_record(recipe), indent=2) + "\n"


def from_json(text: str) -> Recipe:
    """Read what `to_json` wrote, in this version or an older one.

    Raises:
        RecipeError: for text that is no such record; the message names the field.
    """
    return parse(Recipe, text)


def compared_values(recipe: Recipe) -> dict[str, Any]:
    """All that decides what a whole run computes, by stored path; `total_steps` stands for either length.

    Neutral values of fields that were added later are left out, so that a recipe keeps its digest.
    """
    values = {
        leaf.stored_path: leaf.value
        for leaf in leaves(recipe)
        if _is_compared(leaf.path) and leaf.path not in LENGTH_FIELDS and not leaf.is_neutral
    }
    return {**values, "total_steps": recipe.total_steps}


def digest(recipe: Recipe) -> str:
    """A short name for all that decides what a run computes."""
    return hashlib.sha256(json.dumps(compared_values(recipe), sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Recipe, new: Recipe) -> list[str]:
    """What keeps `new` from continuing a run of `old`: lines `path: old value -> new value`.

    A longer run is no difference when the learning rate is constant and phases end where they did; under any other
    schedule the length changes the rate of steps already made.
    """
    old_values, new_values = flatten(old), flatten(new)
    keeps_past = old.optimizer.lr_schedule == "constant" and _phase_ends(old) == _phase_ends(new)
    longer = keeps_past and new.total_steps >= old.total_steps
    same_length = old.total_steps == new.total_steps
    return [
        f"{path}: {old_values[path]} -> {new_values[path]}"
        for path in old_values
        if old_values[path] != new_values[path]
        and _is_compared(path)
        and not (path in LENGTH_FIELDS and (longer or same_length))
    ]


def _is_compared(path: str) -> bool:
    return not path.startswith(NOT_COMPARED)


def _phase_ends(recipe: Recipe) -> list[float | None]:
    return [phase.until_epoch for phase in recipe.phases]

"""Recipes as JSON and as flat `group.field` paths, their digests and their differences."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from efficientnet_advprop.recipes.recipe import Recipe
from efficientnet_advprop.recipes.stored import leaves, parse, to_record

# Logging, origin, and initial weights: none of them matters to a run that resumes from its own checkpoint.
NOT_COMPARED = ("cadence.", "provenance.", "init_checkpoint", "init_ema")
LENGTH_FIELDS = ("train_epochs", "train_steps")


def flatten(recipe: Recipe) -> dict[str, Any]:
    """The recipe's values by path, such as `optimizer.momentum`."""
    return {leaf.path: leaf.value for leaf in leaves(recipe)}


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with the values at these paths replaced.

    Raises:
        KeyError: for an unknown path.
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
    """The recipe as indented JSON, with the version of the record format."""
    return json.dumps(to_record(recipe), indent=2) + "\n"


def from_json(text: str | bytes) -> Recipe:
    """Read the text that `to_json` of this version or an older one wrote.

    Raises:
        RecipeError: for any other text; the message names the field.
    """
    return parse(Recipe, text)


def compared_values(recipe: Recipe) -> dict[str, Any]:
    """All values that determine what a whole run computes, by stored path; `total_steps` replaces both lengths.

    Neutral values of fields that were added later are left out, so that the digest of a recipe does not change.
    """
    values = {
        leaf.stored_path: leaf.value
        for leaf in leaves(recipe)
        if _is_compared(leaf.path) and leaf.path not in LENGTH_FIELDS and not leaf.is_neutral
    }
    return {**values, "total_steps": recipe.total_steps}


def digest(recipe: Recipe) -> str:
    """A hash of all values that determine what a run computes, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(compared_values(recipe), sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Recipe, new: Recipe) -> list[str]:
    """The differences that prevent `new` from continuing a run of `old`: lines `path: old value -> new value`.

    A longer run is no difference if the learning rate is constant and the phases end at the same epochs. Under any
    other schedule the length changes the learning rate of earlier steps.
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

"""Recipes as JSON, as flat `group.field` paths, and the difference between two of them."""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.recipe import Recipe

# These groups say how a run is watched and where it comes from, not what it computes.
# Nor where weights came from once: a run goes on from its own.
NOT_COMPARED = ("cadence.", "receipt.", "init_checkpoint", "init_ema")
LENGTH_FIELDS = ("train_epochs", "train_steps")


def flatten(recipe: Recipe) -> dict[str, Any]:
    """The recipe's values by path, such as `optimizer.momentum`."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(recipe).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{field}": inner for field, inner in value.items()})
        else:
            flat[name] = value
    return flat


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
    """The recipe as indented JSON."""
    return json.dumps(dataclasses.asdict(recipe), indent=2) + "\n"


def from_json(text: str) -> Recipe:
    """Read what `to_json` wrote.

    Raises:
        RecipeError: for text that is not a recipe of this version; the message says what is wrong.
    """
    try:
        return _build(Recipe, json.loads(text))
    except (json.JSONDecodeError, TypeError, AttributeError) as error:
        raise RecipeError(f"not a recipe of this version: {error}") from error


def _build(kind: type, values: Mapping[str, Any]) -> Any:
    """A dataclass from the nested dict that `dataclasses.asdict` made; missing fields are errors, not defaults."""
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if names != set(values):
        different = ", ".join(sorted(names ^ set(values)))
        raise TypeError(f"{kind.__name__} has other fields ({different})")
    return kind(**{name: _convert(hints[name], value, f"{kind.__name__}.{name}") for name, value in values.items()})


def _convert(hint: Any, value: Any, place: str) -> Any:
    """A JSON value as a field's type has it."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value)
    if typing.get_origin(hint) is tuple and type(value) is list:
        element, _ = typing.get_args(hint)
        return tuple(_convert(element, inner, place) for inner in value)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(value) in allowed:
        return value
    if float in allowed and type(value) is int:  # JSON written by hand: 1 for 1.0
        return float(value)
    raise TypeError(f"{place} is {value!r}")


def compared_values(recipe: Recipe) -> dict[str, Any]:
    """All that decides what a whole run computes, by path; `total_steps` stands for either way to give its length."""
    values = {
        path: value for path, value in flatten(recipe).items() if _is_compared(path) and path not in LENGTH_FIELDS
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

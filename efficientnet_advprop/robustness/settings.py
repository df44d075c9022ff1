"""Settings of passes over pictures, for people."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from efficientnet_advprop.recipes import AttackSpec

_ATTACK_FIELDS = {field.name for field in dataclasses.fields(AttackSpec)}


def in_words(value: Any) -> str:
    """One setting; an attack as `AttackSpec` tells it."""
    if isinstance(value, Mapping):
        if set(value) == _ATTACK_FIELDS:
            return AttackSpec(**value).summary()
        return ", ".join(f"{name} {in_words(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)


def differences_in_words(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, str]:
    """By name, the settings that are not the same, such as `images`: "images 1,000 against 50,000"."""
    found = {}
    for name in dict.fromkeys((*ours, *theirs)):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            inner = differences_in_words(mine, other)
            found.update({f"{name} {field}": f"{name} {words}" for field, words in inner.items()})
        elif mine != other:
            found[name] = f"{name} {in_words(mine)} against {in_words(other)}"
    return found

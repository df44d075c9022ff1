"""Settings of passes over images, for people."""

from collections.abc import Mapping
from typing import Any


def in_words(value: Any) -> str:
    """One setting."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)


def differences_in_words(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, str]:
    """By name, the settings that are not the same, such as `images`: "images 1,000 against 50,000"."""
    found = {}
    for name in dict.fromkeys((*ours, *theirs)):
        mine, other = ours.get(name), theirs.get(name)
        if mine != other:
            found[name] = f"{name} {in_words(mine)} against {in_words(other)}"
    return found

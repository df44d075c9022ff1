"""JSON: frozen dataclasses as records that later versions can read, and the reader of every other JSON text.

Version 1 of a record has every field without a mark. A field that is added later is declared with `added`. A field
that is renamed in the code keeps its old name in files and is listed in `RENAMED`. Reader, writer and digests use both.
"""

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from efficientnet_advprop.recipes.bounds import short
from efficientnet_advprop.recipes.errors import RecipeError

# Class and name in files -> name in the code; digests use the name in files.
RENAMED = {"Recipe.receipt": "provenance"}

_VERSION = "version"
_SINCE = "since"
_DIGITS = 19  # of int64
_DEPTH = 20  # of lists and objects; no record has half of it
_Record = TypeVar("_Record")


class JsonObject(NamedTuple):
    """The schema of an object whose names are not all known; it is read as a dictionary.

    Attributes:
        required: types of the names that it must have.
        others: types of all other names, by the start of the name; the first that fits counts, and one has to.
    """

    required: Mapping[str, Any]
    others: Mapping[str, Any]


def added(since: int, neutral: Any) -> Any:
    """A dataclass field that older records do not have.

    Args:
        since: the first record version that has it, above 1.
        neutral: its default, which computes the same as code without the field. Records without the field have this
            value, and digests leave it out, so it must never change.
    """
    return dataclasses.field(default=neutral, metadata={_SINCE: since})


class Leaf(NamedTuple):
    """A value of a record that is not a record itself.

    Attributes:
        path: its path in the code, such as `provenance.source`.
        stored_path: its path in files, such as `receipt.source`.
        value: the value.
        is_neutral: whether it, or a record that contains it, was added later and has its neutral value.
    """

    path: str
    stored_path: str
    value: Any
    is_neutral: bool


def leaves(record: Any) -> Iterator[Leaf]:
    """All values of a record, in the order of the fields."""
    for field in dataclasses.fields(record):
        value, stored = getattr(record, field.name), _stored_name(type(record), field.name)
        is_neutral = _SINCE in field.metadata and value == field.default
        if not dataclasses.is_dataclass(value):
            yield Leaf(field.name, stored, value, is_neutral)
            continue
        for leaf in leaves(value):
            path, stored_path = f"{field.name}.{leaf.path}", f"{stored}.{leaf.stored_path}"
            yield Leaf(path, stored_path, leaf.value, is_neutral or leaf.is_neutral)


def version_of(kind: type) -> int:
    """The version in which records of this class are written: that of their newest field, at any depth."""
    hints = typing.get_type_hints(kind)
    since = [field.metadata.get(_SINCE, 1) for field in dataclasses.fields(kind)]
    return max(*since, *(version_of(hint) for hint in hints.values() if dataclasses.is_dataclass(hint)), 1)


def to_record(value: Any) -> dict[str, Any]:
    """A dataclass as a JSON object, with its version."""
    return {_VERSION: version_of(type(value)), **_encode(value)}


def parse(kind: type[_Record], text: str | bytes) -> _Record:
    """Read an object of `to_record`, written as JSON by this version or an older one.

    Args:
        kind: the class of the object.
        text: JSON.

    Raises:
        RecipeError: for anything else; the message names the field.
    """
    values = dict(_require_object(json_values(text), "the record"))
    version, newest = values.pop(_VERSION, 1), version_of(kind)
    if type(version) is not int or version < 1:
        raise RecipeError(f"{_VERSION} {version!r} of the record is not a number from 1 on")
    unknown = f"no field of a {kind.__name__}"
    if version > newest:
        unknown = f"written by a newer version of the program (record version {version}, this one reads up to {newest})"
    return _decode(kind, values, "", unknown)


def json_values(text: str | bytes) -> Any:
    """The values of a JSON text.

    Raises:
        RecipeError: for any other text, for a nesting that Python cannot follow, and for whole numbers beyond int64.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        values = json.loads(text, parse_int=_whole_number)
        if _is_deeper(values, _DEPTH):
            raise RecursionError
        if "\\u" in text:
            json.dumps(values, ensure_ascii=False).encode()  # half a character could be neither printed nor written
    except RecipeError:
        raise
    except RecursionError as error:
        raise RecipeError("not a record: lists or objects are nested too deeply") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise RecipeError(f"not a record: {error}") from error
    return values


def from_values(kind: type[_Record] | JsonObject, values: Any, place: str = "") -> _Record | dict[str, Any]:
    """A dataclass from the JSON object of its fields, without a version; a dictionary for another schema.

    Args:
        kind: the dataclass, or the schema.
        values: of its fields.
        place: of the object in its file, for messages.

    Raises:
        RecipeError: for anything else; the message names the field.
    """
    return _convert(kind, values, place, "no field of this version")


def _stored_name(kind: type, name: str) -> str:
    """The name in files of a field of this class."""
    old_names = (old.partition(".") for old, new in RENAMED.items() if new == name)
    return next((old for owner, _, old in old_names if owner == kind.__name__), name)


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        kind, fields = type(value), dataclasses.fields(value)
        return {_stored_name(kind, field.name): _encode(getattr(value, field.name)) for field in fields}
    return value


def _decode(kind: type, values: Mapping[str, Any], prefix: str, unknown: str) -> Any:
    """The dataclass of an object that `_encode` made.

    Args:
        kind: the dataclass.
        values: by stored name.
        prefix: of the stored paths, for messages.
        unknown: message for a field that the dataclass does not have.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {_stored_name(kind, field.name): field for field in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise RecipeError(f"{prefix}{short(name)[1:-1]}: {unknown}")
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[field.name] = _convert(hints[field.name], values[name], prefix + name, unknown)
        elif _SINCE not in field.metadata:
            raise RecipeError(f"{prefix}{name} is missing: records of every version have it")
    return kind(**arguments)


def _convert(hint: Any, value: Any, place: str, unknown: str) -> Any:
    """A JSON value, converted to the type of its field; a union is several types, or one type or None."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (type(value) is hint and not inner):
        return value
    if origin is Annotated:
        converted = _convert(inner[0], value, place, unknown)
        for bounds in inner[1:]:
            bounds.require(place, converted)
        return converted
    if isinstance(hint, types.UnionType):
        return value if type(value) in inner else _convert(inner[0], value, place, unknown)
    prefix = f"{place}." if place else ""
    if dataclasses.is_dataclass(hint):
        return _decode(hint, _require_object(value, place), prefix, unknown)
    if isinstance(hint, JsonObject):
        return _convert_names(hint, _require_object(value, place), prefix, unknown)
    if origin is dict:
        return _convert_names(JsonObject({}, {"": inner[1]}), _require_object(value, place), prefix, unknown)
    if origin in (list, tuple) and type(value) is list:
        kinds = [inner[0]] * len(value) if origin is list or inner[-1] is ... else inner
        if len(kinds) == len(value):
            return origin(_convert(kind, one, place, unknown) for kind, one in zip(kinds, value, strict=True))
    if hint is float and type(value) is int and abs(value) <= sys.float_info.max:  # JSON written by hand: 1 for 1.0
        return float(value)
    raise RecipeError(f"{place} is {short(value)}, not of type {hint if inner else hint.__name__}")


def _convert_names(schema: JsonObject, values: Mapping[str, Any], prefix: str, unknown: str) -> dict[str, Any]:
    if missing := schema.required.keys() - values.keys():
        raise RecipeError(f"{prefix}{min(missing)} is missing")
    converted = {}
    for name, value in values.items():
        other = next(kind for start, kind in schema.others.items() if name.startswith(start))
        kind = schema.required.get(name, other)
        converted[name] = _convert(kind, value, f"{prefix}{short(name)[1:-1]}", unknown)
    return converted


def _require_object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RecipeError(f"{place or 'the record'} is {short(value)}, not an object of named values")
    return value


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects are nested in more than `most` levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(not most or _is_deeper(one, most - 1) for one in inner if isinstance(one, dict | list))


def _whole_number(digits: str) -> int:
    """A whole number of a JSON text; Python refuses those of 4,300 digits, and arithmetic those of 309."""
    if len(digits.lstrip("-")) > _DIGITS:
        raise RecipeError(f"a number of {len(digits)} digits, {digits[:10]}...: no number here has more than {_DIGITS}")
    return int(digits)

"""Values that flags seldom take, and damage to files, drawn from a random generator."""

import json
import random
from typing import Any

_DEEP, _LONG = 100_000, "7" * 5000
_NUMBERS = (
    *("nan", "inf", "-inf", "-1", "0", "1", "2", "3", "7", "0.5", "1e308", "-1e308", "1e-308", "1e30"),
    *("2147483647", "2147483648", "-2147483649", str(10**30), str(10**400), _LONG),
    *("", " ", "1e", "0x10", "1_0", "many", "None", "1,2"),
)
_TEXTS = (
    *("", " ", ".", "..", "-", "--", "=", "a=", "=a", "a,b", ",", "a,,b", "$", "%s", "{}", "[a]*?", "a\nb", "x" * 5000),
    *("\u00e9", "\udcff", "/dev/null", "/proc/run", "missing/run", "run", "run/recipe.json", "study", "run/*.png"),
    *("0", "null", "none", "main", "clean", "pgd", "vanilla", "advprop", "resnet-50", "efficientnet-b1"),
)
_OF_TPU = ("", " ", "local", "grpc://127.0.0.1:1", "grpc://")  # a name asks Google Cloud, for minutes
_PLAIN = (None, True, -1, 0, 3, 1.5, 1e300, float("nan"), float("inf"), "", "x", "x" * 5000)
_VALUES = (*_PLAIN, [], {}, [None], {"x": None}, "LONG", "DEEP")


def values_of(kind: Any, name: str) -> tuple[str, ...]:
    """Values for a flag of this type and name, few of them right."""
    if name in ("tpu", "tpu_zone", "gcp_project"):
        return _OF_TPU
    if kind in (int, float, tuple[float, ...]):
        return _NUMBERS
    if kind is bool:
        return ("true", "false", "2", "", "yes")
    return (*_TEXTS, *(kind if isinstance(kind, tuple) else ()))


def mutated_bytes(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A file cut, overwritten or replaced, and what was done."""
    place = rng.randrange(len(content) + 1)
    end = min(len(content), place + rng.choice((1, 4, 100)))
    faults = {
        "empty": b"",
        f"cut at {place}": content[:place],
        f"without its first {place} bytes": content[place:],
        f"bytes {place} to {end} random": content[:place] + rng.randbytes(end - place) + content[end:],
        f"bytes {place} to {end} zero": content[:place] + bytes(end - place) + content[end:],
        f"not UTF-8 at {place}": content[:place] + b"\xff\xfe" + content[place:],
        "a byte order mark": b"\xef\xbb\xbf" + content,
        "twice": content + content,
        "null": b"null\n",
        "a number": b"3\n",
        "an empty list": b"[]\n",
        "an empty object": b"{}\n",
        "nested deeply": b"[" * _DEEP + b"]" * _DEEP + b"\n",
        "nested objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP + b"\n",
        "a long number": f'{{"step": {_LONG}}}\n'.encode(),
    }
    fault = rng.choice(list(faults))
    return faults[fault], fault


def mutated_json(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A JSON file, or one line of several, with one value replaced or left out, and what was done."""
    lines = content.decode().splitlines(keepends=True)
    is_lines = len(lines) > 1 and all(line.startswith("{") and line.rstrip().endswith("}") for line in lines)
    number = rng.randrange(len(lines)) if is_lines else 0
    values = json.loads(lines[number] if is_lines else content)
    place, holder, key = _chosen(values, rng)
    old = holder[key]
    if rng.random() < 0.2:
        del holder[key]
        fault = f"{place} left out"
    else:
        holder[key] = rng.choice(_VALUES)
        if isinstance(old, int | float):
            holder[key] = rng.choice((holder[key], -old, old + 1, old * 1e18, 1e300, 10**18))
        fault = f"{place} = {str(holder[key])[:40]!r} for {str(old)[:40]!r}"
    text = json.dumps(values).replace('"LONG"', _LONG).replace('"DEEP"', "[" * 500 + "]" * 500)
    if is_lines:
        lines[number] = text + "\n"
        text = "".join(lines)
    return text.encode(), fault


def _chosen(values: Any, rng: random.Random) -> tuple[str, Any, Any]:
    """A random value at any depth: its place in words, what holds it, and its key there."""
    place, holder = "", values
    while True:
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        place = f"{place}.{key}"
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.25:
            return place, holder, key
        holder = inner

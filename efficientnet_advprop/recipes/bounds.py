"""Bounds of numbers, declared at the fields of dataclasses and checked whenever one is made.

    @dataclasses.dataclass(frozen=True)
    class Spec(Bounded):
        rate: Annotated[float, Bounds("[0, 1)")] = 0.5

A class with a number without bounds cannot be defined. So flags, records and library calls refuse the same values.
"""

import math
import numbers
import re
import reprlib
import types
import typing
from typing import Any, ClassVar

from efficientnet_advprop.recipes.errors import RecipeError

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 100
_INTERVAL = re.compile(r"(0 or )?([\[(])(\S+), (\S+)([\])])")


class Bounds:
    """The values that a number may have.

    Args:
        text: an interval in the notation of mathematics, such as `(0, 1]`; `0 or [1e-6, 1]` allows 0 too.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        also_0, left, low, high, right = _INTERVAL.fullmatch(text).groups()
        self._allows_0, self._opens, self._closes = bool(also_0), left == "(", right == ")"
        self._low, self._high = float(low), float(high)

    def require(self, what: str, value: Any) -> None:
        """Refuse a number outside of the bounds, or a sequence that holds one; None is allowed.

        Raises:
            RecipeError: naming `what`, the number and the bounds.
        """
        for number in value if isinstance(value, tuple | list) else (value,):
            if not isinstance(number, numbers.Real):  # none, or a tensor of a graph, whose values are not known yet
                continue
            if isinstance(number, float) and not math.isfinite(number):
                raise RecipeError(f"{what} {number} is not a finite number")
            # Python compares whole numbers of any size with floats exactly.
            above = self._low < number or (self._low == number and not self._opens)
            below = number < self._high or (self._high == number and not self._closes)
            if not (above and below) and not (self._allows_0 and number == 0):
                shown = f"{number:g}" if isinstance(number, float) else short(number)
                raise RecipeError(f"{what} {shown} is outside {self._text}")


# Bounds of several fields. Each is far beyond what is published or would end, and keeps arithmetic within its types.
IMAGES = Bounds("[1, 1e10]")  # LAION-5B has 5.9e9
BATCH = Bounds("[1, 131072]")  # twice the largest published batch of ImageNet, 65,536
STEPS = Bounds("[1, 2147483647]")  # loops and seeds count steps in int32
EPOCHS = Bounds("(0, 1e6]")
EPOCHS_OR_0 = Bounds("[0, 1e6]")
FRACTION = Bounds("[0, 1]")
ATTACK_STEPS = Bounds("[1, 10000]")  # published evaluations take up to 1,000
LENGTH_PX = Bounds("(0, 1e7]")  # the longest change of an image of 16,384 px is 7.2e6 in L2
COUNT = Bounds("[0, 9223372036854775807]")  # in a record: any int64
SECONDS = Bounds("[0, 1e12]")  # in a record: 30,000 years
SIZE_PX = Bounds("[8, 4096]")  # five times the largest published input, 800; smaller ones do not survive the strides


class Bounded:
    """Base of dataclasses that check the bounds of their numbers when they are made.

    Args:
        of: what the fields belong to, for messages: "attack" names `num_steps` as `attack num_steps`.

    Raises:
        TypeError: when a class is defined with a number without bounds.
        RecipeError: when an object is made with a number outside of its bounds.
    """

    _bounds: ClassVar[dict[str, Bounds]] = {}
    _of: ClassVar[str] = ""

    def __init_subclass__(cls, of: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if of is not None:
            cls._of = f"{of} "
        hints = typing.get_type_hints(cls, include_extras=True)
        marks = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
        cls._bounds = {name: mark for name, of_field in marks.items() for mark in of_field if isinstance(mark, Bounds)}
        for name, hint in hints.items():
            if _holds_numbers(hint) and name not in cls._bounds:
                raise TypeError(f"{cls.__name__}.{name} is a number without bounds: Annotated[..., Bounds(...)]")

    def __post_init__(self) -> None:
        for name, bounds in self._bounds.items():
            bounds.require(f"{self._of}{name}", getattr(self, name))


def _holds_numbers(hint: Any) -> bool:
    """Whether a field of this type is a number, an optional one, or a tuple of them."""
    if typing.get_origin(hint) in (types.UnionType, tuple):
        return any(map(_holds_numbers, typing.get_args(hint)))
    return hint in (int, float)


def short(value: Any) -> str:
    """The representation of a value on one line of a message, whatever its size."""
    return _REPR.repr(value)

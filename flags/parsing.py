"""Registers the flags with absl, and parses them with one-line errors."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import RecipeError, names_instead, one_line
from flags.definitions import FLAGS
from flags.flag import MODES, Flag
from flags.help import asked_help


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parse the command line, for `app.run(main, flags_parser=parse_flags)`.

    An error prints one line and exits with code 2 (absl prints two lines and exits with 1).

    Returns:
        The program's name. Other positional arguments are errors.
    """
    for argument in argv:
        if not _is_utf8(argument):
            sys.exit(_usage_error(f"{argument!a} is not UTF-8: rename the file or folder"))
    try:
        shown = asked_help(argv)
    except RecipeError as error:
        sys.exit(_usage_error(str(error)))
    if shown is not None:
        print(shown)
        sys.exit(0)
    try:
        positional = absl_flags.FLAGS(argv)
    except (absl_flags.Error, OSError, ValueError) as error:  # those of absl, and of a --flagfile that cannot be read
        sys.exit(_usage_error(f"{error}{_about_fraction(str(error))}"))
    if len(positional) > 1:
        sys.exit(_usage_error(f"not a flag: {positional[1]}; quote a pattern: --images='photos/*.jpg'"))
    for flag in FLAGS:
        if flag.kind in _EXPANDED and absl_flags.FLAGS[flag.name].present:
            absl_flags.FLAGS[flag.name].value = _EXPANDED[flag.kind](absl_flags.FLAGS[flag.name].value)
    return positional


def _about_fraction(error: str) -> str:
    """What to write in place of an epsilon of other code, such as 8/255."""
    found = re.search(r"_(?:epsilons?|step_size)=.*could not convert string to float: '([\d.]+)/255'", error)
    return f"; lengths are on the scale of 0-255: write {found[1]}" if found else ""


def _is_utf8(argument: str) -> bool:
    """Whether it was: Python keeps other bytes of the command line as surrogates, which TensorFlow cannot open."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _behind_name(argument: str) -> str:
    name, equals, path = argument.partition("=")
    return name + equals + os.path.expanduser(path)


# The home folder for `~`, which a shell leaves behind a flag's `=`.
_EXPANDED = {
    Path: os.path.expanduser,
    list[Path]: lambda paths: [os.path.expanduser(path) for path in paths],
    dict[str, Path]: lambda arguments: [_behind_name(argument) for argument in arguments],
}


def _usage_error(message: str) -> int:
    print(f"error: {one_line(' '.join(message.split()))}", file=sys.stderr)
    return 2


class _NameParser(absl_flags.EnumParser):
    """Parses one of the allowed values of a flag; the error for another names the nearest."""

    def __init__(self, flag: Flag) -> None:
        super().__init__(flag.kind)
        self._name = flag.name

    def parse(self, argument: str) -> str:
        if argument not in self.enum_values:
            instead = names_instead(argument, self.enum_values).lstrip(":; ")
            raise ValueError(f"{instead} (--help={self._name} tells more)")
        return argument


class _NumbersParser(absl_flags.ArgumentParser):
    """Parses numbers separated by commas into a tuple of floats."""

    syntactic_help = "numbers separated by commas"

    def parse(self, argument: str | tuple[float, ...]) -> tuple[float, ...]:
        return tuple(float(number) for number in argument.split(",")) if isinstance(argument, str) else argument


class _NumbersSerializer(absl_flags.ArgumentSerializer):
    """The inverse of `_NumbersParser`."""

    def serialize(self, value: tuple[float, ...]) -> str:
        return ",".join(f"{number:g}" for number in value)


def _define_numbers(name: str, default: tuple[float, ...] | None, text: str) -> None:
    absl_flags.DEFINE(_NumbersParser(), name, default, text, serializer=_NumbersSerializer())


_DEFINE = {
    str: absl_flags.DEFINE_string,
    int: absl_flags.DEFINE_integer,
    float: absl_flags.DEFINE_float,
    bool: absl_flags.DEFINE_bool,
    list[str]: absl_flags.DEFINE_list,
    dict[str, Path]: absl_flags.DEFINE_multi_string,
    Path: absl_flags.DEFINE_string,
    list[Path]: absl_flags.DEFINE_list,
    tuple[float, ...]: _define_numbers,
}


def _define(flag: Flag, default: Any) -> None:
    if isinstance(flag.kind, tuple):
        absl_flags.DEFINE(_NameParser(flag), flag.name, default, flag.help, serializer=absl_flags.ArgumentSerializer())
    else:
        _DEFINE[flag.kind](flag.name, default, flag.help)
    if flag.alias:
        absl_flags.DEFINE_alias(flag.alias, flag.name)


for _flag in FLAGS:
    _define(_flag, default=MODES[0] if _flag.name == "mode" else None)

"""The given command line, for reports."""

import re
import shlex
from pathlib import Path

from absl import flags as absl_flags

from flags.definitions import FLAGS
from flags.flag import Flag


def given_flags(values: absl_flags.FlagValues) -> list[Flag]:
    """The flags on the command line, in their order of definition, without those of absl."""
    return [flag for flag in FLAGS if values[flag.name].present]


def remote_paths(values: absl_flags.FlagValues) -> list[tuple[str, str]]:
    """(name of the flag, path) of the given paths that are not local."""
    paths_of = {
        Path: lambda path: [path],
        list[Path]: list,
        dict[str, Path]: lambda arguments: [argument.partition("=")[2] for argument in arguments],
    }
    paths = [
        (flag.name, path)
        for flag in given_flags(values)
        if flag.kind in paths_of
        for path in paths_of[flag.kind](values[flag.name].value)
    ]
    return [(name, path) for name, path in paths if re.match(r"[a-z][a-z0-9]*://", path)]


def command_of(values: absl_flags.FlagValues) -> str:
    """The command line, with the flags in their order of definition."""
    # A flag that was given several times serializes to one line per value.
    given = (line for flag in given_flags(values) for line in values[flag.name].serialize().split("\n"))
    return " ".join(("python main.py", *map(shlex.quote, given)))

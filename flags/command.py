"""The given command line, for reports."""

import shlex

from absl import flags as absl_flags

from flags.definitions import FLAGS
from flags.flag import Flag


def given_flags(values: absl_flags.FlagValues) -> list[Flag]:
    """The flags on the command line, in their order of definition, without those of absl."""
    return [flag for flag in FLAGS if values[flag.name].present]


def command_of(values: absl_flags.FlagValues) -> str:
    """The command line, with the flags in their order of definition."""
    # A flag that was given several times serializes to one line per value.
    given = (line for flag in given_flags(values) for line in values[flag.name].serialize().split("\n"))
    return " ".join(("python main.py", *map(shlex.quote, given)))

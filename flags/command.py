"""The command line again, for reports."""

import shlex

from absl import flags as absl_flags

from flags.definitions import FLAGS
from flags.flag import Flag


def given_flags(values: absl_flags.FlagValues) -> list[Flag]:
    """The flags of this project on the command line, in their order of definition; not those of absl."""
    return [flag for flag in FLAGS if values[flag.name].present]


def command_of(values: absl_flags.FlagValues) -> str:
    """What was typed, with the flags in their order of definition."""
    # A flag that was given several times is serialized to a line for each.
    given = (line for flag in given_flags(values) for line in values[flag.name].serialize().split("\n"))
    return " ".join(("python main.py", *map(shlex.quote, given)))

"""The command line again, for reports."""

import shlex

from absl import flags as absl_flags


def own_flags(values: absl_flags.FlagValues) -> list[absl_flags.Flag]:
    """The flags of this project that were given; not those of absl."""
    return [flag for flag in values.flags_by_module_dict()["flags.definitions"] if values[flag.name].present]


def command_of(values: absl_flags.FlagValues) -> str:
    """What was typed, with the flags in their order of definition."""
    # A flag that was given several times is serialized to a line for each.
    given = (line for flag in own_flags(values) for line in values[flag.name].serialize().split("\n"))
    return " ".join(("python main.py", *map(shlex.quote, given)))

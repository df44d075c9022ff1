"""The command line, run in this process."""

from absl import flags as absl_flags

import flags
import main


def set_flags(*arguments: str) -> absl_flags.FlagValues:
    """The flags as this command line sets them, whatever was parsed before."""
    values = absl_flags.FLAGS
    values.unparse_flags()
    for flag in values.flags_by_module_dict()["flags.definitions"]:
        values[flag.name].unparse()
    flags.parse_flags(["main.py", *arguments])
    return values


def run_main(*arguments: str) -> None:
    """`python main.py` with these arguments."""
    set_flags(*arguments)
    main.main(["main.py"])

"""Parsing with errors of one line and exit code 2; absl's own are two lines and code 1."""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parse the command line, for `app.run(main, flags_parser=parse_flags)`.

    Returns:
        The program's name; any other word that is not a flag is an error.
    """
    try:
        positional = absl_flags.FLAGS(argv)
    except absl_flags.Error as error:
        sys.exit(_usage_error(str(error)))
    if len(positional) > 1:
        sys.exit(_usage_error(f"not a flag: {positional[1]}"))
    return positional


def _usage_error(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2

"""From flags to a comparison of evaluated networks."""

import dataclasses
import os

from absl import flags as absl_flags

from flags.command import command_of


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """What the command line of a comparison asks for.

    Attributes:
        runs: folders of runs or of evaluations.
        folder: for what is written.
        published: with the paper's numbers of the models compared.
        command: the command line, for the report.
    """

    runs: tuple[str, ...]
    folder: str
    published: bool
    command: str


def comparison_from_flags(values: absl_flags.FlagValues) -> ComparisonSettings:
    """Read the flags of `--mode=compare`, which `refuse_contradictions` has let pass."""
    folder = values.model_dir or os.path.join("runs", "comparison")
    return ComparisonSettings(tuple(values.compare), folder, bool(values.published), command_of(values))

"""The settings of a comparison of evaluated networks, from flags."""

import dataclasses
import os

from absl import flags as absl_flags

from flags.command import command_of


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """The settings of `--mode=compare`.

    Attributes:
        runs: folders of runs or of evaluations.
        folder: folder of the report.
        published: whether to add the paper's results of the compared models.
        command: the command line, for the report.
    """

    runs: tuple[str, ...]
    folder: str
    published: bool
    command: str


def comparison_from_flags(values: absl_flags.FlagValues) -> ComparisonSettings:
    """Read the flags of `--mode=compare`; `refuse_contradictions` has checked them."""
    folder = values.model_dir or os.path.join("runs", "comparison")
    return ComparisonSettings(tuple(values.compare), folder, bool(values.published), command_of(values))

"""Means over seeds, and differences between runs of the same seed."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from efficientnet_advprop.estimates import Estimate
from efficientnet_advprop.study.results import CellResult

# Accuracy through the main branch over that through the auxiliary one.
BRANCH_GAP = "main_over_auxiliary"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: of the row.
        runs: how many there are.
        values: by name of the accuracy, as fractions; `BRANCH_GAP` where there are two branches.
        differences: to the baseline's runs of the same seeds, by name of the accuracy; empty without such runs.
        cost: passes over those of the baseline; NaN without such runs.
        seconds: of training.
    """

    name: str
    runs: int
    values: dict[str, Estimate]
    differences: dict[str, Estimate]
    cost: float
    seconds: Estimate


def rows_of(results: Sequence[CellResult], baseline: str) -> list[Row]:
    """The rows of one model's runs, in their order.

    Args:
        results: of one model.
        baseline: the row that others are compared with.
    """
    by_row: dict[str, dict[int, CellResult]] = {}
    for result in results:
        by_row.setdefault(result.row, {})[result.seed] = result
    return [_row(name, runs, by_row.get(baseline, {})) for name, runs in by_row.items()]


def _row(name: str, runs: Mapping[int, CellResult], baseline: Mapping[int, CellResult]) -> Row:
    """One row of runs by seed."""
    values = [_with_gap(run.values) for run in runs.values()]
    pairs = [(run, baseline[seed]) for seed, run in runs.items() if seed in baseline]
    shared = [value for value in values[0] if pairs and value in pairs[0][1].values]
    return Row(
        name,
        len(runs),
        {value: Estimate.of([of_run[value] for of_run in values]) for value in values[0]},
        {value: Estimate.of([run.values[value] - other.values[value] for run, other in pairs]) for value in shared},
        statistics.fmean(run.passes / other.passes for run, other in pairs) if pairs else math.nan,
        Estimate.of([run.seconds for run in runs.values()]),
    )


def _with_gap(values: Mapping[str, float]) -> dict[str, float]:
    if "top1_auxiliary" not in values:
        return dict(values)
    return {**values, BRANCH_GAP: values["top1_main"] - values["top1_auxiliary"]}

"""Means over seeds, and differences between runs of the same seed."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

import scipy.stats

from efficientnet_advprop.evaluation.estimates import Estimate
from efficientnet_advprop.evaluation.study_results import CellResult

# Accuracy through the main branch over that through the auxiliary one.
BRANCH_GAP = "main_over_auxiliary"
# Of the t-tests that say whether a mean over seeds is told apart from 0.
SIGNIFICANCE = 0.05
_SAME = 1e-9  # differences between shares that differ by rounding alone


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: of the row.
        runs: how many there are.
        values: by name of the accuracy, as fractions; `BRANCH_GAP` where there are two branches.
        differences: to the baseline's runs of the same seeds, by name of the accuracy; empty without such runs.
        told_apart: the names of the differences, and of the branch gap, that a t-test over the seeds tells from 0
            (two-sided, 5 %). Equal differences alone, with a spread of 0, prove nothing.
        cost: passes over those of the baseline; NaN without such runs.
        seconds: of training.
    """

    name: str
    runs: int
    values: dict[str, Estimate]
    differences: dict[str, Estimate]
    told_apart: frozenset[str]
    cost: float
    seconds: Estimate


def rows_of(results: Sequence[CellResult], baseline: str) -> list[Row]:
    """The rows of one model's runs, in their order; runs that diverged are in none.

    Args:
        results: of one model.
        baseline: the row that others are compared with.
    """
    by_row: dict[str, dict[int, CellResult]] = {}
    for result in results:
        runs = by_row.setdefault(result.row, {})
        if not result.diverged:
            runs[result.seed] = result
    return [_row(name, runs, by_row.get(baseline, {})) for name, runs in by_row.items() if runs]


def _row(name: str, runs: Mapping[int, CellResult], baseline: Mapping[int, CellResult]) -> Row:
    """One row of runs by seed."""
    of_runs = [_with_gap(run.values) for run in runs.values()]
    pairs = [(run, baseline[seed]) for seed, run in runs.items() if seed in baseline]
    values = {value: [of_run[value] for of_run in of_runs] for value in of_runs[0]}
    shared = [value for value in values if pairs and value in pairs[0][1].values]
    differences = {value: [run.values[value] - other.values[value] for run, other in pairs] for value in shared}
    around_zero = {**differences, **{value: found for value, found in values.items() if value == BRANCH_GAP}}
    return Row(
        name,
        len(runs),
        {value: Estimate.of(found) for value, found in values.items()},
        {value: Estimate.of(found) for value, found in differences.items()},
        frozenset(value for value, found in around_zero.items() if _is_not_zero(found)),
        statistics.fmean(run.passes / other.passes for run, other in pairs) if pairs else math.nan,
        Estimate.of([run.seconds for run in runs.values()]),
    )


def _is_not_zero(differences: Sequence[float]) -> bool:
    """Whether a t-test tells the mean of some differences from 0."""
    if max(differences) - min(differences) < _SAME:
        return False
    return bool(scipy.stats.ttest_1samp(differences, 0.0).pvalue < SIGNIFICANCE)


def _with_gap(values: Mapping[str, float]) -> dict[str, float]:
    if "top1_auxiliary" not in values:
        return dict(values)
    return {**values, BRANCH_GAP: values["top1_main"] - values["top1_auxiliary"]}

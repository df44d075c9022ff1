"""Means over runs with their standard errors, and differences with t-tests."""

import dataclasses
import math
import statistics
from collections.abc import Hashable, Mapping, Sequence

import scipy.stats

# Level of the two-sided t-tests.
SIGNIFICANCE = 0.05
_SAME = 1e-9  # fractions that differ by rounding alone


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over runs and its standard error; the error of a single run is unknown (NaN)."""

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """The mean of at least one value."""
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), error)


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between the runs of two rows.

    Attributes:
        estimate: of the difference.
        paired: True: the mean over pairs of runs with the same seed, and its standard error. False: the difference of
            the two means, with the standard error of independent runs.
        significant: whether it is significantly different from zero in a two-sided t-test at `SIGNIFICANCE`, over the
            pairs or Welch's. False without variance, where there is no test.
    """

    estimate: Estimate
    paired: bool
    significant: bool

    @classmethod
    def between(cls, ours: Mapping[Hashable, float], theirs: Mapping[Hashable, float]) -> "Difference":
        """The difference of values by seed; the seed None is unknown.

        Runs are paired if they share at least two seeds, or if both rows have the same single seed.
        """
        common = [seed for seed in ours if seed in theirs and seed is not None]
        if len(common) > 1 or (common and ours.keys() == theirs.keys()):
            pairs = [ours[seed] - theirs[seed] for seed in common]
            return cls(Estimate.of(pairs), paired=True, significant=is_not_zero(pairs))
        one, other = list(ours.values()), list(theirs.values())
        first, second = Estimate.of(one), Estimate.of(other)
        estimate = Estimate(first.mean - second.mean, math.hypot(first.standard_error, second.standard_error))
        significant = False
        if min(len(one), len(other)) > 1 and max(_spread(one), _spread(other)) > _SAME:
            significant = bool(scipy.stats.ttest_ind(one, other, equal_var=False).pvalue < SIGNIFICANCE)
        return cls(estimate, paired=False, significant=significant)


def is_not_zero(values: Sequence[float]) -> bool:
    """Whether the mean of values over seeds is significantly different from zero in a two-sided t-test."""
    if len(values) < 2 or _spread(values) < _SAME:  # runs that happen to agree prove nothing
        return False
    return bool(scipy.stats.ttest_1samp(values, 0.0).pvalue < SIGNIFICANCE)


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)

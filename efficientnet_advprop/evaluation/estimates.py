"""Means over runs, how sure they are, and how they differ."""

import dataclasses
import math
import statistics
from collections.abc import Hashable, Mapping, Sequence

import scipy.stats

# Of the two-sided t-tests that say whether a difference is significant.
SIGNIFICANCE = 0.05
_SAME = 1e-9  # fractions that differ by rounding alone


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over runs and its standard error; the error of a single run is unknown (NaN)."""

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """The mean of some values, one at least."""
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), error)


@dataclasses.dataclass(frozen=True)
class Difference:
    """By how much the runs of one row are above those of another.

    Attributes:
        estimate: of the difference.
        paired: whether it is the mean over pairs of runs with the same seed, with that mean's standard error; else it
            is between the two means, whose errors add up as those of independent runs.
        significant: whether a two-sided t-test at `SIGNIFICANCE` says that it is not zero: over the pairs, or Welch's.
            Where nothing varies there is no test.
    """

    estimate: Estimate
    paired: bool
    significant: bool

    @classmethod
    def between(cls, ours: Mapping[Hashable, float], theirs: Mapping[Hashable, float]) -> "Difference":
        """The difference of values by seed, None for an unknown one.

        Runs are paired where two seeds at least are common to both, or where both have the same one.
        """
        common = [seed for seed in ours if seed in theirs and seed is not None]
        if len(common) > 1 or (common and ours.keys() == theirs.keys()):
            pairs = [ours[seed] - theirs[seed] for seed in common]
            return cls(Estimate.of(pairs), paired=True, significant=is_not_zero(pairs))
        one, other = list(ours.values()), list(theirs.values())
        mine, its = Estimate.of(one), Estimate.of(other)
        estimate = Estimate(mine.mean - its.mean, math.hypot(mine.standard_error, its.standard_error))
        significant = False
        if min(len(one), len(other)) > 1 and max(_spread(one), _spread(other)) > _SAME:
            significant = bool(scipy.stats.ttest_ind(one, other, equal_var=False).pvalue < SIGNIFICANCE)
        return cls(estimate, paired=False, significant=significant)


def is_not_zero(values: Sequence[float]) -> bool:
    """Whether the mean of some values over seeds is significantly different from zero."""
    if len(values) < 2 or _spread(values) < _SAME:  # runs that happen to agree prove nothing
        return False
    return bool(scipy.stats.ttest_1samp(values, 0.0).pvalue < SIGNIFICANCE)


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)

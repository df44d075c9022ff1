"""Means over runs, and how sure they are."""

import dataclasses
import math
import statistics
from collections.abc import Sequence


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

    def unpaired_difference(self, other: "Estimate") -> "Estimate":
        """By how much this mean is above that of other, independent runs; unknown errors stay unknown."""
        return Estimate(self.mean - other.mean, math.hypot(self.standard_error, other.standard_error))

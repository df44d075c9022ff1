"""ImageNet-C's score: errors per corruption, over AlexNet's.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR
2019), and the README of hendrycks/robustness for AlexNet's errors. A corruption's error is the mean over five
severities; CE is that over AlexNet's, mCE the mean of the CEs of 15 corruptions. The four extra corruptions are for
choosing settings and never part of it. A mean over all 19 without AlexNet, as the repository's own test script prints,
is no mCE.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from efficientnet_advprop.evaluation.part_keys import MEAN, corruption_of
from efficientnet_advprop.evaluation.results import RunResults
from efficientnet_advprop.recipes import (
    BENCHMARKS,
    EXTRA,
    EXTRA_CORRUPTIONS,
    GROUPS,
    IMAGENET_C_CORRUPTIONS,
)

SEVERITIES = (1, 2, 3, 4, 5)
# The setting of passes over images corrupted on the fly that says which corruptions there are: ImageNet-C's fifteen, or
# their names.
CORRUPTIONS, ALL = "corruptions", "all"

# Top-1 errors of AlexNet, means over the severities: of the fifteen, then of the extra ones.
ALEXNET_ERRORS = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
    "speckle_noise": 0.845388,
    "gaussian_blur": 0.787108,
    "spatter": 0.717512,
    "saturate": 0.658248,
}
_GROUP_OF = {name: group for group, names in {**GROUPS, EXTRA: EXTRA_CORRUPTIONS}.items() for name in names}
# Where corruptions are made on the fly, images below this side get CIFAR-10-C's strengths: ImageNet-C's leave nothing
# of an image of 32 px.
CIFAR_STRENGTHS_BELOW_PX = 96


@dataclasses.dataclass(frozen=True)
class CorruptionError:
    """One corruption's row.

    Attributes:
        group: "noise", "blur", "weather", "digital" or "extra".
        name: of the corruption.
        errors: top-1 error by severity, for those that were measured.
        error: mean over the five severities; None where one is missing.
        ce: error over AlexNet's, a ratio (1 is AlexNet); None as `error`.
    """

    group: str
    name: str
    errors: dict[int, float]
    error: float | None
    ce: float | None


@dataclasses.dataclass(frozen=True)
class CorruptionScore:
    """All rows and what they come to.

    Attributes:
        rows: in ImageNet-C's order, its extra ones last; only corruptions of which something was measured.
        names: of the corruptions that the means are over.
        mean_error: plain mean error over these; None unless the mean error of each is known.
        mce: mean of their CEs; None likewise.
        extra_mean_error: plain mean error over the four extra corruptions, where the means leave these out; None
            likewise.
    """

    rows: tuple[CorruptionError, ...]
    names: tuple[str, ...]
    mean_error: float | None
    mce: float | None
    extra_mean_error: float | None

    def group_errors(self) -> dict[str, float]:
        """Plain mean error over the corruptions of each of the four groups that is whole."""
        means = {
            group: _mean([row.error for row in self.rows if row.group == group], len(names))
            for group, names in GROUPS.items()
        }
        return {group: mean for group, mean in means.items() if mean is not None}

    def missing(self) -> list[str]:
        """What the means lack, in words; empty if nothing."""
        rows = {row.name: row for row in self.rows}
        lacking = [name for name in self.names if name not in rows or rows[name].error is None]
        return [_lacking_in_words(name, rows.get(name)) for name in lacking]


def corruption_score(
    errors: Mapping[tuple[str, int | str], float], names: Sequence[str] = IMAGENET_C_CORRUPTIONS
) -> CorruptionScore:
    """The score of a set of corrupted images, whole or in part.

    The division comes after the mean over severities: the mean of the five ratios to AlexNet is another number.

    Args:
        errors: top-1 error by (corruption, severity); instead of the severities their `MEAN`, if nothing else is known.
        names: of the corruptions that the means are over.
    """
    measured = {corruption for corruption, _ in errors}
    rows = tuple(_row(name, errors) for name in ALEXNET_ERRORS if name in measured)
    scored = [row for row in rows if row.name in names]
    extra = [row for row in rows if row.name not in names]
    return CorruptionScore(
        rows,
        tuple(names),
        _mean([row.error for row in scored], len(names)),
        _mean([row.ce for row in scored], len(names)),
        _mean([row.error for row in extra], len(EXTRA_CORRUPTIONS)),
    )


def score_of(results: RunResults, benchmark: str, branch: str) -> CorruptionScore:
    """The score of an evaluation's corrupted images; where they were made on the fly, CE and mCE mean nothing.

    Args:
        results: of the run.
        benchmark: of corrupted images.
        branch: that they went through.
    """
    top1 = results.scores_of(benchmark, branch, "top1")
    chosen = next((part.settings.get(CORRUPTIONS) for part in results.parts_of(benchmark).values()), None)
    names = IMAGENET_C_CORRUPTIONS if chosen in (None, ALL) else tuple(chosen.split(", "))
    return corruption_score({corruption_of(key): 1 - fraction for key, fraction in top1.items()}, names)


def chosen_in_settings(names: Sequence[str]) -> dict[str, str]:
    """The setting that says which corruptions were made on the fly."""
    return {CORRUPTIONS: ALL if tuple(names) == IMAGENET_C_CORRUPTIONS else ", ".join(names)}


def incomplete_parts(results: RunResults, benchmark: str) -> list[str]:
    """Parts without all images of their set, of which a score is not the benchmark's; none of one's own images."""
    if BENCHMARKS[benchmark].takes_own_images:
        return []
    whole = BENCHMARKS[benchmark].num_images
    return [key for key, part in results.parts_of(benchmark).items() if part.images + part.bad_images != whole]


def _row(name: str, errors: Mapping[tuple[str, int | str], float]) -> CorruptionError:
    by_severity = {severity: errors[name, severity] for severity in SEVERITIES if (name, severity) in errors}
    error = errors.get((name, MEAN), _mean(list(by_severity.values()), len(SEVERITIES)))
    return CorruptionError(
        _GROUP_OF[name], name, by_severity, error, None if error is None else error / ALEXNET_ERRORS[name]
    )


def _lacking_in_words(name: str, row: CorruptionError | None) -> str:
    if row is None:
        return name
    return f"{name} at severity {', '.join(str(severity) for severity in SEVERITIES if severity not in row.errors)}"


def _mean(values: list[float | None], number: int) -> float | None:
    """The mean of so many values; None when one is missing."""
    if len(values) < number or None in values:
        return None
    return statistics.fmean(values)

"""ImageNet-C's score: errors per corruption, over AlexNet's.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR
2019), and the README of hendrycks/robustness for AlexNet's errors. A corruption's error is the mean over five
severities; CE is that over AlexNet's, mCE the mean of the CEs of 15 corruptions. The four extra corruptions are for
choosing settings and never part of it. A mean over all 19 without AlexNet, as the repository's own test script prints,
is no mCE.
"""

import dataclasses
import statistics
from collections.abc import Mapping

from efficientnet_advprop.evaluation.part_keys import corruption_of
from efficientnet_advprop.evaluation.results import EvaluationResults
from efficientnet_advprop.recipes import IMAGENET_IMAGES

SEVERITIES = (1, 2, 3, 4, 5)

# Names are those of the folders; top-1 errors of AlexNet, means over the severities.
ALEXNET_ERRORS = {
    "noise": {"gaussian_noise": 0.886428, "shot_noise": 0.894468, "impulse_noise": 0.922640},
    "blur": {"defocus_blur": 0.819880, "glass_blur": 0.826268, "motion_blur": 0.785948, "zoom_blur": 0.798360},
    "weather": {"snow": 0.866816, "frost": 0.826572, "fog": 0.819324, "brightness": 0.564592},
    "digital": {
        "contrast": 0.853204,
        "elastic_transform": 0.646056,
        "pixelate": 0.717840,
        "jpeg_compression": 0.606500,
    },
}
EXTRA_ALEXNET_ERRORS = {"speckle_noise": 0.845388, "gaussian_blur": 0.787108, "spatter": 0.717512, "saturate": 0.658248}
EXTRA = "extra"
GROUPS = {group: tuple(errors) for group, errors in ALEXNET_ERRORS.items()}
IMAGENET_C_CORRUPTIONS = tuple(name for names in GROUPS.values() for name in names)
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
        ce: error over AlexNet's, a share (1 is AlexNet); None as `error`.
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
        rows: in ImageNet-C's order, the extra ones last; only corruptions of which something was measured.
        mean_error: plain mean error over the 15 corruptions; None unless all five severities of all are there.
        mce: mean of their CEs; None likewise.
        extra_mean_error: plain mean error over the four extra corruptions; None likewise.
    """

    rows: tuple[CorruptionError, ...]
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
        """What of the 15 corruptions was not measured, in words; empty if all of it was."""
        measured = {row.name: row.errors for row in self.rows}
        return [
            name if name not in measured else f"{name} at severity {', '.join(map(str, lacking))}"
            for name in IMAGENET_C_CORRUPTIONS
            if (lacking := [severity for severity in SEVERITIES if severity not in measured.get(name, {})])
        ]


def corruption_score(errors: Mapping[tuple[str, int], float]) -> CorruptionScore:
    """The score of a set of corrupted images, whole or in part.

    The division comes after the mean over severities: the mean of the five ratios to AlexNet is another number.

    Args:
        errors: top-1 error by (corruption, severity).
    """
    rows = tuple(
        _row(group, name, alexnet, errors)
        for group, members in (*ALEXNET_ERRORS.items(), (EXTRA, EXTRA_ALEXNET_ERRORS))
        for name, alexnet in members.items()
        if any(corruption == name for corruption, _ in errors)
    )
    scored = [row for row in rows if row.group != EXTRA]
    extra = [row for row in rows if row.group == EXTRA]
    return CorruptionScore(
        rows,
        _mean([row.error for row in scored], len(IMAGENET_C_CORRUPTIONS)),
        _mean([row.ce for row in scored], len(IMAGENET_C_CORRUPTIONS)),
        _mean([row.error for row in extra], len(EXTRA_ALEXNET_ERRORS)),
    )


def score_of(results: EvaluationResults, benchmark: str, branch: str) -> CorruptionScore:
    """The score of an evaluation's corrupted images.

    Args:
        results: of the evaluation.
        benchmark: "imagenet_c", or "corruptions", whose CE and mCE mean nothing.
        branch: that answered.
    """
    top1 = results.scores_of(benchmark, branch, "top1")
    return corruption_score({corruption_of(key): 1 - share for key, share in top1.items()})


def incomplete_parts(results: EvaluationResults) -> list[str]:
    """Parts of ImageNet-C without all of its images, of which a score is not the benchmark's."""
    parts = results.parts_of("imagenet_c")
    return [key for key, part in parts.items() if part.images + part.bad_images != IMAGENET_IMAGES]


def _row(group: str, name: str, alexnet: float, errors: Mapping[tuple[str, int], float]) -> CorruptionError:
    measured = {severity: errors[name, severity] for severity in SEVERITIES if (name, severity) in errors}
    error = _mean(list(measured.values()), len(SEVERITIES))
    return CorruptionError(group, name, measured, error, None if error is None else error / alexnet)


def _mean(values: list[float | None], number: int) -> float | None:
    """The mean of so many values; None when one is missing."""
    if len(values) < number or None in values:
        return None
    return statistics.fmean(values)

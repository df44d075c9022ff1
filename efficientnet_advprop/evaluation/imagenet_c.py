"""ImageNet-C's score: errors per corruption, over AlexNet's.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR
2019), and the README of hendrycks/robustness for AlexNet's errors. A corruption's error is the mean over five
severities. Its CE is this error divided by AlexNet's. mCE is the mean of the CEs of 15 corruptions. The four extra
corruptions are for choosing settings and not part of mCE. The repository's test script prints a mean over all 19
without AlexNet, which is not mCE.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from efficientnet_advprop.evaluation.part_keys import MEAN, SEVERITIES, corruption_of
from efficientnet_advprop.evaluation.results import RunResults
from efficientnet_advprop.recipes import (
    BENCHMARKS,
    EXTRA,
    EXTRA_CORRUPTIONS,
    GROUPS,
    IMAGENET_C_CORRUPTIONS,
)

# A setting of passes over images corrupted on the fly: their corruptions. `ALL` are ImageNet-C's fifteen; others are
# listed.
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
# Images with a side below this are corrupted with CIFAR-10-C's strengths: ImageNet-C's would leave nothing of an image
# of 32 px.
CIFAR_STRENGTHS_BELOW_PX = 96


@dataclasses.dataclass(frozen=True)
class CorruptionError:
    """One corruption's row.

    Attributes:
        group: "noise", "blur", "weather", "digital" or "extra".
        name: of the corruption.
        errors: top-1 error by severity, without missing severities.
        error: mean over the five severities; None if one is missing.
        ce: `error` divided by AlexNet's (AlexNet has 1); None if `error` is None.
    """

    group: str
    name: str
    errors: dict[int, float]
    error: float | None
    ce: float | None


@dataclasses.dataclass(frozen=True)
class CorruptionScore:
    """All corruptions and their means.

    Attributes:
        rows: of the measured corruptions, in ImageNet-C's order, the extra ones last.
        names: of the corruptions that the means include.
        mean_error: mean error over these; None unless the error of each is known.
        mce: mean of their CEs; None likewise.
        extra_mean_error: mean error over the four extra corruptions if they are not in `names`; None likewise.
    """

    rows: tuple[CorruptionError, ...]
    names: tuple[str, ...]
    mean_error: float | None
    mce: float | None
    extra_mean_error: float | None

    def group_errors(self) -> dict[str, float]:
        """Mean error over the corruptions of each complete group."""
        means = {
            group: _mean([row.error for row in self.rows if row.group == group], len(names))
            for group, names in GROUPS.items()
        }
        return {group: mean for group, mean in means.items() if mean is not None}

    def missing(self) -> list[str]:
        """Corruptions and severities that are missing from the means, in words; empty if none is."""
        rows, words = {row.name: row for row in self.rows}, []
        for name in self.names:
            if name not in rows:
                words.append(name)
            elif rows[name].error is None:
                missing = (str(severity) for severity in SEVERITIES if severity not in rows[name].errors)
                words.append(f"{name} at severity {', '.join(missing)}")
        return words


def corruption_score(
    errors: Mapping[tuple[str, int | str], float], names: Sequence[str] = IMAGENET_C_CORRUPTIONS
) -> CorruptionScore:
    """The score of a complete or partial set of corrupted images.

    Errors are averaged over severities before they are divided by AlexNet's: the mean of the five ratios differs.

    Args:
        errors: top-1 error by (corruption, severity), or by (corruption, `MEAN`) if only the mean is known.
        names: of the corruptions that the means include.
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
    """The score of a run on a benchmark of corrupted images; CE and mCE have no meaning for images made on the fly."""
    top1 = results.scores_of(benchmark, branch, "top1")
    chosen = next((part.settings.get(CORRUPTIONS) for part in results.parts_of(benchmark).values()), None)
    return corruption_score({corruption_of(key): 1 - fraction for key, fraction in top1.items()}, chosen_of(chosen))


def chosen_of(setting: str | None) -> tuple[str, ...]:
    """The corruptions that a setting of `chosen_in_settings` lists; None are ImageNet-C's."""
    return IMAGENET_C_CORRUPTIONS if setting in (None, ALL) else tuple(setting.split(", "))


def chosen_in_settings(names: Sequence[str]) -> dict[str, str]:
    """The setting that lists the corruptions made on the fly."""
    return {CORRUPTIONS: ALL if tuple(names) == IMAGENET_C_CORRUPTIONS else ", ".join(names)}


def incomplete_parts(results: RunResults, benchmark: str) -> list[str]:
    """Parts that do not include all images of their test set; empty for the network's own images."""
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


def _mean(values: list[float | None], number: int) -> float | None:
    """The mean of `number` values; None if one is missing."""
    if len(values) < number or None in values:
        return None
    return statistics.fmean(values)

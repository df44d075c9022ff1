"""What of an evaluation is compared with other networks': one number of each benchmark, and what it depends on."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from efficientnet_advprop.evaluation.attack_curve import attack_curves
from efficientnet_advprop.evaluation.imagenet_c import IMAGENET_C_CORRUPTIONS, score_of
from efficientnet_advprop.evaluation.part_keys import ATTACK_BENCHMARK, attack_of, benchmark_of, corruption_of
from efficientnet_advprop.evaluation.results import EvaluationResults, Part
from efficientnet_advprop.evaluation.settings import differences_in_words
from efficientnet_advprop.evaluation.titles import CORRUPTED, TITLES
from efficientnet_advprop.recipes import AUXILIARY_BRANCH, MAIN_BRANCH
from efficientnet_advprop.recipes.attack_spec import NORMS

# (part, branch, metric), in the order of tables. The auxiliary branch is about clean images alone.
_PLAIN = (
    ("clean", MAIN_BRANCH, "top1"),
    ("clean", AUXILIARY_BRANCH, "top1"),
    ("imagenet", MAIN_BRANCH, "top1"),
    ("imagenet", AUXILIARY_BRANCH, "top1"),
    ("imagenet_v2", MAIN_BRANCH, "top1"),
    ("imagenet_a", MAIN_BRANCH, "top1_of_200"),
    ("imagenet_a", MAIN_BRANCH, "top1"),
    ("imagenet_r", MAIN_BRANCH, "top1_of_200"),
    ("imagenet_r", MAIN_BRANCH, "top1"),
    ("imagenet_sketch", MAIN_BRANCH, "top1"),
    ("stylized", MAIN_BRANCH, "top1"),
)
_OF_CORRUPTED = {"imagenet_c": ("mce", "mean_error"), "corruptions": ("mean_error",)}
_METRICS = {"top1_of_200": "200-way", "top1": None, "mce": "mCE", "mean_error": "mean error"}
# How a network wants its images, and what a run's random numbers start from, make no other task.
_OF_THE_RUN = ("input_image_size", "eval_crop", "interpolation", "seed")


@dataclasses.dataclass(frozen=True)
class Column:
    """A number that networks are compared by.

    Attributes:
        part: a part's name, or the benchmark's where it takes all of its parts.
        branch: that answered.
        metric: "top1", "top1_of_200", "mce" or "mean_error", all of them shares.
    """

    part: str
    branch: str
    metric: str

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"{self.part}/{self.branch}/{self.metric}"

    @property
    def title(self) -> str:
        """Its name in tables."""
        benchmark = benchmark_of(self.part)
        words = [TITLES[benchmark]]
        if self.strength:
            norm, epsilon_px = self.strength
            words = [f"{TITLES[benchmark]} {norm}, epsilon {epsilon_px:g} px"]
        if self.branch != MAIN_BRANCH:
            words.append(f"{self.branch} branch")
        if self.metric == "top1" and benchmark in ("imagenet_a", "imagenet_r"):
            words.append("1000-way")
        return ", ".join([*words, *filter(None, [_METRICS[self.metric]])])

    @property
    def lower_is_better(self) -> bool:
        """Whether it is an error."""
        return self.metric in ("mce", "mean_error")

    @property
    def place(self) -> tuple[Any, ...]:
        """What sorts columns: benchmarks, strengths, main branch first, headline first."""
        benchmark = benchmark_of(self.part)
        norm, epsilon = self.strength or (NORMS[0], 0.0)
        order = (list(TITLES).index(benchmark), NORMS.index(norm), epsilon)
        return (*order, self.branch != MAIN_BRANCH, list(_METRICS).index(self.metric))

    @property
    def strength(self) -> tuple[str, float] | None:
        """Norm and epsilon in pixels of an attack; None of anything else."""
        return attack_of(self.part)[:2] if benchmark_of(self.part) == ATTACK_BENCHMARK else None


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A number, and the settings that it shares with all that it may be compared with, by part and name."""

    value: float
    settings: dict[str, dict[str, Any]]

    def differences(self, other: "Measurement") -> list[str]:
        """Settings that are not the other's, in words; empty when the two numbers are about the same thing."""
        found: dict[str, str] = {}
        for part in self.settings | other.settings:
            found = differences_in_words(self.settings.get(part, {}), other.settings.get(part, {})) | found
        return list(found.values())


def measurements(results: EvaluationResults) -> tuple[dict[Column, Measurement], list[str]]:
    """All numbers of an evaluation that can be compared, and what keeps others from it."""
    found, notes = {}, []
    for part, branch, metric in _PLAIN:
        share = results.parts[part].scores.get(branch, {}).get(metric) if part in results.parts else None
        if share is not None:
            found[Column(part, branch, metric)] = _measurement(results, share, {part: results.parts[part]})
    for benchmark in CORRUPTED:
        parts = results.parts_of(benchmark)
        score = score_of(results, benchmark, MAIN_BRANCH)
        if score.missing():
            if parts:
                notes.append(f"{TITLES[benchmark]} is partial, without {'; '.join(score.missing())}: not compared")
            continue
        parts = {key: part for key, part in parts.items() if corruption_of(key)[0] in IMAGENET_C_CORRUPTIONS}
        for metric in _OF_CORRUPTED[benchmark]:
            found[Column(benchmark, MAIN_BRANCH, metric)] = _measurement(results, getattr(score, metric), parts)
    for points in attack_curves(results).values():
        for point in points:
            if point.branch != MAIN_BRANCH:
                notes.append(f"{point.key} went through the {point.branch} branch: it is not compared")
            elif point.pgd is not None:
                parts = {point.key: results.parts[point.key]}
                found[Column(point.key, MAIN_BRANCH, "top1")] = _measurement(results, point.pgd, parts)
    return found, notes


def _measurement(results: EvaluationResults, value: float, parts: Mapping[str, Part]) -> Measurement:
    """A number with all that has to be equal in another one."""
    names = results.evaluated.class_names
    common = {
        "number of classes": len(names),
        "names of classes": hashlib.sha256("\n".join(names).encode()).hexdigest()[:8],
    }
    return Measurement(
        value,
        {
            key: {
                **{name: setting for name, setting in part.settings.items() if not _is_the_runs(key, name)},
                "images counted": part.images,
                **common,
            }
            for key, part in parts.items()
        },
    )


def _is_the_runs(key: str, setting: str) -> bool:
    """Whether a setting may differ between runs.

    Where the network's own input is changed, its size is the task's: corruptions have strengths in pixels of it, and an
    L2 ball of one radius is weaker the more pixels there are.
    """
    benchmark = benchmark_of(key)
    sized = benchmark == "corruptions" or (benchmark == ATTACK_BENCHMARK and attack_of(key)[0] == "l2")
    return setting in _OF_THE_RUN and not (sized and setting == "input_image_size")

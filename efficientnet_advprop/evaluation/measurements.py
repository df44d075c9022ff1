"""The numbers of a run that can be compared with other runs, and the settings that each depends on."""

import dataclasses
import hashlib
import statistics
from collections.abc import Mapping
from typing import Any

from efficientnet_advprop.evaluation.imagenet_c import CORRUPTIONS, score_of
from efficientnet_advprop.evaluation.part_keys import attack_of, corruption_of
from efficientnet_advprop.evaluation.results import Part, RunResults
from efficientnet_advprop.recipes import (
    ATTACKED,
    AUXILIARY_BRANCH,
    BENCHMARKS,
    CORRUPTED,
    MADE_CORRUPTIONS,
    MAIN_BRANCH,
    Benchmark,
    benchmark_of,
)
from efficientnet_advprop.recipes.attack_spec import NORMS

# Metric: top-1 of the main branch minus top-1 of the auxiliary one.
BRANCH_GAP = "main_over_auxiliary"
_ERRORS = {"mce": "mCE", "mean_error": "mean error"}
# Settings that may differ between compared runs: how a network takes its images, and the seed.
_OF_THE_RUN = ("input_image_size", "eval_crop", "interpolation", "seed")

Found = dict["Column", "Measurement"]


@dataclasses.dataclass(frozen=True)
class Column:
    """A number by which networks are compared.

    Attributes:
        part: key of a part; the benchmark's name for a number over all of its parts, BENCHMARK/CORRUPTION for a mean
            over the severities.
        branch: of the network.
        metric: "top1", "top1_of_N", "mce", "mean_error" or `BRANCH_GAP`, all of them fractions.
    """

    part: str
    branch: str
    metric: str

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"{self.part}/{self.branch}/{self.metric}"

    @property
    def benchmark(self) -> Benchmark:
        """Its benchmark."""
        return benchmark_of(self.part)

    @property
    def title(self) -> str:
        """Its name in tables."""
        benchmark, words = self.benchmark, [self.benchmark.title]
        if self.strength:
            words = [f"{benchmark.title} {self.strength[0]}, epsilon {self.strength[1]:g} px"]
        if self.corruption:
            words.append(self.corruption.replace("_", " "))
        if self.branch != MAIN_BRANCH:
            words.append(f"{self.branch} branch")
        if self.is_gap:
            words.append("main over auxiliary branch")
        if benchmark.classes:
            words.append("1000-way" if self.metric == "top1" else f"{len(benchmark.classes)}-way")
        return ", ".join([*words, *filter(None, [_ERRORS.get(self.metric)])])

    @property
    def lower_is_better(self) -> bool:
        """Whether it is an error rate."""
        return self.metric in _ERRORS

    @property
    def is_gap(self) -> bool:
        """Whether it is the difference between two branches of one network."""
        return self.metric == BRANCH_GAP

    @property
    def strength(self) -> tuple[str, float] | None:
        """Norm and epsilon in pixels of an attack; None without an attack."""
        return attack_of(self.part)[:2] if self.benchmark.kind == ATTACKED else None

    @property
    def corruption(self) -> str | None:
        """The single corruption; None for all of them and for other benchmarks."""
        return self.part.partition("/")[2] or None if self.benchmark.kind == CORRUPTED else None

    @property
    def place(self) -> tuple[Any, ...]:
        """Sort key: benchmark, corruption, strength, branch (main first), metric (headline first)."""
        norm, epsilon = self.strength or (NORMS[0], 0.0)
        corruption = -1 if self.corruption is None else MADE_CORRUPTIONS.index(self.corruption)
        order = (list(BENCHMARKS).index(self.benchmark.name), corruption, NORMS.index(norm), epsilon)
        metrics = (*self.benchmark.metrics, BRANCH_GAP)
        return (*order, self.benchmark.branches.index(self.branch), metrics.index(self.metric))


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A number, and its settings by part and name; numbers with other settings cannot be compared with it."""

    value: float
    settings: dict[str, dict[str, Any]]

    def differences(self, other: "Measurement") -> list[str]:
        """Settings that differ, in words; empty if the two numbers can be compared."""
        shared = [part for part in self.settings if part in other.settings]
        for parts in (shared, self.settings | other.settings):  # parts of one of them alone differ in every setting
            found: dict[str, str] = {}
            for part in parts:
                found = differences_in_words(self.settings.get(part, {}), other.settings.get(part, {})) | found
            if found:
                break
        return list(found.values())


def measurements(results: RunResults) -> tuple[Found, list[str]]:
    """All numbers of a run that can be compared, and notes on those that cannot."""
    found: Found = {}
    notes: list[str] = []
    for benchmark in BENCHMARKS.values():
        if results.parts_of(benchmark.name):
            if benchmark.kind == CORRUPTED:
                notes += _add_corrupted(found, results, benchmark)
            elif benchmark.kind == ATTACKED:
                notes += _add_attacked(found, results, benchmark)
            else:
                _add_plain(found, results, benchmark)
    return found, notes


def in_words(value: Any) -> str:
    """The value of a setting as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)


def differences_in_words(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, str]:
    """The settings that differ, by name, such as `images`: "images 1,000 against 50,000"."""
    found = {}
    for name in dict.fromkeys((*ours, *theirs)):
        mine, other = ours.get(name), theirs.get(name)
        if mine != other:
            found[name] = f"{name} {in_words(mine)} against {in_words(other)}"
    return found


def _add_plain(found: Found, results: RunResults, benchmark: Benchmark) -> None:
    """Of one pass: each metric of each branch, and the gap between main and auxiliary branch."""
    part = results.parts[benchmark.name]
    settings = _compared_settings(results, {benchmark.name: part})
    for branch in benchmark.branches:
        for metric in benchmark.metrics:
            if metric in part.scores.get(branch, {}):
                column = Column(benchmark.name, branch, metric)
                found[column] = Measurement(part.scores[branch][metric], settings)
    metric = benchmark.metrics[0]
    ours, theirs = (found.get(Column(benchmark.name, branch, metric)) for branch in (MAIN_BRANCH, AUXILIARY_BRANCH))
    if ours and theirs:
        gap = Column(benchmark.name, MAIN_BRANCH, BRANCH_GAP)
        found[gap] = Measurement(ours.value - theirs.value, settings)


def _add_corrupted(found: Found, results: RunResults, benchmark: Benchmark) -> list[str]:
    """Of corrupted images: the mean over the severities of each corruption, and the score over all corruptions."""
    name, parts = benchmark.name, results.parts_of(benchmark.name)
    score = score_of(results, name, MAIN_BRANCH)
    *_, metric = benchmark.metrics  # the one that a single corruption has too
    top1 = []  # not 1 - error, which rounds otherwise
    for row in (row for row in score.rows if row.name in score.names and row.error is not None):
        own = {key: part for key, part in parts.items() if corruption_of(key)[0] == row.name}
        top1.append(statistics.fmean(part.scores[MAIN_BRANCH]["top1"] for part in own.values()))
        settings = _compared_settings(results, own, without=CORRUPTIONS)  # the others matter only for the mean
        value = row.error if metric == "mean_error" else top1[-1]
        found[Column(f"{name}/{row.name}", MAIN_BRANCH, metric)] = Measurement(value, settings)
    if score.missing():
        return [f"{benchmark.title} is partial, without {'; '.join(score.missing())}: not compared"]
    own = {key: part for key, part in parts.items() if corruption_of(key)[0] in score.names}
    values = {"mce": score.mce, "mean_error": score.mean_error, "top1": statistics.fmean(top1)}
    for metric in benchmark.metrics:
        found[Column(name, MAIN_BRANCH, metric)] = Measurement(values[metric], _compared_settings(results, own))
    return []


def _add_attacked(found: Found, results: RunResults, benchmark: Benchmark) -> list[str]:
    """Of attacks: top-1 of the main branch at each strength."""
    notes = []
    for key, part in results.parts_of(benchmark.name).items():
        *_, branch = attack_of(key)
        if branch != MAIN_BRANCH:
            notes.append(f"{key} went through the {branch} branch: it is not compared")
        elif benchmark.name in part.scores:
            settings = _compared_settings(results, {key: part})
            found[Column(key, MAIN_BRANCH, "top1")] = Measurement(part.scores[benchmark.name]["top1"], settings)
    return notes


def _compared_settings(
    results: RunResults, parts: Mapping[str, Part], without: str | None = None
) -> dict[str, dict[str, Any]]:
    """The settings that have to be equal in a number to compare with, by part and name."""
    common: dict[str, Any] = {}
    if names := results.evaluated.class_names:
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
        common = {"number of classes": len(names), "names of classes": digest}
    compared: dict[str, dict[str, list[Any]]] = {}
    for key, part in parts.items():
        settings = {name: value for name, value in part.settings.items() if not _may_differ(key, name)}
        settings.pop(without, None)
        # The severities of a corruption together: older versions kept only their mean.
        about = "/".join(key.split("/")[:2]) if benchmark_of(key).kind == CORRUPTED else key
        for name, value in {**settings, "images counted": part.images, **common}.items():
            values = compared.setdefault(about, {}).setdefault(name, [])
            values += [] if value in values else [value]
    return {
        about: {name: values[0] if len(values) == 1 else values for name, values in by_name.items()}
        for about, by_name in compared.items()
    }


def _may_differ(key: str, setting: str) -> bool:
    """Whether a setting may differ between compared runs.

    The input size may not where it decides how hard the task is: corruptions made on the fly have strengths in pixels
    of the input, and an L2 ball of one radius is weaker in an image of more pixels.
    """
    benchmark = benchmark_of(key)
    sized = benchmark.is_made_on_the_fly or (benchmark.kind == ATTACKED and attack_of(key)[0] == "l2")
    return setting in _OF_THE_RUN and not (sized and setting == "input_image_size")

"""Evaluations on benchmarks as tables."""

import statistics
from collections.abc import Iterable, Sequence

from efficientnet_advprop.evaluation import (
    CLEAN_IMAGES,
    SEVERITIES,
    AttackPoint,
    CorruptionScore,
    Part,
    RunResults,
    attack_curves,
    corruption_key,
    incomplete_parts,
    masked_gradient_warnings,
    most_frequent_confusions,
    score_of,
)
from efficientnet_advprop.recipes import (
    ATTACKED,
    AUXILIARY_BRANCH,
    BENCHMARKS,
    CORRUPTED,
    MAIN_BRANCH,
    Benchmark,
    benchmark_of,
)
from efficientnet_advprop.reporting.attacked_benchmarks import ATTACKED_BENCHMARKS, KIND_TITLES
from efficientnet_advprop.reporting.markdown import MARKDOWN, PLAIN, percent, table

_CONFUSIONS_SHOWN = 10
_RESIZES = {
    "model": "The images of 224 px were resized to the network's input of {size} px (`resize`: model).",
    "native": "The network ran on the images at their own 224 px, whatever its input size (`resize`: native).",
}


def evaluation_table(results: RunResults) -> str:
    """What an evaluation prints at its end: every benchmark through every branch, notes and warnings."""
    notes = [
        f"{benchmark.title}: {note}"
        for benchmark in measured_benchmarks(results)
        for note in about_resizing(results, benchmark)
    ]
    warnings = (f"warning: {warning}" for warning in masked_gradient_warnings(results))
    return "\n".join([benchmark_table(results, PLAIN), *notes, *warnings])


def benchmark_table(results: RunResults, style: str = MARKDOWN) -> str:
    """A line for each benchmark and branch; for attacks one for each strength."""
    rows = []
    for benchmark in measured_benchmarks(results):
        if benchmark.kind == CORRUPTED:
            for branch, score in scores_by_branch(results, benchmark).items():
                rows.append(_corrupted_row(results, benchmark, branch, score))
        elif benchmark.kind == ATTACKED:
            curves = attack_curves(results, benchmark.name)
            rows += [_attacked_row(benchmark, point) for points in curves.values() for point in points]
        else:
            rows += _plain_rows(benchmark, results.parts[benchmark.name])
    return table([list(row.values()) for row in rows], list(rows[0]), style)


def measured_benchmarks(results: RunResults) -> list[Benchmark]:
    """The benchmarks with results, in the order of reports."""
    return [benchmark for benchmark in BENCHMARKS.values() if results.parts_of(benchmark.name)]


def scores_by_branch(results: RunResults, benchmark: Benchmark) -> dict[str, CorruptionScore]:
    """The score of a benchmark of corrupted images through each branch, the main one first."""
    branches = main_first(branch for part in results.parts_of(benchmark.name).values() for branch in part.scores)
    return {branch: score_of(results, benchmark.name, branch) for branch in branches}


def main_first(branches: Iterable[str]) -> list[str]:
    """The distinct branches: main, auxiliary, then the others in their order."""
    known = (MAIN_BRANCH, AUXILIARY_BRANCH)
    return sorted(dict.fromkeys(branches), key=lambda branch: known.index(branch) if branch in known else len(known))


def about_resizing(results: RunResults, benchmark: Benchmark) -> list[str]:
    """How images of a fixed size were resized for the network, where `resize` is a setting."""
    chosen = {
        (part.settings["resize"], input_size(results, part))
        for part in results.parts_of(benchmark.name).values()
        if "resize" in part.settings
    }
    return [_RESIZES[resize].format(size=size) for resize, size in sorted(chosen) if resize in _RESIZES]


def input_size(results: RunResults, part: Part) -> int:
    """Side of the network's input in this pass, in pixels."""
    return part.settings.get("input_image_size", results.evaluated.input_image_size)


def corruption_table(score: CorruptionScore, extra: bool, normalized: bool) -> str:
    """Errors of single corruptions in percent, by severity.

    Args:
        score: of all of them.
        extra: only the corruptions that the score leaves out, instead of those that it includes.
        normalized: with the error over AlexNet's (CE), which is defined for ImageNet-C only.
    """
    rows = [
        (
            row.group,
            row.name,
            *(percent(row.errors.get(severity)) for severity in SEVERITIES),
            percent(row.error),
            percent(row.ce) if normalized else "",
        )
        for row in score.rows
        if (row.name not in score.names) == extra
    ]
    severities = (f"severity {severity}" for severity in SEVERITIES)
    return table(rows, ("group", "corruption", *severities, "mean error, %", "CE, %")) if rows else ""


def group_table(score: CorruptionScore) -> str:
    """Mean error of each complete group; empty if there is none."""
    rows = [(group, percent(error)) for group, error in score.group_errors().items()]
    return table(rows, ("group", "mean error, %")) if rows else ""


def attack_table(points: Sequence[AttackPoint]) -> str:
    """Top-1 in percent and loss under the attacks of one curve: a column for each epsilon."""
    kinds = ATTACKED_BENCHMARKS[benchmark_of(points[0].key).name].kinds
    rows = [
        (f"{KIND_TITLES[kind]}, top-1 %", *(percent(point.top1(kind)) for point in points))
        for kind in (CLEAN_IMAGES, *kinds)
    ]
    for kind, (title, _) in kinds.items():
        losses = [point.part.scores.get(kind, {}).get("loss") for point in points]
        if losses != [None] * len(points):
            rows.append((f"{title}, loss", *("" if loss is None else f"{loss:.4f}" for loss in losses)))
    return table(rows, ("", *(f"epsilon {point.epsilon_px:g} px" for point in points)))


def confusion_table(parts: Iterable[Part], by: str) -> str:
    """The most frequent confusions; empty where none was kept.

    Args:
        parts: whose confusions are counted together.
        by: header of the first column, "branch" or "images".
    """
    confusions = most_frequent_confusions(parts, _CONFUSIONS_SHOWN)
    rows = [
        (KIND_TITLES.get(name, name), true, taken_for, f"{times:,}")
        for name in main_first(confusions)
        for true, taken_for, times in confusions[name]
    ]
    return table(rows, (by, "class", "taken for", "times")) if rows else ""


def _plain_rows(benchmark: Benchmark, part: Part) -> list[dict[str, str]]:
    """The branches of a benchmark of one pass; where it shows a subset of the classes, top-1 is among these."""
    rows = []
    for branch in main_first(part.scores):
        scores = part.scores[branch]
        title, headline, strict = benchmark.title, scores.get("top1"), None
        if benchmark.classes:
            number = len(benchmark.classes)
            title, headline, strict = f"{title}, {number}-way", scores.get(f"top1_of_{number}"), headline
        rows.append(_row(title, branch, [part], headline, scores.get("top5"), scores.get("loss"), strict=strict))
    return rows


def _corrupted_row(results: RunResults, benchmark: Benchmark, branch: str, score: CorruptionScore) -> dict[str, str]:
    """Means over corruptions and five severities, if none is missing."""
    missing, number = len(score.missing()), len(score.names)
    extent = f"partial ({number - missing} of {number})" if missing else f"mean of {number}"
    means = []
    for metric in ("top1", "top5", "loss"):
        values = results.scores_of(benchmark.name, branch, metric)
        keys = (corruption_key(benchmark.name, name, level) for name in score.names for level in SEVERITIES)
        wanted = [values.get(key) for key in keys]
        means.append(None if None in wanted else statistics.fmean(wanted))
    parts = list(results.parts_of(benchmark.name).values())
    if incomplete_parts(results, benchmark.name):
        extent += ", not all images"
    mce = score.mce if "mce" in benchmark.metrics else None
    return _row(f"{benchmark.title}, {extent}", branch, parts, *means, mce=mce)


def _attacked_row(benchmark: Benchmark, point: AttackPoint) -> dict[str, str]:
    title = f"{benchmark.title} {point.norm}, epsilon {point.epsilon_px:g} px"
    loss = point.part.scores.get(benchmark.name, {}).get("loss")
    return _row(title, point.branch, [point.part], point.top1(benchmark.name), None, loss)


def _row(
    title: str,
    branch: str,
    parts: Sequence[Part],
    top1: float | None,
    top5: float | None,
    loss: float | None,
    *,
    strict: float | None = None,
    mce: float | None = None,
) -> dict[str, str]:
    """A line of the summary, by its headers."""
    fewest, most = min(part.images for part in parts), max(part.images for part in parts)
    bad = sum(part.bad_images for part in parts)
    return {
        "in %": title,
        "branch": branch,
        "images": f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}",
        "bad images": f"{bad:,}" if bad else "",
        "top-1": percent(top1),
        "strict 1000-way top-1": percent(strict),
        "top-5": percent(top5),
        "loss": "" if loss is None else f"{loss:.4f}",
        "mCE": percent(mce),
        "one image": f"{100 / fewest:.2g}" if fewest else "",
    }

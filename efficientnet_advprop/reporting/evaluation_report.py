"""An evaluation on benchmarks as Markdown."""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from efficientnet_advprop.evaluation import (
    CIFAR_STRENGTHS_BELOW_PX,
    CORRUPTIONS,
    CorruptionScore,
    Evaluated,
    Part,
    RunResults,
    attack_curves,
    chosen_of,
    in_words,
    incomplete_parts,
    masked_gradient_warnings,
)
from efficientnet_advprop.recipes import ATTACKED, BENCHMARKS, CORRUPTED, Benchmark
from efficientnet_advprop.reporting.attacked_benchmarks import ATTACKED_BENCHMARKS
from efficientnet_advprop.reporting.evaluation_tables import (
    about_resizing,
    attack_table,
    benchmark_table,
    confusion_table,
    corruption_table,
    group_table,
    input_size,
    measured_benchmarks,
    scores_by_branch,
)
from efficientnet_advprop.reporting.markdown import bullets, percent, write_report

REPORT_FILE = "report.md"
_IMAGES = "images"  # header of confusions under attack, which are counted by kind of image
_MOST_PARTS_LISTED = 8
_OF_THE_RUN = ("seed", "input_image_size")


def write_evaluation_report(folder: str, results: RunResults, command: str, figures: Sequence[tuple[str, str]]) -> str:
    """Write the report of the finished benchmarks with the figures of `write_evaluation_figures`; returns its path."""
    parts = [
        f"# {results.evaluated.model} evaluated",
        _evaluated_in_words(results.evaluated),
        f"```\n{command}\n```",
        "Accuracies are in percent, `one image` is the weight of one image of a pass in points, loss the mean "
        "cross-entropy. A line of a benchmark with many passes is their mean.",
        benchmark_table(results),
        _about_subsets(results),
    ]
    for benchmark in measured_benchmarks(results):
        title = benchmark.title
        parts.append(f"## {title[0].upper()}{title[1:]}")
        parts.append(bullets(_settings_in_words(results.parts_of(benchmark.name))))
        parts += about_resizing(results, benchmark)
        if benchmark.kind == CORRUPTED:
            parts += _about_corruptions(results, benchmark)
        if benchmark.kind == ATTACKED:
            parts += _about_attacks(results, benchmark)
        else:
            parts += _about_confusions(results.parts_of(benchmark.name).values(), "branch")
    return write_report(os.path.join(folder, REPORT_FILE), parts, figures)


def _evaluated_in_words(evaluated: Evaluated) -> str:
    """What was evaluated, one value a line."""
    values = {
        "model": evaluated.model,
        "scheme": evaluated.scheme,
        "trained on": evaluated.dataset,
        "seed": evaluated.seed,
        "step": None if evaluated.step is None else f"{evaluated.step:,}",
        "weights": evaluated.weights,
        "input": f"{evaluated.input_image_size} px",
        "classes": f"{len(evaluated.class_names):,}",
        "recipe": evaluated.recipe,
    }
    return bullets([f"{name}: {'not known' if value is None else value}" for name, value in values.items()])


def benchmarks_in_words(runs: Mapping[str, RunResults]) -> list[str]:
    """What several runs were measured on, a line for each benchmark; a line for each kind of runs that differ.

    Seeds and the input's size are left out: they are the runs' own.

    Args:
        runs: by the names to use for those that differ.
    """
    lines = []
    for benchmark in BENCHMARKS.values():
        kinds: dict[str, list[str]] = {}
        for name, run in runs.items():
            if parts := run.parts_of(benchmark.name):
                passes = [_passes_in_words(parts)]
                kinds.setdefault("; ".join([*_settings(parts, without=_OF_THE_RUN), *passes]), []).append(name)
        for text, names in kinds.items():
            of = f" of {', '.join(names)}" if len(kinds) > 1 else ""
            lines.append(f"{benchmark.title}{of}: {text}.")
    return lines


def _settings_in_words(parts: Mapping[str, Part]) -> list[str]:
    """Settings of a benchmark's passes, and the time that these took."""
    seconds, lines = sum(part.seconds or 0 for part in parts.values()), _settings(parts)
    return [*lines, f"{_passes_in_words(parts)}, {seconds:,.0f} seconds"] if seconds else lines


def _passes_in_words(parts: Mapping[str, Part]) -> str:
    return "one pass" if len(parts) == 1 else f"{len(parts)} passes"


def _settings(parts: Mapping[str, Part], without: Collection[str] = ()) -> list[str]:
    """Settings of a benchmark's passes; values that differ are listed by pass if the passes are few."""
    lines = []
    names = dict.fromkeys(name for part in parts.values() for name in part.settings)
    for name in (name for name in names if name not in without):
        texts = {key: _in_words(name, part.settings[name]) for key, part in parts.items() if name in part.settings}
        distinct = list(dict.fromkeys(texts.values()))
        if len(distinct) == 1:
            lines.append(f"{name}: {distinct[0]}")
        elif len(texts) <= _MOST_PARTS_LISTED:
            lines += [f"{name}, {key.partition('/')[2]}: {text}" for key, text in texts.items()]
        else:
            lines.append(f"{name}: {len(distinct)} different, from {distinct[0]} to {distinct[-1]}")
    return lines


def _in_words(setting: str, value: Any) -> str:
    return ", ".join(chosen_of(value)) if setting == CORRUPTIONS else in_words(value)


def _about_subsets(results: RunResults) -> str:
    """How test sets of a subset of the classes are scored."""
    benchmarks = [benchmark for benchmark in measured_benchmarks(results) if benchmark.classes]
    return bullets(
        [
            f"{benchmark.title}: {len(benchmark.classes)} classes. Top-1 is the most likely class among these, as the "
            f"set's authors score ({len(benchmark.classes)}-way). Strict top-1, top-5 and loss are over all 1,000 "
            "classes."
            for benchmark in benchmarks
        ]
    )


def _about_corruptions(results: RunResults, benchmark: Benchmark) -> list[str]:
    """Tables and score of corrupted images through each branch."""
    normalized = "mce" in benchmark.metrics
    texts = [] if normalized else [_about_made_corruptions(results, benchmark)]
    if incomplete := incomplete_parts(results, benchmark.name):
        texts.append(
            f"**Not the whole set**: {len(incomplete)} of {len(results.parts_of(benchmark.name))} parts have other "
            f"than {benchmark.num_images:,} images. What is called mCE below cannot be compared with mCE elsewhere."
        )
    for branch, score in scores_by_branch(results, benchmark).items():
        texts += [
            f"### {benchmark.title}, {branch} branch",
            "Top-1 errors in percent; a corruption's mean error is over its five severities"
            + (", CE that over AlexNet's mean error." if normalized else "."),
            corruption_table(score, extra=False, normalized=normalized),
            _score_in_words(score, normalized),
            group_table(score),
        ]
        extra = corruption_table(score, extra=True, normalized=normalized)
        if extra:
            mean = score.extra_mean_error
            texts += [
                "The four extra corruptions, which are for choosing settings and not part of the means above"
                + ("." if mean is None else f"; mean error {percent(mean)} %."),
                extra,
            ]
    return texts


def _score_in_words(score: CorruptionScore, normalized: bool) -> str:
    """The mean error and mCE, or why there are none."""
    missing, number = score.missing(), len(score.names)
    if missing:
        nothing = "no mCE and no mean error" if normalized else "no mean error"
        lacking = "; ".join(missing)
        return f"Partial: not measured are {lacking}. Therefore there is {nothing} over the {number} corruptions."
    lines = [f"mean error: {percent(score.mean_error)} % (plain mean over the {number} corruptions)"]
    if normalized:
        lines.insert(0, f"**mCE: {percent(score.mce)} %** (mean of the {number} CEs; AlexNet is 100 %)")
    return bullets(lines)


def _about_made_corruptions(results: RunResults, benchmark: Benchmark) -> str:
    sizes = {input_size(results, part) for part in results.parts_of(benchmark.name).values()}
    strengths = {"CIFAR-10-C" if size < CIFAR_STRENGTHS_BELOW_PX else "ImageNet-C" for size in sizes}
    return (
        "Made on the fly from the evaluation images: this is NOT ImageNet-C, there is no CE, and no mean of it is an "
        f"mCE. Strengths: CIFAR-10-C's for images below {CIFAR_STRENGTHS_BELOW_PX} px, else ImageNet-C's; here "
        f"{' and '.join(f'{size} px' for size in sorted(sizes))}, {' and '.join(sorted(strengths))}'s."
    )


def _about_attacks(results: RunResults, benchmark: Benchmark) -> list[str]:
    """Tables of every curve; under PGD, warnings about masked gradients."""
    texts = [ATTACKED_BENCHMARKS[benchmark.name].words]
    for name, points in attack_curves(results, benchmark.name).items():
        parts = [point.part for point in points]
        texts += [f"### {name}", attack_table(points), *_about_confusions(parts, _IMAGES)]
    warnings = [] if benchmark.parameter_free else masked_gradient_warnings(results)
    return [*texts, bullets([f"**Warning** {warning}" for warning in warnings])]


def _about_confusions(parts: Collection[Part], by: str) -> list[str]:
    table = confusion_table(parts, by)
    if not table:
        return []
    sums = ""
    if len(parts) > 1:
        shared = " Confusions of clean images, which all passes share, count once." if by == _IMAGES else ""
        sums = f" Each pass keeps only its most frequent ones, so sums over passes are lower bounds.{shared}"
    return [f"The most frequent confusions.{sums}", table]

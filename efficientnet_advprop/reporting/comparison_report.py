"""A comparison of evaluated networks as Markdown."""

import os
from collections.abc import Sequence

from efficientnet_advprop.evaluation import Column, Comparison, Difference, Published, in_words, published_results
from efficientnet_advprop.reporting.markdown import (
    MARKDOWN,
    PLAIN,
    bullets,
    percent,
    table,
    with_captions,
    write_report,
)

REPORT_FILE = "comparison.md"
_UNPAIRED = " (u)"


def write_comparison_report(
    folder: str, comparison: Comparison, published: bool, command: str, figures: Sequence[tuple[str, str]]
) -> str:
    """Write the report; returns its path.

    Args:
        folder: of the comparison.
        comparison: of one row at least.
        published: with the paper's numbers of the models compared.
        command: what made it.
        figures: (path inside the folder, caption).
    """
    parts = [
        "# Networks compared",
        f"```\n{command}\n```",
        _networks_table(comparison),
        "## Results",
        "In percent, through the main branch unless it says otherwise; mCE and errors are better the lower they are. "
        "Behind ± is the standard error of a mean over runs with different seeds; a single run has none.",
        results_table(comparison, MARKDOWN),
        *_about_differences(comparison),
        *(["## What to know", bullets(comparison.notes)] if comparison.notes else []),
        *(_about_published(comparison) if published else []),
    ]
    return write_report(os.path.join(folder, REPORT_FILE), [*parts, *with_captions(figures)])


def comparison_in_words(comparison: Comparison) -> str:
    """What a comparison prints: results, differences and notes."""
    parts = [results_table(comparison, PLAIN), differences_table(comparison, PLAIN), "\n".join(comparison.notes)]
    return "\n\n".join(part for part in parts if part)


def results_table(comparison: Comparison, style: str) -> str:
    """Networks by benchmarks, in percent; `style` as `markdown.table` takes it."""
    rows = [(row.name, *(percent(row.values.get(column)) for column in comparison.columns)) for row in comparison.rows]
    return _networks_by_benchmarks("in %", rows, comparison.columns, style)


def differences_table(comparison: Comparison, style: str) -> str:
    """Points over the first network; empty where there is nothing to subtract."""
    first, *others = comparison.rows
    shown = [column for column in comparison.columns if any(column in row.differences for row in others)]
    if not shown:
        return ""
    rows = [(row.name, *(_in_points(row.differences.get(column)) for column in shown)) for row in others]
    return _networks_by_benchmarks(f"points over {first.name}", rows, shown, style)


def published_table(results: Sequence[Published]) -> str:
    """The paper's numbers, in percent."""
    rows = [
        (
            result.model,
            result.scheme,
            result.attack,
            *(percent(share) for share in (result.imagenet, result.mce, result.imagenet_a, result.stylized)),
            result.source,
        )
        for result in results
    ]
    headers = ("model", "scheme", "attack", "ImageNet top-1", "ImageNet-C mCE", "ImageNet-A", "Stylized-ImageNet")
    return table(rows, (*headers, "source"))


def _networks_table(comparison: Comparison) -> str:
    """What the rows are."""
    rows = [
        (
            row.name if place == 0 else "",
            run.folder,
            *_told(run.results.evaluated.dataset, run.results.evaluated.seed, run.results.evaluated.step),
            run.results.evaluated.weights,
            f"{run.results.evaluated.input_image_size} px",
        )
        for row in comparison.rows
        for place, run in enumerate(row.runs)
    ]
    return table(rows, ("network", "run", "trained on", "seed", "step", "weights", "input"))


def _told(*values: str | int | None) -> list[str]:
    return ["not known" if value is None else in_words(value) for value in values]


def _networks_by_benchmarks(corner: str, rows: Sequence[Sequence[str]], columns: Sequence[Column], style: str) -> str:
    """A line for each network; on terminals one for each benchmark, since there are many of these."""
    cells = [(corner, *(column.title for column in columns)), *rows]
    headers, *lines = zip(*cells, strict=True) if style == PLAIN else cells
    return table(lines, headers, style)


def _in_points(difference: Difference | None) -> str:
    if difference is None:
        return ""
    mark = "" if difference.paired else _UNPAIRED
    return f"{percent(difference.estimate, signed=True)}{mark}"


def _about_differences(comparison: Comparison) -> list[str]:
    """The second table, and how its standard errors came about."""
    differences = differences_table(comparison, MARKDOWN)
    if not differences:
        return []
    found = [difference for row in comparison.rows for difference in row.differences.values()]
    how = []
    if any(difference.paired for difference in found):
        how.append("Differences are paired: means, with their standard errors, over pairs of runs with the same seed.")
    if not all(difference.paired for difference in found):
        how.append(
            f"Those marked{_UNPAIRED} are unpaired, as the rows' seeds are not the same: between the two means, with "
            "sqrt(se1² + se2²) as standard error."
        )
    return ["## Differences", " ".join([f"Points over {comparison.rows[0].name}.", *how]), differences]


def _about_published(comparison: Comparison) -> list[str]:
    """The paper's numbers of the models that are compared."""
    results = published_results(comparison.models)
    without = [model for model in comparison.models if not published_results([model])]
    return [
        "## Published, not measured here",
        'From "Adversarial Examples Improve Image Recognition" (CVPR 2020, arXiv 1911.09665), in percent: trained on '
        "ImageNet for the paper, by its authors, with code that was not published. Only numbers that the source shows.",
        published_table(results) if results else "",
        bullets([f"{model}: nothing is published" for model in without]),
    ]

"""A comparison of runs as Markdown, and its tables, which reports of studies share."""

import os
from collections.abc import Sequence

from efficientnet_advprop.evaluation import (
    SIGNIFICANCE,
    Column,
    Comparison,
    Difference,
    in_words,
    published_results,
)
from efficientnet_advprop.reporting.evaluation_report import benchmarks_in_words
from efficientnet_advprop.reporting.markdown import (
    MARKDOWN,
    PLAIN,
    bullets,
    marked,
    percent,
    table,
    write_report,
)

REPORT_FILE = "comparison.md"
SIGNIFICANT = (
    "In bold: significantly different from zero in a two-sided t-test over the seeds "
    f"({100 * SIGNIFICANCE:g} %, without correction for multiple tests: one of twenty without an effect is bold)."
)
_UNPAIRED = " (u)"


def write_comparison_report(
    folder: str, comparison: Comparison, published: bool, command: str, figures: Sequence[tuple[str, str]]
) -> str:
    """Write the report with the figures of `write_comparison_figures`; returns its path.

    With `published` it contains the paper's numbers for the same models.
    """
    parts = [
        "# Networks compared",
        f"```\n{command}\n```",
        _networks_table(comparison),
        bullets(_measured(comparison)),
        "## Results",
        "In percent, through the main branch unless another one is named; lower mCE and errors are better. After ± is "
        "the standard error of a mean over runs with different seeds; a single run has none. "
        f"{SIGNIFICANT}",
        *results_tables(comparison),
        *(["## Differences", *differences] if (differences := differences_tables(comparison)) else []),
        *(["## Notes", bullets(comparison.notes)] if comparison.notes else []),
        *(_about_published(comparison) if published else []),
    ]
    return write_report(os.path.join(folder, REPORT_FILE), parts, figures)


def comparison_in_words(comparison: Comparison) -> str:
    """The comparison for a terminal: results, differences and notes."""
    tables = [*results_tables(comparison, PLAIN), *differences_tables(comparison, PLAIN)]
    lines = ["\n".join(of) for of in (_legend(comparison), comparison.notes) if of]
    return "\n\n".join([*tables, *lines])


def _legend(comparison: Comparison) -> list[str]:
    """The marks in tables on terminals that occur."""
    differences = [one for row in comparison.rows for one in row.differences.values()]
    legend = []
    if any(one.significant for one in differences) or any(row.significant for row in comparison.rows):
        legend.append(
            f"*: significantly different from zero (two-sided t-test over the seeds, {100 * SIGNIFICANCE:g} %)"
        )
    if not all(one.paired for one in differences):
        legend.append(f"{_UNPAIRED.strip()}: unpaired, of two means, as the rows have different seeds")
    return legend


def results_tables(comparison: Comparison, style: str = MARKDOWN) -> list[str]:
    """Tables of networks by benchmarks, by gaps between branches, and by single corruptions, in percent."""
    tables = []
    for title, columns in _column_groups(comparison.columns).items():
        rows = [
            (
                row.name,
                *(
                    marked(percent(row.values.get(column), signed=column.is_gap), column in row.significant, style)
                    for column in columns
                ),
            )
            for row in comparison.rows
            if any(column in row.values for column in columns)
        ]
        unit = "points" if columns[0].is_gap else "%"
        tables.append(_networks_by_benchmarks(f"{title}in {unit}", rows, columns, style))
    return tables


def differences_tables(comparison: Comparison, style: str = MARKDOWN) -> list[str]:
    """An explanation, then tables of points over the baseline; empty without differences."""
    found = [difference for row in comparison.rows for difference in row.differences.values()]
    if not found:
        return []
    how = []
    if any(difference.paired for difference in found):
        how.append("Differences are paired: means, with their standard errors, over pairs of runs with the same seed.")
    if not all(difference.paired for difference in found):
        how.append(
            f"Those marked{_UNPAIRED} are unpaired, as the rows have different seeds: of the two means, with "
            "sqrt(se1² + se2²) as standard error, and Welch's t-test."
        )
    tables = [" ".join([f"Points over {comparison.baseline}.", *how])] if style == MARKDOWN else []
    others = comparison.others
    for title, columns in _column_groups(comparison.columns).items():
        shown = [column for column in columns if any(column in row.differences for row in others)]
        rows = [(row.name, *(in_points(row.differences.get(column), style) for column in shown)) for row in others]
        if shown:
            tables.append(_networks_by_benchmarks(f"{title}points over {comparison.baseline}", rows, shown, style))
    return tables


def _networks_table(comparison: Comparison) -> str:
    """The runs of each row."""
    rows = []
    for row in comparison.rows:
        for place, run in enumerate(row.runs):
            evaluated = run.results.evaluated
            training = (evaluated.dataset, evaluated.seed, evaluated.step)
            words = ("not known" if value is None else in_words(value) for value in training)
            name, size = row.name if place == 0 else "", f"{evaluated.input_image_size} px"
            rows.append((name, run.folder, *words, evaluated.weights, size))
    return table(rows, ("network", "run", "trained on", "seed", "step", "weights", "input"))


def _measured(comparison: Comparison) -> list[str]:
    """What was measured, and over how many runs each row is a mean."""
    sizes = (f"{row.name}: {'one run' if len(row.runs) == 1 else f'{len(row.runs)} seeds'}" for row in comparison.rows)
    runs = {run.folder: run.results for row in comparison.rows for run in row.runs}
    return [*benchmarks_in_words(runs), f"Runs of each row: {'; '.join(sizes)}."] if runs else []


def _column_groups(columns: Sequence[Column]) -> dict[str, list[Column]]:
    """The columns of each table, by the beginning of the text in its corner."""
    groups: dict[str, list[Column]] = {"": []}
    for column in columns:
        name = f"{column.benchmark.title}, " if column.corruption else "main over auxiliary branch, "
        groups.setdefault(name if column.corruption or column.is_gap else "", []).append(column)
    return {title: group for title, group in groups.items() if group}


def _networks_by_benchmarks(corner: str, rows: Sequence[Sequence[str]], columns: Sequence[Column], style: str) -> str:
    """A row for each network; on terminals a row for each of the many benchmarks."""
    titles = (_header(column) for column in columns)
    cells = [(corner, *titles), *rows]
    headers, *lines = zip(*cells, strict=True) if style == PLAIN else cells
    return table(lines, headers, style)


def _header(column: Column) -> str:
    """A column's title without the text in its table's corner."""
    if column.corruption:
        return column.corruption.replace("_", " ")
    return column.benchmark.title if column.is_gap else column.title


def in_points(difference: Difference | None, style: str = MARKDOWN) -> str:
    """A difference in points, bold if significant and with a mark if unpaired; empty for None."""
    if difference is None:
        return ""
    mark = "" if difference.paired else _UNPAIRED
    return f"{marked(percent(difference.estimate, signed=True), difference.significant, style)}{mark}"


def _about_published(comparison: Comparison) -> list[str]:
    """The paper's numbers for the compared models."""
    results = published_results(comparison.models)
    rows = [
        (
            *(result.model, result.scheme, result.attack),
            *(percent(value) for value in (result.imagenet, result.mce, result.imagenet_a, result.stylized)),
            result.source,
        )
        for result in results
    ]
    headers = ("model", "scheme", "attack", "ImageNet top-1", "ImageNet-C mCE", "ImageNet-A", "Stylized-ImageNet")
    without = [model for model in comparison.models if model not in {result.model for result in results}]
    return [
        "## Published, not measured here",
        'From "Adversarial Examples Improve Image Recognition" (CVPR 2020, arXiv 1911.09665), in percent: trained on '
        "ImageNet for the paper, by its authors, with code that was not published. Only numbers that the source shows.",
        table(rows, (*headers, "source")) if rows else "",
        bullets([f"{model}: nothing is published" for model in without]),
    ]

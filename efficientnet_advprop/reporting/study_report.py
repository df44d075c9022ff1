"""A study as Markdown."""

import math
import os
from collections.abc import Sequence

from efficientnet_advprop.recipes import BASELINE, EQUAL_BUDGET, EVALUATION_ATTACK, MOST_CORRUPTED_IMAGES, Cell, Recipe
from efficientnet_advprop.reporting.markdown import bullets, percent, table, with_captions, write_report
from efficientnet_advprop.study import BRANCH_GAP, CellResult, Row, rows_of

_REPORT_FILE = "report.md"
_ACCURACIES = ("top1_main", "top1_auxiliary", "top1_augmented", "top1_pgd", "top1_corrupted")


def write_study_report(
    folder: str,
    cells: Sequence[Cell],
    results: Sequence[CellResult],
    command: str,
    figures: Sequence[tuple[str, str]],
) -> str:
    """Write the report of the runs finished so far; returns its path.

    Args:
        folder: of the study.
        cells: all of them.
        results: of the finished ones, one at least.
        command: what makes the study.
        figures: (path inside the folder, caption).
    """
    data = cells[0].recipe.data
    parts = [
        f"# Schemes compared on {data.dataset}",
        f"```\n{command}\n```",
        bullets(_notes(cells, results)),
    ]
    for model in dict.fromkeys(result.model for result in results):
        rows = rows_of([result for result in results if result.model == model], BASELINE)
        recipe = next(cell.recipe for cell in cells if cell.model == model and cell.row == BASELINE)
        parts.append(f"## {model}\n\n{_training_in_words(recipe)}")
        parts += [f"{caption}\n\n{numbers}" for caption, numbers in study_tables(rows)]
    return write_report(os.path.join(folder, _REPORT_FILE), [*parts, *with_captions(figures)])


def _notes(cells: Sequence[Cell], results: Sequence[CellResult]) -> list[str]:
    """What has to be known to read the tables."""
    data = cells[0].recipe.data
    corrupted = min(data.num_eval_images, MOST_CORRUPTED_IMAGES)
    notes = [
        f"{len(results)} of {len(cells)} runs are finished. Numbers are means over runs with different seeds, with "
        "the standard error behind ±; differences are between runs of the same seed.",
        f"Evaluated on {data.num_eval_images:,} pictures, of which one is {100 / data.num_eval_images:.2f} points, "
        "with the averaged weights of the last step.",
        f"`top1_pgd`: {EVALUATION_ATTACK.summary()}, through the main branch.",
        f"`top1_corrupted`: the mean over six corruptions and five severities on {corrupted:,} evenly spaced "
        "evaluation pictures, main branch. They are made on the fly: this is not ImageNet-C, and no mCE.",
        "`cost`: forward and backward passes in those of vanilla, an attack step counted as one; seconds are those of "
        "training on the clock, tracing included.",
    ]
    if any(cell.row == EQUAL_BUDGET for cell in cells):
        notes.append(f"`{EQUAL_BUDGET}`: trained longer, until it has made as many passes as the costliest AdvProp.")
    return notes


def _training_in_words(recipe: Recipe) -> str:
    """How long the rows of a model are trained, but for that of an equal budget."""
    epochs = recipe.total_steps / recipe.steps_per_epoch
    network = recipe.network
    return (
        f"{recipe.total_steps:,} steps of {recipe.train_batch_size} clean images ({epochs:.1f} epochs of "
        f"{recipe.data.num_train_images:,} pictures) at {network.input_image_size} px, width "
        f"{network.width_coefficient:g}, depth {network.depth_coefficient:g}."
    )


def study_tables(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(caption, Markdown table) of one model's rows: accuracies and costs, differences, single corruptions."""
    shown = [name for name in _ACCURACIES if any(name in row.values for row in rows)]
    single = [name for name in rows[0].values if name.startswith("top1_") and name not in shown]
    accuracies = [
        (
            row.name,
            row.runs,
            *(percent(row.values.get(name)) for name in shown),
            percent(row.values.get(BRANCH_GAP), signed=True),
            "" if math.isnan(row.cost) else f"{row.cost:.2f}",
            f"{row.seconds.mean:.0f}",
        )
        for row in rows
    ]
    differences = [(row.name, *(percent(row.differences.get(name), signed=True) for name in shown)) for row in rows]
    corruptions = [(row.name, *(percent(row.values.get(name)) for name in single)) for row in rows]
    headers = ("", "runs", *shown, "main over auxiliary", "cost", "seconds a run")
    tables = [
        ("Top-1 in percent.", table(accuracies, headers)),
        ("Points over vanilla, pairs of the same seed.", table(differences, ("", *shown))),
    ]
    if single:
        names = (name.removeprefix("top1_") for name in single)
        tables.append(("Each corruption, mean over its severities, in percent.", table(corruptions, ("", *names))))
    return tables

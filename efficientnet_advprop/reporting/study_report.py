"""A study as Markdown."""

import math
import os
from collections.abc import Mapping, Sequence

from efficientnet_advprop.evaluation import BRANCH_GAP, SIGNIFICANCE, CellResult, Row, kinds_not_observed, rows_of
from efficientnet_advprop.evaluation.estimates import Estimate
from efficientnet_advprop.recipes import (
    BASELINE,
    BUDGET_SCHEME,
    EVALUATION_ATTACK,
    MOST_CORRUPTED_IMAGES,
    Cell,
    Recipe,
    equal_budget_row,
)
from efficientnet_advprop.reporting.markdown import bullets, percent, table, with_captions, write_report

_REPORT_FILE = "report.md"
_ACCURACIES = ("top1_main", "top1_auxiliary", "top1_augmented", "top1_pgd", "top1_corrupted")
_MODELS_CAPTION = f"Top-1 of {BASELINE} on clean images, and points over it of the other rows, through the main branch."


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
        bullets(_notes(folder, cells, results)),
    ]
    models = list(dict.fromkeys(result.model for result in results))
    for model in models:
        tables = study_tables([result for result in results if result.model == model])
        recipe = next(cell.recipe for cell in cells if cell.model == model and cell.row == BASELINE)
        parts.append(f"## {model}\n\n{_training_in_words(recipe)}")
        parts += [f"{caption}\n\n{numbers}" for caption, numbers in tables]
    if len(models) > 1:
        parts.append(f"## Models beside each other\n\n{_MODELS_CAPTION}\n\n{models_table(results)}")
    return write_report(os.path.join(folder, _REPORT_FILE), [*parts, *with_captions(figures)])


def _notes(folder: str, cells: Sequence[Cell], results: Sequence[CellResult]) -> list[str]:
    """What has to be known to read the tables."""
    data = cells[0].recipe.data
    corrupted = min(data.num_eval_images, MOST_CORRUPTED_IMAGES)
    bad_images = max(result.bad_images for result in results)
    num_images = data.num_eval_images - bad_images
    notes = [
        f"{len(results)} of {len(cells)} runs are finished. Numbers are means over runs with different seeds, with "
        "the standard error behind ±; differences are between runs of the same seed. All seeds train and are evaluated "
        "on the same images: the error is that of initial weights, order, augmentation and attacks alone.",
        "In bold: differences that a t-test over the seeds tells from 0 (two-sided, "
        f"{100 * SIGNIFICANCE:g} %, each by itself: of twenty without an effect one is bold).",
        f"Evaluated on {num_images:,} images, of which one is {100 / num_images:.2f} points, "
        "with the averaged weights of the last step.",
        f"`top1_pgd`: {EVALUATION_ATTACK.summary()}, through the main branch.",
        f"`top1_corrupted`: the mean over six corruptions and five severities on {corrupted:,} evenly spaced "
        "evaluation images, main branch. They are made on the fly: this is not ImageNet-C, and no mCE.",
        "`cost`: forward and backward passes in those of vanilla, an attack step counted as one; seconds are those of "
        "training on the clock, tracing included.",
    ]
    like = {equal_budget_row(cell.recipe): cell.row for cell in cells if cell.recipe.scheme == BUDGET_SCHEME}
    notes += [f"`{row}`: vanilla at equal budget, as many passes as {other} makes." for row, other in like.items()]
    if bad_images:
        notes.append(f"{bad_images:,} evaluation images could not be read and are left out.")
    notes += [
        f"**Diverged**, in no table: {result.model}, {result.row}, seed {result.seed}: {result.diverged}."
        for result in results
        if result.diverged
    ]
    whole = {(result.model, result.row, result.seed) for result in results if not result.diverged}
    trained = [cell for cell in cells if (cell.model, cell.row, cell.recipe.seed) in whole]
    notes += [
        f"{model}, {scheme}: no gradients or running statistics are drawn, as `observations/` holds none of its runs."
        for model, scheme in kinds_not_observed(folder, trained)
    ]
    return notes


def _training_in_words(recipe: Recipe) -> str:
    """How long the rows of a model are trained, but for that of an equal budget."""
    epochs = recipe.total_steps / recipe.steps_per_epoch
    network = recipe.network
    return (
        f"{recipe.total_steps:,} steps of {recipe.train_batch_size} clean images ({epochs:.1f} epochs of "
        f"{recipe.data.num_train_images:,} images) at {network.input_image_size} px, width "
        f"{network.width_coefficient:g}, depth {network.depth_coefficient:g}."
    )


def study_tables(results: Sequence[CellResult]) -> list[tuple[str, str]]:
    """(caption, Markdown table) of one model's finished runs: accuracies and costs, differences, single corruptions."""
    rows = rows_of(results, BASELINE)
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row.values if name.startswith("top1_")))
    shown = [name for name in _ACCURACIES if name in names]
    single = [name for name in names if name not in shown]
    accuracies = [
        (
            row.name,
            row.runs,
            *(percent(row.values.get(name)) for name in shown),
            _difference(row, row.values, BRANCH_GAP),
            "" if math.isnan(row.cost) else f"{row.cost:.2f}",
            f"{row.seconds.mean:.0f}",
        )
        for row in rows
    ]
    headers = ("", "runs", *shown, "main over auxiliary", "cost", "seconds a run")
    compared = [BASELINE, *(row.name for row in rows if row.name.partition(", ")[0] == BUDGET_SCHEME)]
    tables = {"Top-1 in percent.": table(accuracies, headers)}
    for other in compared:
        differences = _differences(rows_of(results, other), other, shown)
        tables[f"Points over {other}, pairs of the same seed."] = differences
    tables["Each corruption, mean over its severities, in percent."] = _single_corruptions(rows, single)
    tables[f"Each corruption, points over {BASELINE}."] = _differences(rows, BASELINE, single)
    return [(caption, text) for caption, text in tables.items() if text]


def _single_corruptions(rows: Sequence[Row], names: Sequence[str]) -> str:
    cells = [(row.name, *(percent(row.values.get(name)) for name in names)) for row in rows]
    return table(cells, ("", *map(_short, names))) if names else ""


def _differences(rows: Sequence[Row], baseline: str, names: Sequence[str]) -> str:
    """The differences of all rows but the one that they are compared with; empty when there are none."""
    others = [row for row in rows if row.name != baseline]
    if not any(name in row.differences for row in others for name in names):
        return ""
    cells = [(row.name, *(_difference(row, row.differences, name) for name in names)) for row in others]
    return table(cells, ("", *map(_short, names)))


def _difference(row: Row, values: Mapping[str, Estimate], name: str) -> str:
    """A difference in points, in bold where the seeds tell it from 0."""
    text = percent(values.get(name), signed=True)
    return f"**{text}**" if name in row.told_apart else text


def _short(name: str) -> str:
    """An accuracy as a column is headed, a corruption by its name alone."""
    return name if name in _ACCURACIES else name.removeprefix("top1_")


def models_table(results: Sequence[CellResult]) -> str:
    """Points over each model's own vanilla on clean images, a line a model: what strength suits what capacity."""
    by_model: dict[str, dict[str, Row]] = {}
    for model in dict.fromkeys(result.model for result in results):
        rows = rows_of([result for result in results if result.model == model], BASELINE)
        by_model[model] = {row.name: row for row in rows}
    names = [name for name in dict.fromkeys(name for rows in by_model.values() for name in rows) if name != BASELINE]
    cells = [
        (
            model,
            percent(rows[BASELINE].values["top1_main"]) if BASELINE in rows else "",
            *(_difference(rows[name], rows[name].differences, "top1_main") if name in rows else "" for name in names),
        )
        for model, rows in by_model.items()
    ]
    return table(cells, ("", BASELINE, *names))

"""A study as Markdown: the standard comparison of its runs, model by model, and their cost."""

import os
import statistics
from collections.abc import Mapping, Sequence

from efficientnet_advprop.evaluation import (
    Column,
    Comparison,
    EvaluatedRun,
    RunResults,
    compare,
    kinds_not_observed,
)
from efficientnet_advprop.recipes import BASELINE, BUDGET_SCHEME, MAIN_BRANCH, Recipe, Trial, equal_budgets
from efficientnet_advprop.reporting.comparison_report import SIGNIFICANT, differences_tables, in_points, results_tables
from efficientnet_advprop.reporting.evaluation_report import benchmarks_in_words
from efficientnet_advprop.reporting.markdown import bullets, percent, table, write_report

_REPORT_FILE = "report.md"
_CLEAN = Column("clean", MAIN_BRANCH, "top1")
_MODELS_CAPTION = f"Top-1 of {BASELINE} on clean images, and points over it of the other rows, through the main branch."


def write_study_report(
    folder: str,
    trials: Sequence[Trial],
    runs: Mapping[str, RunResults],
    command: str,
    figures: Sequence[tuple[str, str]],
) -> str:
    """Write the report of at least one finished run with the figures of `write_study_figures`; returns its path."""
    parts = [
        f"# Schemes compared on {trials[0].recipe.data.dataset}",
        f"```\n{command}\n```",
        bullets(_notes(folder, trials, runs)),
    ]
    models = dict.fromkeys(run.evaluated.model for run in runs.values())
    by_model = {model: comparison_of(runs, model) for model in models}
    for model, comparison in by_model.items():
        recipe = next(trial.recipe for trial in trials if trial.model == model and trial.row == BASELINE)
        parts.append(f"## {model}\n\n{_training_in_words(recipe)}")
        if comparison.rows:
            compared = [row.name for row in comparison.rows if row.name.partition(", ")[0] == BUDGET_SCHEME]
            others = [comparison_of(runs, model, baseline) for baseline in compared]
            parts += [*results_tables(comparison), cost_table(comparison)]
            parts += [text for one in (comparison, *others) for text in differences_tables(one)]
        parts.append(bullets(comparison.notes))
    if len(by_model) > 1:
        parts.append(f"## Models compared\n\n{_MODELS_CAPTION}\n\n{models_table(by_model)}")
    return write_report(os.path.join(folder, _REPORT_FILE), parts, figures)


def comparison_of(runs: Mapping[str, RunResults], model: str, baseline: str = BASELINE) -> Comparison:
    """The comparison of one model's runs, by row, with one of the rows."""
    of_model = {key: run for key, run in runs.items() if run.evaluated.model == model}
    return compare([EvaluatedRun(key, run, run.training.row) for key, run in of_model.items()], baseline)


def cost_table(comparison: Comparison) -> str:
    """Of each row: the number of runs, the passes relative to the baseline's of the same seed, and the seconds."""
    trained = {row.name: {run.seed: run.results.training for run in row.runs} for row in comparison.rows}
    baseline = trained.get(BASELINE, {})
    rows = []
    for name, by_seed in trained.items():
        costs = [run.passes / baseline[seed].passes for seed, run in by_seed.items() if seed in baseline]
        seconds = statistics.fmean(run.seconds for run in by_seed.values())
        rows.append((name, len(by_seed), f"{statistics.fmean(costs):.2f}" if costs else "", f"{seconds:.0f}"))
    return table(rows, ("", "runs", "cost", "seconds a run"))


def models_table(by_model: Mapping[str, Comparison]) -> str:
    """Points over the same model's vanilla training on clean images: a line for each model."""
    names = list(dict.fromkeys(row.name for comparison in by_model.values() for row in comparison.others))
    cells = []
    for model, comparison in by_model.items():
        rows = {row.name: row for row in comparison.rows}
        baseline = percent(rows[BASELINE].values.get(_CLEAN)) if BASELINE in rows else ""
        points = (in_points(rows[name].differences.get(_CLEAN)) if name in rows else "" for name in names)
        cells.append((model, baseline, *points))
    return table(cells, ("", BASELINE, *names))


def _notes(folder: str, trials: Sequence[Trial], runs: Mapping[str, RunResults]) -> list[str]:
    """Notes on how to read the tables."""
    notes = [
        f"{len(runs)} of {len(trials)} runs are finished. Numbers are means over runs with different seeds, with "
        "the standard error after ±. All seeds train and are evaluated on the same images: the error includes only "
        "initial weights, order, augmentation and attacks.",
        SIGNIFICANT,
        *_about_evaluation(runs),
        "`cost`: forward and backward passes relative to vanilla, where an attack step counts as one; seconds are wall "
        "time of training, tracing included.",
    ]
    notes += [
        f"`{row}`: vanilla at equal budget, as many passes as {other} makes."
        for row, other in equal_budgets(trials).items()
    ]
    trained = [trial for trial in trials if trial.key in runs and not runs[trial.key].training.diverged]
    notes += [
        f"{model}, {scheme}: no gradients or running statistics are drawn, as `observations/` holds none of its runs."
        for model, scheme in kinds_not_observed(folder, trained)
    ]
    return notes


def _about_evaluation(runs: Mapping[str, RunResults]) -> list[str]:
    """The evaluation, which all runs share except for the seed."""
    whole = [run for run in runs.values() if run.parts]
    if not whole:
        return []
    clean = [run.parts["clean"] for run in whole]
    images, bad_images = min(part.images for part in clean), max(part.bad_images for part in clean)
    notes = [
        f"Evaluated on {images:,} images, of which one is {100 / images:.2f} points, with the averaged weights of the "
        "last step. With `success` last, the last point of one attack counts; corruptions made on the fly are not "
        "ImageNet-C, and their mean is not mCE."
    ]
    if bad_images:
        notes.append(f"{bad_images:,} evaluation images could not be read and are left out.")
    return notes + benchmarks_in_words({key: run for key, run in runs.items() if run.parts})


def _training_in_words(recipe: Recipe) -> str:
    """Length of the training and size of the network; equal in all rows but those of equal budget."""
    epochs = recipe.total_steps / recipe.steps_per_epoch
    network = recipe.network
    return (
        f"{recipe.total_steps:,} steps of {recipe.train_batch_size} clean images ({epochs:.1f} epochs of "
        f"{recipe.data.num_train_images:,} images) at {network.input_image_size} px, width "
        f"{network.width_coefficient:g}, depth {network.depth_coefficient:g}."
    )

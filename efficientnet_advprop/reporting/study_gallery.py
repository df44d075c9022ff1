"""Which figures a study has, and what they show."""

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.evaluation import BRANCH_GAP, IMAGES, CellResult, Row, read_observations, rows_of
from efficientnet_advprop.recipes import BASELINE, Cell, scheme_named
from efficientnet_advprop.reporting.figures import FIGURES_FOLDER
from efficientnet_advprop.reporting.study_figures import (
    write_accuracy_bars,
    write_attack_strengths,
    write_branch_gaps,
    write_gradients,
    write_running_statistics,
)

_ERRORS = "Lines are standard errors over seeds; axes do not start at 0."


def write_study_figures(folder: str, cells: Sequence[Cell], results: Sequence[CellResult]) -> list[tuple[str, str]]:
    """Draw what there is to draw; returns (path inside the folder, caption) of each figure.

    Args:
        folder: of the study, which holds what was observed in its runs.
        cells: all of them.
        results: theirs.
    """
    tf.io.gfile.makedirs(os.path.join(folder, FIGURES_FOLDER))
    figures = []
    for model in dict.fromkeys(cell.model for cell in cells):
        rows = rows_of([result for result in results if result.model == model], BASELINE)
        of_model = [cell for cell in cells if cell.model == model]
        if rows:
            figures += _figures_of_rows(folder, model, of_model, rows)
        figures += _figures_of_runs(folder, model, read_observations(folder, of_model))
    return figures


def _figures_of_rows(folder: str, model: str, cells: Sequence[Cell], rows: Sequence[Row]) -> list[tuple[str, str]]:
    name = f"{FIGURES_FOLDER}/{model}-accuracy.png"
    write_accuracy_bars(os.path.join(folder, name), rows, model)
    figures = [(name, f"{model}: top-1 on clean, attacked and corrupted images through the main branch. {_ERRORS}")]
    with_both = [row for row in rows if BRANCH_GAP in row.values]
    if with_both:
        name = f"{FIGURES_FOLDER}/{model}-branch-gap.png"
        write_branch_gaps(os.path.join(folder, name), with_both, model)
        figures.append((name, f"{model}: main against auxiliary branch on clean images. {_ERRORS}"))
    by_scheme = _rows_by_strength(cells, rows)
    if by_scheme:
        name = f"{FIGURES_FOLDER}/{model}-attack-strength.png"
        baseline = next((row for row in rows if row.name == BASELINE), None)
        write_attack_strengths(os.path.join(folder, name), by_scheme, baseline, model)
        figures.append((name, f"{model}: top-1 against the strength of the training attack. {_ERRORS}"))
    return figures


def _rows_by_strength(cells: Sequence[Cell], rows: Sequence[Row]) -> dict[str, list[tuple[float, Row]]]:
    """(epsilon in pixels, row) of the schemes that were trained with several strengths."""
    row_of_name = {row.name: row for row in rows}
    by_scheme: dict[str, dict[float, Row]] = {}
    for cell in cells:
        scheme = scheme_named(cell.recipe.scheme)
        if cell.recipe.attacking_terms and scheme.varies_strength and cell.row in row_of_name:
            by_scheme.setdefault(scheme.name, {})[cell.recipe.attack.epsilon_px] = row_of_name[cell.row]
    return {scheme: sorted(found.items()) for scheme, found in by_scheme.items() if len(found) > 1}


def _figures_of_runs(
    folder: str, model: str, observed: Mapping[Cell, Mapping[str, np.ndarray]]
) -> list[tuple[str, str]]:
    """Gradients of the runs that were looked at, and running statistics of the first that has two branches."""
    figures = []
    gradients = {
        f"{cell.row}, {branch}" if len(cell.recipe.branches) > 1 else cell.row: seen[f"gradients/{branch}"]
        for cell, seen in observed.items()
        for branch in cell.recipe.branches
    }
    if gradients:
        name = f"{FIGURES_FOLDER}/{model}-gradients.png"
        images = next(iter(observed.values()))[IMAGES]
        write_gradients(os.path.join(folder, name), images, gradients, model)
        figures.append(
            (
                name,
                f"{model}: gradients of the loss with respect to the image, runs of seed {_seeds(observed)}; each "
                "clipped to its mean +- 3 standard deviations and rescaled.",
            )
        )
    for cell, seen in observed.items():
        if len(cell.recipe.branches) > 1:
            name = f"{FIGURES_FOLDER}/{model}-running-statistics.png"
            statistics = {place: values for place, values in seen.items() if place.count("/") == 2}
            write_running_statistics(os.path.join(folder, name), statistics, f"{model}, {cell.row}")
            run = f"{cell.row}, seed {cell.recipe.seed}"
            figures.append((name, f"{model}: running means and variances of a few batch norms, {run}."))
            break
    return figures


def _seeds(cells: Iterable[Cell]) -> str:
    return ", ".join(str(seed) for seed in dict.fromkeys(cell.recipe.seed for cell in cells))

"""`--mode=compare`: compares evaluated networks by their results files, without a device."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Sequence

import tensorflow as tf

from efficientnet_advprop.evaluation import RESULTS_FILE, EvaluatedRun, ResultsFile, compare, published_results
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.locks import hold
from efficientnet_advprop.paths import is_remote
from efficientnet_advprop.recipes import RecipeError
from efficientnet_advprop.reporting import (
    FIGURES_FOLDER,
    comparison_in_words,
    write_comparison_figures,
    write_comparison_report,
)
from efficientnet_advprop.training import run_folder

COMPARISON_FILE = "comparison.json"
_EVALUATION_FOLDER = "evaluation"


def run_comparison(folders: Sequence[str], folder: str, published: bool, command: str) -> str:
    """Compare, print the tables, write report, values and figures; returns the report's path.

    Args:
        folders: of runs, evaluations or studies; all runs of a study are compared.
        folder: for the output.
        published: whether to add the paper's numbers for the same models.
        command: for the report.

    Raises:
        RecipeError: when a folder has no readable evaluation, two folders have the same one, or the output folder is
            a run's or not writable.
    """
    if run_folder.holds_run(folder):
        raise RecipeError(f"{folder} holds a run: a comparison needs another --model_dir")
    comparison = compare(_evaluated(folders))
    values = {"command": command, **comparison.as_values()}
    if published:
        values["published"] = [dataclasses.asdict(result) for result in published_results(comparison.models)]
    with hold("model_dir", folder, (FIGURES_FOLDER,)):
        earlier = _compared_before(folder)
        figures = write_comparison_figures(folder, comparison)
        write_atomic(os.path.join(folder, COMPARISON_FILE), json.dumps(values, indent=1) + "\n")
        report = write_comparison_report(folder, comparison, published, command, figures)
    print(comparison_in_words(comparison))
    if earlier and earlier != [run["folder"] for row in values["rows"] for run in row["runs"]]:
        print(f"replaced: the comparison of {', '.join(earlier)} (another --model_dir keeps both)")
    return report


def _compared_before(folder: str) -> list[str]:
    """The runs of the comparison that is in the folder, which will be replaced; empty if it holds none."""
    path = os.path.join(folder, COMPARISON_FILE)
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file, contextlib.suppress(ValueError, KeyError, TypeError):
        return [run["folder"] for row in json.loads(file.read())["rows"] for run in row["runs"]]
    return []


def _evaluated(folders: Sequence[str]) -> list[EvaluatedRun]:
    """The evaluated runs of these folders.

    Raises:
        RecipeError: naming the folder without an evaluation, or the second one with the same evaluation.
    """
    runs: list[EvaluatedRun] = []
    found: dict[str, str] = {}
    for named in folders:
        paths = [os.path.join(folder, RESULTS_FILE) for folder in (os.path.join(named, _EVALUATION_FOLDER), named)]
        path = next((path for path in paths if tf.io.gfile.exists(path)), None)
        if path is None:
            raise RecipeError(
                f"no evaluation in {named}: neither {' nor '.join(paths)} is there (--mode=eval --benchmarks makes one)"
            )
        same = path if is_remote(path) else os.path.realpath(path)
        if same in found:
            raise RecipeError(f"{named} is the evaluation of {found[same]} again: {path}")
        found[same] = named
        file = ResultsFile(os.path.dirname(path))
        if not any(run.parts for run in file.runs.values()):
            raise RecipeError(f"{path} has no finished benchmark")
        of_folder = {os.path.join(named, key) if file.is_study else named: run for key, run in file.runs.items()}
        runs += [EvaluatedRun(name, results) for name, results in of_folder.items()]
    return runs

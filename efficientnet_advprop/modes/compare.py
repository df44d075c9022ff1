"""A comparison of evaluated networks, from the files that their evaluations left; computes nothing on devices."""

import dataclasses
import json
import os
from collections.abc import Sequence

import tensorflow as tf

from efficientnet_advprop.evaluation import RESULTS_FILE, EvaluatedRun, EvaluationResults, compare, published_results
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.recipes import RecipeError
from efficientnet_advprop.reporting import comparison_in_words, write_comparison_figures, write_comparison_report
from efficientnet_advprop.training import run_folder

COMPARISON_FILE = "comparison.json"
_EVALUATION_FOLDER = "evaluation"


def run_comparison(runs: Sequence[str], folder: str, published: bool, command: str) -> str:
    """Compare, print the table, write report, values and figures; returns the report's path.

    Args:
        runs: folders of runs or of evaluations.
        folder: for what is written.
        published: with the paper's numbers of the models compared.
        command: that asked for it, for the report.

    Raises:
        RecipeError: when a run has no evaluation that can be read, two are the same one, or the folder cannot take it.
    """
    if run_folder.holds_run(folder):
        raise RecipeError(f"{folder} holds a run: a comparison needs another --model_dir")
    comparison = compare(_evaluated(runs))
    run_folder.require_writable("model_dir", folder)
    figures = write_comparison_figures(folder, comparison)
    values = {"command": command, **comparison.as_values()}
    if published:
        values["published"] = [dataclasses.asdict(result) for result in published_results(comparison.models)]
    write_atomic(os.path.join(folder, COMPARISON_FILE), json.dumps(values, indent=1) + "\n")
    report = write_comparison_report(folder, comparison, published, command, figures)
    print(comparison_in_words(comparison))
    return report


def _evaluated(runs: Sequence[str]) -> list[EvaluatedRun]:
    """The evaluations of these folders.

    Raises:
        RecipeError: naming the folder that has none, or the second that has the same.
    """
    found: dict[str, EvaluatedRun] = {}
    for run in runs:
        folders = (os.path.join(run, _EVALUATION_FOLDER), run)
        paths = [os.path.join(folder, RESULTS_FILE) for folder in folders]
        path = next((path for path in paths if tf.io.gfile.exists(path)), None)
        if path is None:
            raise RecipeError(
                f"no evaluation in {run}: neither {' nor '.join(paths)} is there (--mode=eval --benchmarks makes one)"
            )
        same = os.path.normpath(path)
        if same in found:
            raise RecipeError(f"{run} is the evaluation of {found[same].folder} again: {path}")
        results = EvaluationResults(os.path.dirname(path))
        if not results.parts:
            raise RecipeError(f"{path} has no finished benchmark")
        found[same] = EvaluatedRun(run, results)
    return list(found.values())

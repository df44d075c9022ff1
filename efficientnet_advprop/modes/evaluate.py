"""`--mode=eval`: evaluates weights on their own data set, or on benchmarks with a report.

An evaluation on benchmarks is a list of passes over images. Each pass is recorded when it is finished, so that an
interrupted evaluation continues with the next one. Tables, scores and figures are made from the records.
"""

import itertools
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import tpu_utils
from efficientnet_advprop.data import check_options, class_names, labelled_as, open_source
from efficientnet_advprop.evaluation import (
    BenchmarkPass,
    Evaluated,
    ResultsFile,
    RunResults,
    digest_over_seeds,
    find_sets,
    plan_passes,
    series_of,
)
from efficientnet_advprop.models.weights import Weights, digest_of
from efficientnet_advprop.modes.benchmarks import PassMaker, refuse_replicas
from efficientnet_advprop.modes.loaded_network import LoadedNetwork
from efficientnet_advprop.recipes import CORRUPTED, Recipe, RecipeError, RunOptions, benchmark_of, override
from efficientnet_advprop.reporting import (
    FIGURES_FOLDER,
    evaluation_table,
    summary_table,
    write_evaluation_figures,
    write_evaluation_report,
)
from efficientnet_advprop.training import run_folder


def evaluate(recipe: Recipe, options: RunOptions, weights: Weights) -> None:
    """Evaluate weights on their own data set, or on benchmarks with a report."""
    benchmarks, source = options.benchmarks, None
    if benchmarks is None or benchmarks.needs_own_images:
        source = open_source(recipe.data, options.data_dir, evaluation_only=True)
        source = labelled_as(source, weights.class_names, weights.facts.path)
    sets: dict[str, Any] = {}
    if benchmarks:
        classes = weights.class_names or class_names(weights.facts.num_classes)
        sets = find_sets(benchmarks, classes)
        run_folder.require_writable("evaluation_dir", options.evaluation_dir)
        if run_folder.holds_run(options.evaluation_dir):  # it has a report of its own
            raise RecipeError(f"{options.evaluation_dir} holds a run: an evaluation needs another --evaluation_dir")
    if source is not None and not sets:
        check_options(source, options.input)
    run = LoadedNetwork(recipe, options, source, weights)
    for note in source.facts.notes if source else ():
        run.say(note)
    run.check_batches(training=False, evaluation=True)
    if benchmarks:
        with run.hold("evaluation_dir", options.evaluation_dir, (FIGURES_FOLDER,)):
            run.read_weights()
            run.say(f"report: {run_benchmarks(run, sets)}")
    else:
        run.read_weights()
        run.say(summary_table(run.evaluate()))
    run.remove_scratch()


def run_benchmarks(run: LoadedNetwork, sets: Mapping[str, Any]) -> str:
    """Measure the benchmarks of the options, write `results.json`, `report.md` and figures; returns the report's path.

    Args:
        run: with weights, and with a source if a benchmark needs it.
        sets: the result of `find_sets`.

    Raises:
        RecipeError: when the folder holds results of other weights, or no image of a set can be read.
    """
    spec, folder = run.options.benchmarks, run.options.evaluation_dir
    if "corruptions" in spec.names:
        tpu_utils.refuse_other_hosts(run.strategy, "corruptions")
    refuse_replicas(run.strategy, spec)
    file = ResultsFile(folder)
    results = file.start(_evaluated(run))
    recipe = override(run.recipe, {"cadence.eval_branch": run.attacked_branch})
    passes = plan_passes(recipe, run.source, spec, sets)
    missing = [one for one in passes if not results.has(one.key, one.settings)]
    if tpu_utils.number_of_chief(run.strategy, len(missing)) != len(missing):
        raise RecipeError(f"this worker finds other results in {folder} than the chief: use a shared folder")
    for key in _outdated(results, passes):
        run.say(f"{key} was measured with other settings: dropped")
        del results.parts[key]
    run.say(f"benchmarks: {len(passes)} passes over images, {len(passes) - len(missing)} of them finished before")
    maker = PassMaker(run)
    for one, following in itertools.zip_longest(missing, missing[1:]):
        results.parts[one.key] = maker.make(one)
        if run.is_chief:
            file.write({file.ONLY: results})
        if line := _measured_line(results, one.key, following.key if following else ""):
            run.say(line)
    report = ""
    if run.is_chief:
        figures = write_evaluation_figures(folder, results)
        report = write_evaluation_report(folder, results, run.options.command, figures)
    run.say(evaluation_table(results))
    return report


def _measured_line(results: RunResults, key: str, following: str) -> str:
    """Top-1 of a pass that is done; of corrupted images the mean over severities, after the last one, else nothing."""
    if benchmark_of(key).kind != CORRUPTED:
        return f"{key}: {results.parts[key].summary()}"
    corruption = f"{key.rpartition('/')[0]}/"
    if following.startswith(corruption):
        return ""
    parts = [part for other, part in results.parts.items() if other.startswith(corruption)]
    means = {branch: statistics.fmean(part.scores[branch]["top1"] for part in parts) for branch in parts[0].scores}
    words = ", ".join(f"{branch} {100 * mean:.2f} %" for branch, mean in means.items())
    return f"{corruption[:-1]}, mean of {len(parts)} severities: {words}"


def _outdated(results: RunResults, passes: Sequence[BenchmarkPass]) -> list[str]:
    """Parts that were measured with other settings than the passes of the same score or curve."""
    settings = {series_of(one.key): one.settings for one in passes}
    of_passes = [key for key in results.parts if series_of(key) in settings]
    return [key for key in of_passes if not results.has(key, settings[series_of(key)])]


def _evaluated(run: LoadedNetwork) -> Evaluated:
    scheme, dataset = run.trained_with
    facts = run.weights.facts
    trained = facts.recipe
    return Evaluated(
        model=run.recipe.network.name,
        scheme=scheme,
        dataset=dataset,
        seed=None if trained is None else trained.seed,
        step=run.step,
        weights=run.weights_in_words,
        input_image_size=run.recipe.network.input_image_size,
        class_names=run.class_names,
        recipe=None if trained is None else digest_over_seeds(trained),
        digest=digest_of(os.path.join(facts.path, "variables", "variables") if facts.is_graph else facts.path),
    )

"""`--mode=eval`: weights on their own kind of images, or on benchmarks with a report."""

from typing import Any

from efficientnet_advprop.data import class_names, open_source
from efficientnet_advprop.evaluation.passes import find_sets
from efficientnet_advprop.models.weights import Weights
from efficientnet_advprop.modes.benchmarks import run_benchmarks
from efficientnet_advprop.modes.loaded_network import LoadedNetwork
from efficientnet_advprop.recipes import Recipe, RunOptions
from efficientnet_advprop.reporting import summary_table
from efficientnet_advprop.training import run_folder


def evaluate(recipe: Recipe, options: RunOptions, weights: Weights) -> None:
    """Evaluate weights: their accuracies on their own kind of images, or on benchmarks with a report."""
    benchmarks, source = options.benchmarks, None
    if benchmarks is None or benchmarks.needs_own_images:
        source = open_source(recipe.data, options.data_dir, evaluation_only=True)
    sets: dict[str, Any] = {}
    if benchmarks:
        classes = weights.class_names or class_names(weights.facts.num_classes)
        sets = find_sets(benchmarks, classes)
        run_folder.require_writable("evaluation_dir", options.evaluation_dir)
    run = LoadedNetwork(recipe, options, source, weights)
    run.check_batches(training=False, evaluation=True)
    run.read_weights()
    if benchmarks:
        run.say(f"report: {run_benchmarks(run, sets)}")
    else:
        run.say(summary_table(run.evaluate()))
    run.remove_scratch()

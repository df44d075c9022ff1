"""Evaluation on benchmarks, from the weights to the report.

An evaluation is a list of passes over images. Each pass is recorded when it is done, so that one that was stopped
goes on behind it; tables, scores and figures are made of the records.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

import tpu_utils
from efficientnet_advprop.data import eval_dataset
from efficientnet_advprop.evaluation import (
    AnswerCollector,
    Answers,
    Batch,
    Evaluated,
    EvaluationResults,
    Part,
    corrupted_dataset,
    series_of,
)
from efficientnet_advprop.evaluation.benchmark_predictions import collector_for
from efficientnet_advprop.evaluation.passes import BenchmarkPass, plan_passes
from efficientnet_advprop.models.weights import digest_of
from efficientnet_advprop.modes.loaded_network import LoadedNetwork
from efficientnet_advprop.recipes import IMAGENET_BENCHMARKS, IMAGENET_IMAGES, RecipeError, digest, override
from efficientnet_advprop.reporting import (
    evaluation_table,
    progress_bar,
    write_evaluation_figures,
    write_evaluation_report,
)

_CONFUSIONS = 15


def run_benchmarks(run: LoadedNetwork, sets: Mapping[str, Any]) -> str:
    """Measure what the run's options ask for, and write `results.json`, `report.md` and figures; returns the report.

    Args:
        run: with weights that were read, and a source if benchmarks need its own images.
        sets: of `find_sets`.

    Raises:
        RecipeError: when the folder has results of other weights, or no image of a set can be read.
    """
    spec, folder = run.options.benchmarks, run.options.evaluation_dir
    if "corruptions" in spec.names:
        tpu_utils.refuse_other_hosts(run.strategy, "corruptions")
    results = EvaluationResults(folder)
    results.start(_evaluated(run))
    recipe = override(run.recipe, {"cadence.eval_branch": run.attacked_branch})
    passes = plan_passes(recipe, run.source, spec, sets)
    missing = [one for one in passes if not results.has(one.key, one.settings)]
    if tpu_utils.number_of_chief(run.strategy, len(missing)) != len(missing):
        raise RecipeError(f"this worker finds other results in {folder} than the chief: share it")
    for key in _outdated(results, passes):
        run.say(f"{key} was measured with other settings: dropped")
        results.drop(key)
    run.say(f"benchmarks: {len(passes)} passes over images, {len(passes) - len(missing)} of them made before")
    collectors: dict[str, AnswerCollector] = {}
    for one in missing:
        if one.kind not in collectors:
            collectors[one.kind] = collector_for(run.strategy, run.evaluated_model, one)
        part = _make_pass(run, one, collectors[one.kind])
        results.add(one.key, part, write=run.is_chief)
        run.say(f"{one.key}: {part.summary()}")
    report = ""
    if run.is_chief:
        figures = write_evaluation_figures(folder, results)
        report = write_evaluation_report(folder, results, run.options.command, figures)
    run.say(evaluation_table(results))
    return report


def _outdated(results: EvaluationResults, passes: Sequence[BenchmarkPass]) -> list[str]:
    """Parts of the passes' benchmarks with other settings: one score or curve must not be made of both."""
    settings = {series_of(one.key): one.settings for one in passes}
    of_passes = [key for key in results.parts if series_of(key) in settings]
    return [key for key in of_passes if not results.has(key, settings[series_of(key)])]


def _make_pass(run: LoadedNetwork, one: BenchmarkPass, collector: AnswerCollector) -> Part:
    """Pass over the images."""
    source = one.source()
    # Nothing counts TFRecords on a remote disk.
    uncounted = IMAGENET_IMAGES if one.key in IMAGENET_BENCHMARKS else one.recipe.data.num_eval_images
    total = source.facts.num_eval_images or uncounted
    recipe = override(one.recipe, {"data.num_eval_images": total})
    num_images = min(run.options.benchmarks.num_images or total, total)

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        batches = eval_dataset(source, recipe, context, run.options.input, num_images)
        return batches if one.corruption is None else corrupted_dataset(batches, context, *one.corruption)

    batches: Iterable[Batch] = run.strategy.distribute_datasets_from_function(dataset)
    if run.is_chief:
        steps = -(-num_images // recipe.cadence.eval_batch_size)
        batches = progress_bar(batches, steps, "batch", description=one.key)
    strength = ()
    if one.attack is not None:
        strength = (tf.constant(one.attack.epsilon_px), tf.constant(one.attack.step_size_px))
    started = time.monotonic()
    answers, num_bad = collector.collect(batches, num_images, strength)
    return Part(
        settings=one.settings,
        images=num_images - num_bad,
        bad_images=num_bad,
        scores={name: _named_scores(one, answer) for name, answer in answers.items()},
        confusions={name: _named_confusions(answer, run.class_names) for name, answer in answers.items()},
        seconds=round(time.monotonic() - started, 1),
    )


def _named_scores(one: BenchmarkPass, answers: Answers) -> dict[str, float]:
    scores = answers.scores()
    if one.classes is not None:
        scores[f"top1_of_{len(one.classes)}"] = scores.pop("top1_of_subset")
    return scores


def _named_confusions(answers: Answers, names: Sequence[str]) -> list[tuple[str, str, int]]:
    return [(names[label], names[said], times) for label, said, times in answers.confusions(_CONFUSIONS)]


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
        recipe=None if trained is None else digest(override(trained, {"seed": 0})),
        digest=digest_of(os.path.join(facts.path, "variables", "variables") if facts.is_graph else facts.path),
    )

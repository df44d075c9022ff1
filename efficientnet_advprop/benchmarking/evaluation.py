"""Evaluation on benchmarks, from the weights to the report.

An evaluation is a list of passes over pictures. Each pass is recorded when it is done, so that one that was stopped
goes on behind it; tables, scores and figures are made of the records.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.benchmarking.answering import collector_for
from efficientnet_advprop.benchmarking.passes import BenchmarkPass, plan_passes
from efficientnet_advprop.data import IMAGENET_CLASSES, class_names, eval_dataset
from efficientnet_advprop.evaluation import AnswerCollector, Answers, Batch, corrupted_dataset
from efficientnet_advprop.recipes import (
    IMAGENET_BENCHMARKS,
    BenchmarkSpec,
    RecipeError,
    digest,
    override,
    refuse_other_classes,
)
from efficientnet_advprop.reporting import (
    evaluation_table,
    progress_bar,
    write_evaluation_figures,
    write_evaluation_report,
)
from efficientnet_advprop.robustness import Evaluated, EvaluationResults, Part
from efficientnet_advprop.run import Run
from efficientnet_advprop.training import model_dir as run_folder

_CONFUSIONS = 15


def run_benchmarks(run: Run, sets: Mapping[str, Any]) -> str:
    """Measure what the run's options ask for, and write `results.json`, `report.md` and figures; returns the report.

    Args:
        run: with weights that were read, and a source if benchmarks need its own pictures.
        sets: of `find_sets`.

    Raises:
        RecipeError: when the network does not know the classes shown, or the folder has results of other weights.
    """
    spec, folder = run.options.benchmarks, run.options.evaluation_dir
    _require_imagenet_classes(run, spec)
    if run.is_chief:
        run_folder.require_writable("evaluation_dir", folder)
    results = EvaluationResults(folder)
    results.start(_evaluated(run))
    passes = plan_passes(run.recipe, run.source, spec, sets)
    missing = [one for one in passes if not results.has(one.key, one.settings)]
    run.say(f"benchmarks: {len(passes)} passes over pictures, {len(passes) - len(missing)} of them made before")
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


def _make_pass(run: Run, one: BenchmarkPass, collector: AnswerCollector) -> Part:
    """Pass over the pictures."""
    source = one.source()
    # The recipe's number stands where nothing has counted them.
    total = source.facts.num_eval_images or one.recipe.data.num_eval_images
    recipe = override(one.recipe, {"data.num_eval_images": total})
    num_images = min(run.options.benchmarks.num_images or total, total)

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        if one.corruption is None:
            return eval_dataset(source, recipe, context, run.options.input, num_images)
        return corrupted_dataset(source, recipe, context, run.options.input, num_images, *one.corruption)

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


def _evaluated(run: Run) -> Evaluated:
    scheme, dataset = run.scheme_and_dataset
    trained = run.weights.facts.recipe
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
    )


def _require_imagenet_classes(run: Run, spec: BenchmarkSpec) -> None:
    """Refuse test sets of ImageNet for a network that does not answer with its classes."""
    asked = [name for name in spec.names if name in IMAGENET_BENCHMARKS]
    if not asked:
        return
    if run.recipe.data.num_label_classes != IMAGENET_CLASSES:
        raise RecipeError(
            f"{asked[0]} shows classes of ImageNet, this network knows {run.recipe.data.num_label_classes} others"
        )
    imagenet = class_names(IMAGENET_CLASSES)
    if run.class_names != imagenet:
        refuse_other_classes(run.weights.facts.path, run.class_names, asked[0], imagenet)

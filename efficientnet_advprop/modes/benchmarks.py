"""Passes over images for evaluations and studies."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.data import eval_dataset
from efficientnet_advprop.evaluation import (
    Batch,
    BenchmarkPass,
    Part,
    PredictionCollector,
    Predictions,
    collector_for,
    corrupted_dataset,
    kept_in_memory,
    strength,
)
from efficientnet_advprop.modes.session import Session
from efficientnet_advprop.recipes import BENCHMARKS, BenchmarkSpec, RecipeError, override

_CONFUSIONS = 15
_MOST_KEPT_IMAGES = 2000  # in memory, a byte a value: 2 GB at 600 px


def refuse_replicas(strategy: tf.distribute.Strategy, spec: BenchmarkSpec) -> None:
    """Refuse several replicas for attacks that Python drives, batch by batch.

    Raises:
        RecipeError: naming the benchmark and their number.
    """
    replicas = strategy.num_replicas_in_sync
    for name in spec.names:
        if BENCHMARKS[name].parameter_free and replicas > 1:
            raise RecipeError(f"benchmark {name} runs on one device, not on {replicas}: give --strategy=one_device")


class PassMaker:
    """Makes passes with the evaluated weights of a run.

    Passes of one kind share a graph. Passes that corrupt images on the fly read the clean images once.
    """

    def __init__(self, run: Session) -> None:
        self._run = run
        self._collectors: dict[tuple[Any, ...], PredictionCollector] = {}
        self._clean: tf.data.Dataset | None = None

    def make(self, one: BenchmarkPass) -> Part:
        """Evaluate all images of the pass."""
        run = self._run
        if one.kind not in self._collectors:
            self._collectors[one.kind] = collector_for(run.strategy, run.evaluated_model, one)
        source = one.source()
        for note in () if source is run.source else source.facts.notes:
            run.say(f"{one.key}: {note}")
        # TFRecords on a remote disk are not counted.
        total = source.facts.num_eval_images or one.benchmark.num_images or one.recipe.data.num_eval_images
        recipe = override(one.recipe, {"data.num_eval_images": total})
        num_images = min(one.num_images or total, total)

        def clean(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return eval_dataset(source, recipe, context, run.options.input, num_images)

        dataset = clean if one.corruption is None else self._corrupted(clean, num_images, *one.corruption)
        batches: Iterable[Batch] = run.strategy.distribute_datasets_from_function(dataset)
        batches = run.with_progress(batches, num_images, one.key)
        started = time.monotonic()
        arguments = strength(one.attack) if one.attack else ()
        predictions, num_bad = self._collectors[one.kind].collect(batches, num_images, arguments)
        return Part(
            settings=one.settings,
            images=num_images - num_bad,
            bad_images=num_bad,
            scores={name: predicted.scores() for name, predicted in predictions.items()},
            confusions={name: _named_confusions(predicted, run.class_names) for name, predicted in predictions.items()},
            seconds=round(time.monotonic() - started, 1),
        )

    def _corrupted(self, clean: Any, num_images: int, corruption: str, severity: int) -> Any:
        """The function that makes the corrupted images of an input context from its clean ones."""
        if num_images > _MOST_KEPT_IMAGES:
            return lambda context: corrupted_dataset(clean(context), context, corruption, severity)
        if self._clean is None:
            # A single host makes all images: several are refused.
            whole = tf.distribute.InputContext(num_replicas_in_sync=self._run.strategy.num_replicas_in_sync)
            self._clean = kept_in_memory(clean(whole))
        return lambda context: corrupted_dataset(self._clean, context, corruption, severity)


def _named_confusions(predictions: Predictions, names: Sequence[str]) -> list[tuple[str, str, int]]:
    return [(names[label], names[other], times) for label, other, times in predictions.confusions(_CONFUSIONS)]

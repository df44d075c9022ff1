"""The training loop: steps on the device, then logging, checks, checkpoints and evaluation on the host."""

import contextlib
import dataclasses
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.recipes import Recipe, Term
from efficientnet_advprop.training.checkpoints import Checkpoints
from efficientnet_advprop.training.interruption import Interrupted
from efficientnet_advprop.training.objective import Batch
from efficientnet_advprop.training.state import TrainState
from efficientnet_advprop.training.step import BAD_IMAGES, StepMetrics, make_replica_step


class Callback(Protocol):
    """Receives the values of a run, such as the progress display and the metrics log do."""

    def train_values(self, step: int, values: dict[str, float]) -> None:
        """Called after every loop of steps, with the means since the last call."""

    def eval_values(self, step: int, values: dict[str, float]) -> None:
        """Called after every evaluation, with its results."""


@dataclasses.dataclass(frozen=True)
class StepLoop:
    """The compiled steps of one phase.

    Attributes:
        until_step: the step at which the phase ends.
        run: runs a number of steps (a scalar tensor) on the iterator's batches.
        metrics: updated by `run`.
    """

    until_step: int
    run: Callable[[Iterator[Batch], tf.Tensor], None]
    metrics: StepMetrics

    def trace(self, iterator: Iterator[Batch]) -> None:
        """Trace the steps without running one; it takes up to minutes."""
        with _without_collection():
            self.run.get_concrete_function(iterator, tf.constant(0))

    def advance(self, iterator: Iterator[Batch], step: int, end: int) -> dict[str, float]:
        """Train from `step` to `end`; returns the means of the steps' scalars.

        Raises:
            FloatingPointError: when a loss or a gradient is not finite; it names them and the steps.
        """
        self.run(iterator, tf.constant(end - step))
        values, not_finite = self.metrics.take()
        if not_finite:
            raise FloatingPointError(f"not finite in steps {step + 1} to {end}: {', '.join(not_finite)}")
        return values


def make_step_loop(
    state: TrainState, recipe: Recipe, strategy: tf.distribute.Strategy, terms: Sequence[Term], until_step: int
) -> StepLoop:
    """The `tf.function` that runs steps on these terms; it is traced once, as the number of steps is a tensor."""
    replica_step, names = make_replica_step(state, recipe, terms, strategy.num_replicas_in_sync)
    with strategy.scope():
        metrics = StepMetrics((*names, BAD_IMAGES))

    @tf.autograph.experimental.do_not_convert
    def step_and_measure(batch: Batch) -> None:
        trained_on = {name: value for name, value in batch.items() if name != "bad"}
        metrics.update({**replica_step(trained_on), BAD_IMAGES: tf.reduce_sum(batch["bad"])})

    @tf.function
    def run(iterator: Iterator[Batch], num_steps: tf.Tensor) -> None:
        for _ in tf.range(num_steps):
            strategy.run(step_and_measure, args=(next(iterator),))

    return StepLoop(until_step, run, metrics)


def train(
    state: TrainState,
    recipe: Recipe,
    strategy: tf.distribute.Strategy,
    iterator_from: Callable[[int], Iterator[Batch]],
    checkpoints: Checkpoints,
    evaluate: Callable[[], dict[str, float]] | None,
    last_evaluated_step: int,
    callbacks: Sequence[Callback],
    stop_signal: Callable[[], int | None],
    at_once: Callable[[int], contextlib.AbstractContextManager] = contextlib.nullcontext,
) -> None:
    """Train from the state's step to the recipe's last one.

    Args:
        state: what is trained; a run that resumes has restored it before.
        recipe: batch size, schedule, phases and cadence.
        strategy: the devices.
        iterator_from: step -> the distributed batches from that step on.
        checkpoints: saves before every evaluation, every `steps_per_checkpoint` steps, when stopped and at the end.
        evaluate: evaluates the averaged weights; its results include `top1_BRANCH` of every branch. None disables it.
        last_evaluated_step: the last one that an earlier process evaluated; an evaluation that it missed is run first.
        callbacks: receive the values of every loop and evaluation.
        stop_signal: called between loops; the signal that asks the run to stop, or None. It is the same on all workers.
        at_once: step -> a context in which a signal ends the run without waiting; for work that follows a save.

    Raises:
        FloatingPointError: when a loss or a gradient is not finite; earlier checkpoints are kept.
        Interrupted: when a signal stopped the run; the state is saved.
    """
    total_steps, cadence = recipe.total_steps, recipe.cadence
    step = saved_step = state.step
    iterator = iterator_from(step)
    loop = None
    while True:
        is_eval_step = step > 0 and (step % cadence.steps_per_eval == 0 or step == total_steps)
        signal_number = stop_signal()
        if is_eval_step or signal_number or step - saved_step >= cadence.steps_per_checkpoint:
            checkpoints.save()
            saved_step = step
        if signal_number:
            raise Interrupted(signal_number, step)
        if evaluate is not None and is_eval_step and step > last_evaluated_step:
            with at_once(step):
                results = evaluate()
            checkpoints.save_if_best(results)
            for callback in callbacks:
                callback.eval_values(step, results)
        if step >= total_steps:
            return
        if loop is None or step >= loop.until_step:
            loop = _step_loop_at(state, recipe, strategy, step)
            with at_once(step) if step == saved_step else contextlib.nullcontext():
                loop.trace(iterator)
        next_eval = (step // cadence.steps_per_eval + 1) * cadence.steps_per_eval
        end = min(step + cadence.iterations_per_loop, next_eval, loop.until_step, total_steps)
        values = loop.advance(iterator, step, end)
        step = end
        for callback in callbacks:
            callback.train_values(step, {**values, "learning_rate": state.learning_rate()})


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Without Python's garbage collector, which would search the growing graph again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _step_loop_at(state: TrainState, recipe: Recipe, strategy: tf.distribute.Strategy, step: int) -> StepLoop:
    """The steps of the phase that a step belongs to."""
    for phase in recipe.phases:
        until = recipe.total_steps
        if phase.until_epoch is not None:
            # Rounded first: the product may be 2.0000000001, and its ceiling 3 instead of 2.
            until = min(until, math.ceil(round(phase.until_epoch * recipe.steps_per_epoch, 6)))
        if step < until:
            trained = state.with_frozen_backbone() if phase.classifier_only else state
            return make_step_loop(trained, recipe, strategy, phase.terms, until)
    raise ValueError(f"no phase of scheme {recipe.scheme} covers step {step}")

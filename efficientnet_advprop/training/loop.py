"""The training loop: steps on the device, then a look from the host."""

import dataclasses
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


class Watcher(Protocol):
    """Who is told how the run goes: the progress display, the metrics files."""

    def train_values(self, step: int, values: dict[str, float]) -> None:
        """Means since the last call, at this step."""

    def eval_values(self, step: int, values: dict[str, float]) -> None:
        """Results of an evaluation at this step."""


@dataclasses.dataclass(frozen=True)
class StepLoop:
    """Compiled steps of one phase.

    Attributes:
        until_step: where the phase ends.
        run: runs that many steps (a scalar tensor) on the iterator's batches.
        metrics: fed by `run`.
    """

    until_step: int
    run: Callable[[Iterator[Batch], tf.Tensor], None]
    metrics: StepMetrics


def make_step_loop(
    state: TrainState, recipe: Recipe, strategy: tf.distribute.Strategy, terms: Sequence[Term], until_step: int
) -> StepLoop:
    """The `tf.function` that runs steps of these terms; the number of steps is a tensor, so it is traced once."""
    replica_step, names = make_replica_step(state, recipe, terms, strategy.num_replicas_in_sync)
    with strategy.scope():
        metrics = StepMetrics((*names, BAD_IMAGES))

    @tf.autograph.experimental.do_not_convert
    def step_and_measure(batch: Batch) -> None:
        metrics.update({**replica_step(batch), BAD_IMAGES: tf.reduce_sum(batch["bad"])})

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
    watchers: Sequence[Watcher],
    stop_signal: Callable[[], int | None],
) -> None:
    """Train from the state's step to the recipe's last one.

    Args:
        state: what is trained; restored before, if at all.
        recipe: what to do.
        strategy: where.
        iterator_from: the distributed batches from a step on.
        checkpoints: saves before every evaluation, every `steps_per_checkpoint` steps, when stopped and at the end.
        evaluate: results of the averaged weights, `top1_BRANCH` of every branch among them; None never evaluates.
        last_evaluated_step: of an earlier process. One that was killed between checkpoint and evaluation owes the
            evaluation, which is made up for.
        watchers: told of every loop and evaluation.
        stop_signal: asked between loops; the signal that wants the run to stop, or None. All workers have to get the
            same answer.

    Raises:
        FloatingPointError: when a loss or a gradient is not finite; it names them and the steps. What was saved before
            stays.
        Interrupted: when asked to stop; the state is saved.
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
            results = evaluate()
            checkpoints.save_if_best(results)
            for watcher in watchers:
                watcher.eval_values(step, results)
        if step >= total_steps:
            return
        if loop is None or step >= loop.until_step:
            terms, until_step = _phase_at(recipe, step)
            loop = make_step_loop(state, recipe, strategy, terms, until_step)
        next_eval = (step // cadence.steps_per_eval + 1) * cadence.steps_per_eval
        end = min(step + cadence.iterations_per_loop, next_eval, loop.until_step, total_steps)
        loop.run(iterator, tf.constant(end - step))
        values, not_finite = loop.metrics.take()
        if not_finite:
            raise FloatingPointError(f"not finite in steps {step + 1} to {end}: {', '.join(not_finite)}")
        step = end
        for watcher in watchers:
            watcher.train_values(step, {**values, "learning_rate": state.learning_rate()})


def _phase_at(recipe: Recipe, step: int) -> tuple[tuple[Term, ...], int]:
    """The terms in force at a step, and the step at which they end."""
    for phase in recipe.phases:
        until = recipe.total_steps
        if phase.until_epoch is not None:
            # Rounded first: the product of 2 steps may be 2.0000000001, which is not a third one.
            until = min(until, math.ceil(round(phase.until_epoch * recipe.steps_per_epoch, 6)))
        if step < until:
            return phase.terms, until
    raise ValueError(f"no phase of scheme {recipe.scheme} covers step {step}")

"""A training run: its state, its training loop, and the files in its folder."""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

import tpu_utils
from efficientnet_advprop.data import train_dataset
from efficientnet_advprop.evaluation import ATTACKED_IMAGES, adversarial_examples
from efficientnet_advprop.models.layers import gradients_are_by_group
from efficientnet_advprop.models.weights import load_keras_weights
from efficientnet_advprop.modes.loaded_network import has_other_classes
from efficientnet_advprop.modes.session import Session, scheme_and_dataset
from efficientnet_advprop.recipes import EVALUATION_ATTACK, RecipeError, WeightsRecord
from efficientnet_advprop.reporting import (
    FIGURES_FOLDER,
    BadImagesByEpoch,
    MetricsLog,
    ProgressDisplay,
    ReportOfRun,
    describe_recipe,
    describe_variables,
    summary_table,
    write_image_strip,
    write_run_report,
)
from efficientnet_advprop.training import run_folder
from efficientnet_advprop.training.checkpoints import Checkpoints, find
from efficientnet_advprop.training.interruption import StopRequest
from efficientnet_advprop.training.loop import train
from efficientnet_advprop.training.memory import MemoryEstimate, step_memory
from efficientnet_advprop.training.objective import Batch
from efficientnet_advprop.training.state import TrainState, create_train_state

_STRIP_IMAGES = 8
_BY_GROUP = "grouped convolutions: their gradients are computed group by group, as TensorFlow has none on a CPU"


class TrainingRun(Session):
    """Trains the recipe's network in `options.model_dir`; evaluates and exports its averaged weights.

    `weights` are the initial weights; None starts from random ones.
    """

    log: MetricsLog | None = None

    @functools.cached_property
    def state(self) -> TrainState:
        """Weights, averages and optimizer; created on first use, because a deep network takes long to build."""
        return create_train_state(self.strategy, self.make_model, self.recipe, self.options.jit_compile)

    @functools.cached_property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        on_tpu = isinstance(self.strategy, tf.distribute.TPUStrategy)
        return Checkpoints(
            self.state,
            WeightsRecord(self.recipe, self.class_names),
            self.options.model_dir,
            self.write_dir,
            self.recipe.cadence.keep_checkpoint_max,
            io_device="/job:localhost" if on_tpu else None,
        )

    @property
    def evaluated_model(self) -> tf.keras.Model:
        """The network with the averaged weights."""
        return self.state.average_model

    @property
    def step(self) -> int:
        """Number of updates so far."""
        return self.state.step

    @property
    def weights_in_words(self) -> str:
        """A description of the evaluated weights, for reports."""
        return f"averaged, of this run, step {self.step}"

    @property
    def trained_with(self) -> tuple[str, str]:
        """Scheme and data set of the run."""
        return scheme_and_dataset(self.recipe)

    @property
    def checkpoint_path(self) -> str:
        """The newest checkpoint."""
        return find(self.options.model_dir, "last", self.say)

    def own_folder(self) -> contextlib.AbstractContextManager[None]:
        """As `run_folder.own`, for the chief: the other workers write to their scratch folders."""
        if not self.is_chief:
            return contextlib.nullcontext()
        return run_folder.own(self.options.model_dir, self.recipe, (FIGURES_FOLDER,))

    def _estimated_memory(self) -> MemoryEstimate:
        model, replicas = self.state.model, self.strategy.num_replicas_in_sync
        images = self.recipe.train_batch_size // replicas // self.recipe.micro_batches
        value_bytes = tf.as_dtype(model.compute_dtype).size
        on_tpu = isinstance(self.strategy, tf.distribute.TPUStrategy)
        return step_memory(model, self.recipe, images, self.options.remat, value_bytes, on_tpu)

    def train(self, with_evaluation: bool) -> float:
        """Train from the newest checkpoint to the end; returns the run's training time in seconds, resumes included."""
        self.say(describe_recipe(self.recipe))
        self.say(f"memory, estimated: {self._estimated_memory()}")
        self.say(describe_variables(self.state.model.partition()))
        if gradients_are_by_group(self.state.model) and not self.options.jit_compile:
            self.say(_BY_GROUP)
        step = self._restore()
        if self.is_chief:
            write = ReportOfRun(self.recipe, self.options).after_evaluation
            self.log = MetricsLog(self.options.model_dir, step, self.recipe.steps_per_epoch, write)
        evaluated = tpu_utils.number_of_chief(self.strategy, self.log.last_evaluated_step if self.log else 0)
        bad_images = BadImagesByEpoch(step, self.recipe.steps_per_epoch, self.recipe.total_steps, self.say)
        progress = ProgressDisplay(self.recipe.total_steps, step, self.is_chief)
        is_shared = isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)
        with StopRequest(is_shared) as stop, progress:

            def stop_signal() -> int | None:
                any_stops = tpu_utils.any_worker(self.strategy, stop.signal_number is not None)
                return (stop.signal_number or StopRequest.DEFAULT) if any_stops else None

            train(
                self.state,
                self.recipe,
                self.strategy,
                self._train_iterator,
                self.checkpoints,
                self.evaluate_clean if with_evaluation else None,
                evaluated,
                (self.log, progress, bad_images) if self.log else (progress,),
                stop_signal,
                stop.at_once,
            )
        return self.log.train_seconds if self.log else 0.0

    def _restore(self) -> int:
        """Restore the newest checkpoint, or else load the given initial weights; returns the step."""
        step = self.checkpoints.restore_latest(self.say)
        if tpu_utils.number_of_chief(self.strategy, step) != step:
            raise RecipeError(
                f"this worker finds step {step} in {self.options.model_dir}, the chief another: all workers must share "
                "this folder"
            )
        if step:
            self.say(f"resuming at step {step} of {self.recipe.total_steps}")
        elif self.weights is not None:
            self.describe_weights(self.recipe.init_ema)
            self._load_weights()
            self.state.moving_average.reset()
        elif self.recipe.keras_weights is not None:
            load_keras_weights(self.state.model, self.recipe.keras_weights)
            self.say(f"weights: {self.recipe.keras_weights}, of tf.keras.applications")
            self.state.moving_average.reset()
        return step

    def _load_weights(self) -> None:
        """Load the given weights; the classifier keeps its initial values where the classes are others."""
        model = self.state.model
        initial = [variable.numpy() for variable in model.classifier.weights]
        notes = self.weights.load(
            model, self.recipe.init_ema, self.options.allow_extra_variables, skip_other_classifier=True
        )
        self.say_notes(notes)
        if has_other_classes(self.weights, self.source):
            model.classifier.set_weights(initial)

    def _train_iterator(self, start_step: int) -> Iterator[Batch]:
        return iter(
            self.strategy.distribute_datasets_from_function(
                lambda context: train_dataset(self.source, self.recipe, context, start_step, self.options.input)
            )
        )

    def draw_examples(self) -> str | None:
        """Draw evaluation images before and after the attack of `top1_pgd`, first those whose predictions change.

        Training's own attack may be too weak to look at: one step of one pixel changes 1 of 64 predictions of the
        digits demo, this one 56.

        Returns:
            The path of the PNG, None if the drawing failed.
        """
        branch, attack = self.attacked_branch, EVALUATION_ATTACK
        batches, seed = self.eval_batches(), self.recipe.seed
        examples = adversarial_examples(
            self.strategy, self.evaluated_model, batches, branch, attack, ATTACKED_IMAGES, seed
        )
        path = os.path.join(self.options.model_dir, "adversarial_examples.png")
        if self.is_chief:
            changes = f"{examples.changes_in_words()}{', shown first' if examples.changed.any() else ''}"
            title = f"The attack of top1_pgd, {branch} branch: {attack.summary()}; {changes}"
            if not write_image_strip(path, examples.changed_first(_STRIP_IMAGES), self.class_names, title):
                return None
            self.log.image("adversarial_examples", self.state.step, path)
        return path

    def finish(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Write the report, then record and print the summary, with the report's path; returns it."""
        if self.is_chief:
            summary = {**summary, "report": write_run_report(self.recipe, self.options, summary)}
            run_folder.write_summary(self.options.model_dir, summary)
        self.say(summary_table(summary))
        self.remove_scratch()
        return summary

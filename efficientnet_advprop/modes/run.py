"""The parts of a run, put together: devices, networks, data, evaluators, checkpoints, files."""

import functools
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

import tpu_utils
from efficientnet_advprop.data import IMAGENET_CLASSES, Source, class_names, eval_dataset, named_synsets, train_dataset
from efficientnet_advprop.evaluation import CleanAccuracy, PgdAccuracy, adversarial_examples, run_all
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.weights import Weights
from efficientnet_advprop.recipes import (
    EVALUATION_ATTACK,
    Recipe,
    RecipeError,
    RunOptions,
    WeightsRecord,
    refuse_other_classes,
    scheme_named,
)
from efficientnet_advprop.reporting import (
    BadImagesByEpoch,
    MetricsLog,
    ProgressDisplay,
    describe_recipe,
    describe_variables,
    summary_table,
    write_image_strip,
)
from efficientnet_advprop.training import run_folder
from efficientnet_advprop.training.checkpoints import Checkpoints, find
from efficientnet_advprop.training.interruption import StopRequest
from efficientnet_advprop.training.loop import train
from efficientnet_advprop.training.memory import estimate_memory
from efficientnet_advprop.training.objective import Batch
from efficientnet_advprop.training.state import TrainState, create_train_state

_STRIP_IMAGES = 8


def connect(options: RunOptions) -> tf.distribute.Strategy:
    """The devices that the options ask for, connected."""
    return tpu_utils.connect(options.strategy, options.tpu, options.tpu_zone, options.gcp_project)


def check_batches(recipe: Recipe, strategy: tf.distribute.Strategy, training: bool, evaluation: bool) -> None:
    """Refuse batches that the replicas cannot share equally, or of which the scheme cannot use a replica's part.

    Raises:
        RecipeError: naming the flag and the numbers.
    """
    sizes = {}
    if training:
        sizes["train_batch_size"] = (recipe.train_batch_size, recipe.micro_batches)
    if evaluation:
        sizes["eval_batch_size"] = (recipe.cadence.eval_batch_size, 1)
    for flag, (size, micro_batches) in sizes.items():
        try:
            tpu_utils.per_replica_batch_size(size, strategy.num_replicas_in_sync, micro_batches)
        except tpu_utils.DeviceError as error:
            raise RecipeError(f"--{flag}: {error}") from error
    if training:
        scheme_named(recipe.scheme).validate(recipe.scheme_settings(strategy.num_replicas_in_sync))


class Run:
    """The parts of one run, assembled.

    Under several workers every one of them goes through the same calls, since all take part in what crosses replicas;
    only the chief writes to the run's folder and talks.

    Args:
        recipe: what to compute.
        options: where and how.
        source: the data set; None for what needs no data.
        weights: trained weights: where training starts from, or what is evaluated, predicts or is exported.
        strategy: devices that an earlier run of this process has connected; collectives allow one strategy a process.
    """

    def __init__(
        self,
        recipe: Recipe,
        options: RunOptions,
        source: Source | None,
        weights: Weights | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.recipe, self.options, self.source, self.weights = recipe, options, source, weights
        self.strategy = strategy or connect(options)
        if not tf.config.list_physical_devices("GPU"):
            # As the official trainer does: on a deep network Grappler takes a minute before the first step and makes no
            # step faster. GPUs keep it for its choice of memory layouts.
            tpu_utils.set_graph_optimizer(False)
        self.is_chief = tpu_utils.is_chief(self.strategy)
        self.write_dir = options.model_dir
        if not self.is_chief:
            self.write_dir = os.path.join(options.model_dir, f".worker-{self.strategy.cluster_resolver.task_id}")
            self.remove_scratch()  # what a killed process may have left
        self.precision = tpu_utils.set_precision(options.use_bfloat16, self.strategy)
        self.say(f"devices: {tpu_utils.describe(self.strategy)}; precision {self.precision}")
        self.log: MetricsLog | None = None
        self._read_model: tf.keras.Model | None = None
        self._clean_results: tuple[int, dict[str, float]] | None = None

    def say(self, line: str) -> None:
        """Tell the user, once per run."""
        if self.is_chief:
            print(line, flush=True)

    def remove_scratch(self) -> None:
        """Remove what a worker other than the chief had to write."""
        if not self.is_chief and tf.io.gfile.exists(self.write_dir):
            tf.io.gfile.rmtree(self.write_dir)

    @functools.cached_property
    def state(self) -> TrainState:
        """Weights, averages and optimizer; made when first asked for, since a deep network takes its time."""
        return create_train_state(self.strategy, self._make_model, self.recipe)

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
    def class_names(self) -> tuple[str, ...]:
        """Names in label order, by the data set, else by the weights, else by the number of classes."""
        num_classes = self.recipe.data.num_label_classes
        known = (holder.class_names for holder in (self.source, self.weights) if holder is not None)
        return next(
            (named_synsets(names) for names in known if names and len(names) == num_classes), class_names(num_classes)
        )

    def require_same_classes(self) -> None:
        """Refuse weights that were trained on other classes than the data have.

        Raises:
            RecipeError: naming the first difference.
        """
        ours, theirs = self.source.class_names, self.weights.class_names if self.weights else None
        theirs = named_synsets(theirs) if theirs else None  # which runs on TFDS's ImageNet once recorded
        if ours and theirs and ours != theirs:
            refuse_other_classes(self.weights.facts.path, theirs, self.source.facts.where, ours)

    @property
    def evaluated_model(self) -> tf.keras.Model:
        """What evaluation, prediction and export use: weights that were read, or the averaged ones of training."""
        return self._read_model or self.state.average_model

    @property
    def attacked_branch(self) -> str:
        """The branch that evaluation attacks: the recipe's, but for a SavedModel the only one it has."""
        branch, branches = self.recipe.cadence.eval_branch, self.evaluated_model.branches
        return branch if branch in branches else branches[0]

    @property
    def step(self) -> int | None:
        """Updates that made the evaluated weights; None if unknown."""
        return self.weights.step if self._read_model else self.state.step

    @property
    def weights_in_words(self) -> str:
        """What the evaluated weights are, for a person."""
        if self._read_model is None:
            return f"averaged, of this run, step {self.step}"
        if self.weights.facts.is_graph:
            return self.weights.origin
        return f"{'averaged' if self.options.ema else 'raw'}, {self.weights.origin}"

    @property
    def scheme_and_dataset(self) -> tuple[str | None, str | None]:
        """What the evaluated weights were trained with and on; None for what is not known of weights from elsewhere."""
        if self._read_model is None or self.weights.facts.recipe is not None:
            data = self.recipe.data
            # `imagenet` is also what a folder goes by that no flag gives a name.
            is_some_folder = data.dataset == "imagenet" and data.num_label_classes != IMAGENET_CLASSES
            dataset = f"images of {data.num_label_classes} classes" if is_some_folder else data.dataset
            return self.recipe.scheme, dataset
        if self.weights.facts.is_graph:
            return self.weights.facts.scheme, self.weights.facts.dataset
        is_advprop = self.recipe.network.preprocessing == "advprop"  # no other official weights use it
        return ("advprop" if is_advprop else None), None

    @property
    def checkpoint_path(self) -> str:
        """The checkpoint that holds the evaluated weights."""
        return self.weights.facts.path if self._read_model else find(self.options.model_dir, "last")

    def check_batches(self, training: bool, evaluation: bool) -> None:
        """Refuse batches that the replicas cannot share equally.

        Raises:
            RecipeError: naming the flag and the numbers.
        """
        check_batches(self.recipe, self.strategy, training, evaluation)

    def _make_model(self) -> tf.keras.Model:
        return build_model(
            self.recipe.network,
            num_classes=self.recipe.data.num_label_classes,
            branches=self.recipe.branches,
            remat=self.options.remat,
        )

    def _train_iterator(self, start_step: int) -> Iterator[Batch]:
        return iter(
            self.strategy.distribute_datasets_from_function(
                lambda context: train_dataset(self.source, self.recipe, context, start_step, self.options.input)
            )
        )

    def _eval_batches(self) -> tf.distribute.DistributedDataset:
        return self.strategy.distribute_datasets_from_function(
            lambda context: eval_dataset(self.source, self.recipe, context, self.options.input)
        )

    def train(self, with_evaluation: bool) -> float:
        """Train from the newest checkpoint to the end; returns the seconds of training in all processes of the run."""
        self.say(describe_recipe(self.recipe))
        memory = estimate_memory(self.state, self.recipe, self.strategy.num_replicas_in_sync, self.options.remat)
        self.say(f"memory, estimated: {memory}")
        self.say(describe_variables(self.state.model.partition()))
        step = self.checkpoints.restore_latest()
        if tpu_utils.number_of_chief(self.strategy, step) != step:
            raise RecipeError(f"this worker finds step {step} in {self.options.model_dir}, the chief another: share it")
        if step:
            self.say(f"resuming at step {step} of {self.recipe.total_steps}")
        elif self.weights is not None:
            self._start_from_weights()
        if self.is_chief:
            self.log = MetricsLog(self.options.model_dir, step, self.recipe.steps_per_epoch)
        evaluated = tpu_utils.number_of_chief(self.strategy, self.log.last_evaluated_step if self.log else 0)
        bad_images = BadImagesByEpoch(step, self.recipe.steps_per_epoch, self.recipe.total_steps, self.say)
        with StopRequest() as stop, ProgressDisplay(self.recipe.total_steps, step, self.is_chief) as progress:

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
                (progress, self.log, bad_images) if self.log else (progress,),
                stop_signal,
            )
        return self.log.train_seconds if self.log else 0.0

    def read_weights(self) -> None:
        """Make the given weights those that are evaluated, predict or are exported.

        Raises:
            RecipeError: when they cannot be read or are of another network.
        """
        self._describe_weights(self.options.ema)
        with self.strategy.scope():
            self._read_model, notes = self.weights.read(
                self._make_model, self.options.ema, self.options.allow_extra_variables
            )
        for note in notes:
            self.say(f"  {note}")

    def _start_from_weights(self) -> None:
        """Make the given weights those that training starts from, the averages included."""
        self._describe_weights(self.recipe.init_ema)
        notes = self.weights.load(
            self.state.model, self.recipe.init_ema, self.options.allow_extra_variables, skip_other_classifier=True
        )
        for note in notes:
            self.say(f"  {note}")
        self.state.moving_average.reset()

    def _describe_weights(self, ema: bool) -> None:
        facts = self.weights.facts
        kind = "as exported" if facts.is_graph else "averaged" if ema else "raw"
        self.say(f"weights: {kind}, {self.weights.origin}, {facts.path}")
        told = "recorded with them"
        if "network.preprocessing" in facts.hinted:
            told = "by the folder's name, --preprocessing overrides it"
        if facts.settings["network.preprocessing"] != self.recipe.network.preprocessing:
            told = "by --preprocessing"
        self.say(f"preprocessing: {self.recipe.network.preprocessing} ({told})")

    @functools.cached_property
    def _clean_accuracy(self) -> CleanAccuracy:
        return CleanAccuracy(
            self.strategy,
            self.evaluated_model,
            self._eval_batches,
            self.recipe.data.num_eval_images,
            self.evaluated_model.branches,
        )

    def evaluate_clean(self) -> dict[str, float]:
        """Accuracies of the evaluated weights on clean images, through every branch."""
        step = self.step
        if self._clean_results is None or self._clean_results[0] != step:
            self._clean_results = step, run_all([self._clean_accuracy])
        return self._clean_results[1]

    def evaluate(self) -> dict[str, float]:
        """All results of the evaluated weights."""
        branch = self.attacked_branch
        pgd_accuracy = PgdAccuracy(
            self.strategy,
            self.evaluated_model,
            self._eval_batches,
            self.recipe.data.num_eval_images,
            branch,
            EVALUATION_ATTACK,
            self.recipe.seed,
        )
        self.say(f"evaluating, top1_pgd through the {branch} branch under {EVALUATION_ATTACK.summary()}")
        return {**self.evaluate_clean(), **run_all([pgd_accuracy])}

    def draw_examples(self) -> str:
        """Draw the strip of adversarial images: the attack of training, or that of evaluation if there is none.

        It raises the cross-entropy, whatever loss training attacks.
        """
        branch, spec = self.recipe.cadence.eval_branch, EVALUATION_ATTACK
        if self.recipe.attacking_terms:
            term = self.recipe.attacking_terms[0]
            branch, spec = term.branch, term.attack
        examples = adversarial_examples(
            self.strategy,
            self.evaluated_model,
            self._eval_batches(),
            branch,
            spec,
            _STRIP_IMAGES,
            self.recipe.seed,
        )
        names = self.class_names
        captions = [
            (f"is {names[label]}, seen as {names[clean]}", f"seen as {names[adversarial]}")
            for label, clean, adversarial in zip(
                examples.labels, examples.clean_classes, examples.adversarial_classes, strict=True
            )
        ]
        path = os.path.join(self.options.model_dir, "adversarial_examples.png")
        if self.is_chief:
            title = f"{spec.summary()}, {branch} branch"
            write_image_strip(path, examples.clean, examples.adversarial, captions, title)
            self.log.image("adversarial_examples", self.state.step, path)
        return path

    def record_recipe(self) -> None:
        """Make the run's folder this recipe's.

        Raises:
            RecipeError: when the folder cannot be written.
        """
        if self.is_chief:
            run_folder.record_recipe(self.options.model_dir, self.recipe)

    def finish(self, summary: dict[str, Any]) -> None:
        """Record and show the summary."""
        if self.is_chief:
            run_folder.write_summary(self.options.model_dir, summary)
        self.say(summary_table(summary))
        self.remove_scratch()

"""The base of every mode with a network: devices, precision, output of the chief worker, evaluation of weights."""

import contextlib
import functools
import logging
import os
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

import tpu_utils
from efficientnet_advprop.data import IMAGENET_CLASSES, Source, class_names, eval_dataset, named_synsets
from efficientnet_advprop.evaluation import Batch, PredictionCollector, strength, through_branches, under_attack
from efficientnet_advprop.locks import hold
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.weights import Weights
from efficientnet_advprop.recipes import EVALUATION_ATTACK, Recipe, RecipeError, RunOptions, scheme_named
from efficientnet_advprop.reporting import progress_bar
from efficientnet_advprop.training.interruption import handle_again


def connect(options: RunOptions) -> tf.distribute.Strategy:
    """Connect to the devices of the options.

    Raises:
        RecipeError: for `jit_compile` on a TPU.
        tpu_utils.DeviceError: when devices cannot be found or reached.
    """
    strategy = tpu_utils.connect(options.strategy, options.tpu, options.tpu_zone, options.gcp_project)
    if options.jit_compile and isinstance(strategy, tf.distribute.TPUStrategy):
        raise RecipeError("--jit_compile would have no effect: on a TPU the whole step is compiled already")
    handle_again()
    return strategy


def expect_many_graphs() -> None:
    """Drop a warning: from the sixth network on, TensorFlow mistakes new graphs for retracing of the same one."""
    tf.get_logger().addFilter(_is_not_about_retracing)


def check_batches(recipe: Recipe, strategy: tf.distribute.Strategy, training: bool, evaluation: bool) -> None:
    """Refuse batch sizes that the replicas do not divide, or that leave a replica too few images for the scheme.

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


def class_names_of(recipe: Recipe, *holders: Source | Weights | None) -> tuple[str, ...]:
    """Names in label order: those of the first holder that has them for all classes, else defaults for their number."""
    num_classes = recipe.data.num_label_classes
    known = (holder.class_names for holder in holders if holder is not None)
    return next(
        (named_synsets(names) for names in known if names and len(names) == num_classes), class_names(num_classes)
    )


def scheme_and_dataset(recipe: Recipe) -> tuple[str, str]:
    """The recipe's scheme and a description of its data set."""
    data = recipe.data
    # A folder of images without --dataset is named `imagenet` too.
    is_some_folder = data.dataset == "imagenet" and data.num_label_classes != IMAGENET_CLASSES
    return recipe.scheme, f"images of {data.num_label_classes} classes" if is_some_folder else data.dataset


class Session:
    """A recipe on devices, with weights to evaluate.

    `TrainingRun` evaluates the weights that it trains, `LoadedNetwork` those that it reads from a file.

    With several workers each of them makes the same calls, because all take part in collective operations. Only the
    chief writes to the run's folder and prints.

    Attributes:
        evaluated_model: the network with the weights that are evaluated and exported.
        step: number of updates of these weights; None if unknown.
        weights_in_words: a description of these weights, for reports.
        trained_with: scheme and data set of these weights; None where unknown.
        checkpoint_path: the checkpoint that holds them.

    Args:
        recipe: network, data, batch sizes, evaluation.
        options: files, devices and input pipeline.
        source: the data set; None if the mode needs no data.
        weights: trained weights from a file; None without.
        strategy: devices that this process has already connected; collectives allow one strategy per process.
    """

    evaluated_model: tf.keras.Model
    step: int | None
    weights_in_words: str
    trained_with: tuple[str | None, str | None]
    checkpoint_path: str

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
            # As in the official trainer: on a deep network Grappler takes a minute before the first step and makes no
            # step faster. GPUs need it for the layout of tensors.
            tpu_utils.set_graph_optimizer(False)
        self.is_chief = tpu_utils.is_chief(self.strategy)
        self.write_dir = options.model_dir
        if not self.is_chief:
            self.write_dir = os.path.join(options.model_dir, f".worker-{self.strategy.cluster_resolver.task_id}")
            self.remove_scratch()  # a killed process may have left files
        self.precision = tpu_utils.set_precision(options.precision, self.strategy)
        self.say(f"devices: {tpu_utils.describe(self.strategy)}; precision {self.precision}")
        self._clean_results: tuple[int | None, dict[str, float]] | None = None

    def say(self, line: str) -> None:
        """Print a line, on the chief only."""
        if self.is_chief:
            print(line, flush=True)

    def hold(self, what: str, folder: str, inside: tuple[str, ...] = ()) -> contextlib.AbstractContextManager[None]:
        """As `locks.hold`, for the chief: the other workers write to their scratch folders."""
        return hold(what, folder, inside) if self.is_chief else contextlib.nullcontext()

    def remove_scratch(self) -> None:
        """Remove the scratch folder of a worker other than the chief."""
        if not self.is_chief and tf.io.gfile.exists(self.write_dir):
            tf.io.gfile.rmtree(self.write_dir)

    def check_batches(self, training: bool, evaluation: bool) -> None:
        """As the function `check_batches`, for this recipe and these devices."""
        check_batches(self.recipe, self.strategy, training, evaluation)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order: those of the data set, else of the weights, else defaults for the number of classes."""
        return class_names_of(self.recipe, self.source, self.weights)

    @property
    def attacked_branch(self) -> str:
        """The branch that evaluation attacks: that of the recipe, or the only one of a SavedModel."""
        branch, branches = self.recipe.cadence.eval_branch, self.evaluated_model.branches
        return branch if branch in branches else branches[0]

    def evaluate_clean(self) -> dict[str, float]:
        """Accuracies (fractions) of the evaluated weights on clean images, through every branch."""
        step = self.step
        if self._clean_results is None or self._clean_results[0] != step:
            num_images = self.recipe.data.num_eval_images
            batches = self.with_progress(self.eval_batches(), num_images, "evaluation")
            predictions, num_bad = self._clean_collector.collect(batches, num_images)
            values = {
                f"{name}_{branch}": value
                for branch, predicted in predictions.items()
                for name, value in predicted.scores().items()
            }
            self._clean_results = step, {**values, **({"bad_images": num_bad} if num_bad else {})}
        return self._clean_results[1]

    def evaluate(self) -> dict[str, float]:
        """Accuracies on clean images and, as `top1_pgd`, at the last point of `EVALUATION_ATTACK`."""
        branch, attack = self.attacked_branch, EVALUATION_ATTACK
        self.say(f"evaluating, top1_pgd through the {branch} branch under {attack.summary()}")
        clean = self.evaluate_clean()
        predict = under_attack(self.evaluated_model, branch, attack, "last", restarts=1, seed=self.recipe.seed)
        collector = PredictionCollector(self.strategy, predict)
        num_images = self.recipe.data.num_eval_images
        batches = self.with_progress(self.eval_batches(), num_images, "evaluation under attack")
        predictions, _ = collector.collect(batches, num_images, strength(attack))
        return {**clean, "top1_pgd": predictions["pgd"].scores()["top1"]}

    def make_model(self) -> tf.keras.Model:
        """A new network of the recipe, with all its branches."""
        return build_model(
            self.recipe.network,
            num_classes=self.recipe.data.num_label_classes,
            branches=self.recipe.branches,
            remat=self.options.remat,
        )

    def describe_weights(self, ema: bool) -> None:
        """Print which weights are used, and what determines their preprocessing."""
        facts = self.weights.facts
        self.say(f"weights: {facts.kind(ema)}, {self.weights.origin}, {facts.path}")
        origin = "recorded with them"
        if facts.hinting_folder is not None:
            origin = f"as the folder {facts.hinting_folder} is in the path; --preprocessing overrides it"
        if facts.settings["network.preprocessing"] != self.recipe.network.preprocessing:
            origin = "by --preprocessing"
        self.say(f"preprocessing: {self.recipe.network.preprocessing} ({origin})")

    def say_notes(self, notes: Iterable[str]) -> None:
        """Print the notes of reading weights."""
        for note in notes:
            self.say(f"  {note}")

    def eval_batches(self) -> Any:
        """A new pass over the distributed evaluation batches."""
        return self.strategy.distribute_datasets_from_function(
            lambda context: eval_dataset(self.source, self.recipe, context, self.options.input)
        )

    def with_progress(self, batches: Iterable[Batch], num_images: int, what: str) -> Iterable[Batch]:
        """Evaluation batches that show how many of them are done, on the chief only."""
        total = -(-num_images // self.recipe.cadence.eval_batch_size)
        return progress_bar(batches, total, "batch", what) if self.is_chief else batches

    @functools.cached_property
    def _clean_collector(self) -> PredictionCollector:
        return PredictionCollector(self.strategy, through_branches(self.evaluated_model, self.evaluated_model.branches))


def _is_not_about_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()

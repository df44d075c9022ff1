"""Train, evaluate and export networks with AdvProp.

    python main.py --model=efficientnet-b7 --advprop

trains on the handwritten digits that come with scikit-learn; `--data_dir` names a folder of ImageNet TFRecords.
"""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import tensorflow as tf
from absl import app
from absl import flags as absl_flags

import flags
import tpu_utils
from efficientnet_advprop.data import eval_dataset, open_source, train_dataset
from efficientnet_advprop.evaluation import CleanAccuracy, PgdAccuracy, adversarial_examples, run_all
from efficientnet_advprop.export import ExportError, export_saved_model
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import EVALUATION_ATTACK, MAIN_BRANCH, Recipe, RecipeError, differences
from efficientnet_advprop.reporting import (
    METRICS_FILE,
    MetricsLog,
    ProgressDisplay,
    describe_recipe,
    summary_table,
    write_image_strip,
)
from efficientnet_advprop.training import model_dir as run_folder
from efficientnet_advprop.training.checkpoints import Checkpoints
from efficientnet_advprop.training.interruption import Interrupted, StopRequest
from efficientnet_advprop.training.loop import train
from efficientnet_advprop.training.memory import estimate_memory
from efficientnet_advprop.training.objective import Batch
from efficientnet_advprop.training.state import create_train_state

DIGITS_NOTICE = (
    "data: the 1,797 handwritten digits of scikit-learn; for ImageNet pass --data_dir=FOLDER with the TFRecords "
    "train-*-of-* and validation-*-of-*"
)
_STRIP_PICTURES = 8


class Run:
    """The parts of one run, assembled.

    Args:
        recipe: what to compute.
        options: where and how.
    """

    def __init__(self, recipe: Recipe, options: flags.RunOptions) -> None:
        self.recipe, self.options = recipe, options
        self.source = open_source(recipe.data, options.data_dir)
        self.strategy = tpu_utils.connect(options.strategy, options.tpu, options.tpu_zone, options.gcp_project)
        if not tf.config.list_physical_devices("GPU"):
            # As the official trainer does: on a deep network Grappler takes a minute before the first step and makes no
            # step faster. GPUs keep it for its choice of memory layouts.
            tpu_utils.set_graph_optimizer(False)
        replicas = self.strategy.num_replicas_in_sync
        tpu_utils.per_replica_batch_size(recipe.train_batch_size, replicas, recipe.micro_batches)
        tpu_utils.per_replica_batch_size(recipe.cadence.eval_batch_size, replicas)
        self.is_chief = tpu_utils.is_chief(self.strategy)
        if self.is_chief:
            run_folder.claim(options.model_dir, recipe)
        self.write_dir = options.model_dir
        if not self.is_chief:
            self.write_dir = os.path.join(options.model_dir, f".worker-{self.strategy.cluster_resolver.task_id}")
        precision = tpu_utils.set_precision(options.use_bfloat16, self.strategy)
        self.say(f"devices: {tpu_utils.describe(self.strategy)}; precision {precision}")
        self.state = create_train_state(self.strategy, self._make_model, recipe)
        self.checkpoints = Checkpoints(
            self.state, options.model_dir, self.write_dir, recipe.cadence.keep_checkpoint_max
        )

    def say(self, line: str) -> None:
        """Tell the user, once per run."""
        if self.is_chief:
            print(line, flush=True)

    def _make_model(self) -> tf.keras.Model:
        return build_model(
            self.recipe.network,
            num_classes=self.recipe.data.num_label_classes,
            branches=self.recipe.branches,
            remat=self.options.remat,
        )

    def _make_served_model(self) -> tf.keras.Model:
        """The network with the main branch alone, in float32 whatever training computed in."""
        policy = tf.keras.mixed_precision.global_policy()
        tf.keras.mixed_precision.set_global_policy("float32")
        try:
            return build_model(
                self.recipe.network, num_classes=self.recipe.data.num_label_classes, branches=(MAIN_BRANCH,)
            )
        finally:
            tf.keras.mixed_precision.set_global_policy(policy)

    def _train_iterator(self, start_step: int) -> Iterator[Batch]:
        return iter(
            self.strategy.distribute_datasets_from_function(
                lambda context: train_dataset(self.source, self.recipe, context, start_step)
            )
        )

    def _eval_batches(self) -> tf.distribute.DistributedDataset:
        return self.strategy.distribute_datasets_from_function(
            lambda context: eval_dataset(self.source, self.recipe, context)
        )

    def train(self, with_evaluation: bool) -> float:
        """Train from the newest checkpoint to the end; returns the seconds it took over all sessions."""
        self.say(describe_recipe(self.recipe))
        memory = estimate_memory(self.state, self.recipe, self.strategy.num_replicas_in_sync, self.options.remat)
        self.say(f"memory, estimated: {memory}")
        step = self.checkpoints.restore_latest()
        if step:
            self.say(f"resuming at step {step} of {self.recipe.total_steps}")
        metrics_log = MetricsLog(self.write_dir, step, self.recipe.steps_per_epoch)
        clean_accuracy = self._clean_accuracy()
        with StopRequest() as stop, ProgressDisplay(self.recipe.total_steps, step, self.is_chief) as progress:
            train(
                self.state,
                self.recipe,
                self.strategy,
                self._train_iterator,
                self.checkpoints,
                (lambda: run_all([clean_accuracy])) if with_evaluation else None,
                (progress, metrics_log),
                stop,
            )
        return metrics_log.train_seconds

    def _clean_accuracy(self) -> CleanAccuracy:
        return CleanAccuracy(
            self.strategy,
            self.state.average_model,
            self._eval_batches,
            self.recipe.data.num_eval_images,
            self.recipe.branches,
        )

    def evaluate(self) -> dict[str, float]:
        """All results of the averaged weights."""
        pgd_accuracy = PgdAccuracy(
            self.strategy,
            self.state.average_model,
            self._eval_batches,
            self.recipe.data.num_eval_images,
            MAIN_BRANCH,
            EVALUATION_ATTACK,
            self.recipe.seed,
        )
        self.say(f"evaluating, top1_pgd under {EVALUATION_ATTACK.summary()}")
        return run_all([self._clean_accuracy(), pgd_accuracy])

    def draw_examples(self) -> str:
        """Write the strip of adversarial pictures: the attack of training, or that of evaluation if there is none."""
        attacked = [term for phase in self.recipe.phases for term in phase.terms if term.attack]
        branch, spec = (attacked[0].branch, attacked[0].attack) if attacked else (MAIN_BRANCH, EVALUATION_ATTACK)
        examples = adversarial_examples(
            self.strategy,
            self.state.average_model,
            self._eval_batches(),
            branch,
            spec,
            _STRIP_PICTURES,
            self.recipe.seed,
        )
        names = self.source.class_names
        path = os.path.join(self.write_dir, "adversarial_examples.png")
        write_image_strip(
            path,
            examples.clean,
            examples.adversarial,
            [
                (f"is {names[label]}, seen as {names[clean]}", f"seen as {names[adversarial]}")
                for label, clean, adversarial in zip(
                    examples.labels, examples.clean_classes, examples.adversarial_classes, strict=True
                )
            ],
            f"{spec.summary()}, {branch} branch",
        )
        return path

    def export(self) -> str:
        """Write the SavedModel of the averaged weights, main branch alone."""
        first = self.strategy.experimental_local_results(next(iter(self._eval_batches()))["images"])[0].numpy()
        export_dir = self.options.export_dir if self.is_chief else os.path.join(self.write_dir, "saved_model")
        return export_saved_model(
            self.state.average_model, self._make_served_model, export_dir, first[:_STRIP_PICTURES]
        )

    def finish(self, summary: dict[str, Any]) -> None:
        """Record and show the summary."""
        if self.is_chief:
            run_folder.write_summary(self.options.model_dir, summary)
        else:
            tf.io.gfile.rmtree(self.write_dir)
        self.say(summary_table(summary))


def train_and_evaluate(recipe: Recipe, options: flags.RunOptions) -> dict[str, float]:
    """Train, evaluate, draw, export; returns the results, which `summary.json` records too."""
    summary = run_folder.read_summary(options.model_dir)
    if summary is not None:
        run_folder.claim(options.model_dir, recipe)
        if summary["step"] >= recipe.total_steps:
            print(f"this run is finished: {options.model_dir} is at step {summary['step']}")
            print(summary_table(summary))
            return summary
    run = Run(recipe, options)
    train_seconds = run.train(with_evaluation=True)
    summary = {
        "model": recipe.network.name,
        "dataset": recipe.data.dataset,
        "scheme": recipe.scheme,
        "step": run.state.step,
        **run.evaluate(),
        "evaluation_attack": dataclasses.asdict(EVALUATION_ATTACK),
        "train_seconds": round(train_seconds, 1),
        "adversarial_examples": run.draw_examples(),
        "saved_model": run.export(),
        "metrics": os.path.join(options.model_dir, METRICS_FILE),
    }
    run.finish(summary)
    return summary


def train_only(recipe: Recipe, options: flags.RunOptions) -> None:
    """Train to the last step; evaluation is another process's work (`--mode=eval`)."""
    run = Run(recipe, options)
    run.train(with_evaluation=False)
    run.say(f"trained to step {run.state.step}: {options.model_dir}")


def evaluate(recipe: Recipe, options: flags.RunOptions) -> None:
    """Evaluate a checkpoint of a run."""
    run = Run(recipe, options)
    step = run.checkpoints.restore(options.checkpoint)
    run.say(f"{options.checkpoint} checkpoint of {options.model_dir}, step {step}")
    run.say(summary_table(run.evaluate()))


def export(recipe: Recipe, options: flags.RunOptions) -> None:
    """Export a checkpoint of a run."""
    run = Run(recipe, options)
    step = run.checkpoints.restore(options.checkpoint)
    run.say(f"{options.checkpoint} checkpoint of {options.model_dir}, step {step}")
    run.say(f"saved_model: {run.export()}")


def recorded_recipe(settings: flags.Settings) -> Recipe:
    """The recipe of the run in model_dir, with another cadence if flags say so.

    Raises:
        RecipeError: when there is no run, or a flag contradicts its recipe.
    """
    recorded = run_folder.recorded_recipe(settings.options.model_dir)
    recipe = settings.apply_to(recorded)
    recipe.validate()
    changed = differences(recorded, recipe)
    if changed:
        raise RecipeError(f"flags contradict the recipe of {settings.options.model_dir}: {'; '.join(changed)}")
    return recipe


def run_mode(settings: flags.Settings) -> None:
    """Do what --mode says."""
    options = settings.options
    if options.mode in ("train_and_eval", "train"):
        if settings.recipe.data.dataset == "digits":
            print(DIGITS_NOTICE)
        (train_and_evaluate if options.mode == "train_and_eval" else train_only)(settings.recipe, options)
    else:
        (evaluate if options.mode == "eval" else export)(recorded_recipe(settings), options)


def main(argv: Sequence[str]) -> None:
    """Run, and turn what a user can cause into one line and an exit code."""
    del argv
    try:
        run_mode(flags.settings_from_flags(absl_flags.FLAGS))
    except (RecipeError, tpu_utils.DeviceError) as error:
        fail(str(error), exit_code=2)
    except FloatingPointError as error:
        fail(f"{error}; the newest checkpoint is the last good one", exit_code=1)
    except ExportError as error:
        fail(f"export failed: {error}", exit_code=1)
    except tf.errors.ResourceExhaustedError as error:
        fail(
            f"out of memory ({error.message.splitlines()[0]}); try a smaller --train_batch_size, --micro_batches, "
            "--remat, or a smaller --eval_batch_size when it was evaluating",
            exit_code=1,
        )
    except Interrupted as stopped:
        fail(f"stopped by {stopped}, state saved; the same command resumes", exit_code=128 + stopped.signal_number)


def fail(message: str, exit_code: int) -> NoReturn:
    """Leave with one line."""
    print(f"error: {message}" if exit_code <= 2 else message, file=sys.stderr)
    sys.exit(exit_code)


if __name__ == "__main__":
    app.run(main, flags_parser=flags.parse_flags)

"""Train, evaluate and export networks with AdvProp.

    python main.py --model=efficientnet-b7 --advprop

trains on the handwritten digits that come with scikit-learn; `--data_dir` names a folder of ImageNet TFRecords or of
class folders.
"""

import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import tensorflow as tf
from absl import app, logging
from absl import flags as absl_flags

import flags
import tpu_utils
from efficientnet_advprop.data import (
    Source,
    bad_image_in,
    check_options,
    class_names,
    find_source,
    open_source,
    reason_without_ops,
)
from efficientnet_advprop.evaluation.passes import find_sets
from efficientnet_advprop.export import ExportedWeights, ExportError, is_saved_model, require_packages
from efficientnet_advprop.models.weights import Weights, open_weights
from efficientnet_advprop.modes.benchmarks import run_benchmarks
from efficientnet_advprop.modes.check_data import check_data
from efficientnet_advprop.modes.compare import run_comparison
from efficientnet_advprop.modes.export import export as export_weights
from efficientnet_advprop.modes.export import require_branch
from efficientnet_advprop.modes.predict import PREDICTIONS_FILE
from efficientnet_advprop.modes.predict import predict as predict_images
from efficientnet_advprop.modes.run import Run
from efficientnet_advprop.modes.study import run_study
from efficientnet_advprop.recipes import (
    EVALUATION_ATTACK,
    MAIN_BRANCH,
    Recipe,
    RecipeError,
    RunOptions,
    WeightsFacts,
    differences,
    first_line,
)
from efficientnet_advprop.reporting import METRICS_FILE, describe_data, prediction_table, summary_table
from efficientnet_advprop.training import checkpoints, run_folder
from efficientnet_advprop.training.interruption import Interrupted

absl_flags.adopt_module_key_flags(flags.definitions)  # --help shows the flags of the main module

DIGITS_NOTICE = (
    "data: the 1,797 handwritten digits of scikit-learn; for ImageNet pass --data_dir=FOLDER with the TFRecords "
    "train-*-of-* and validation-*-of-*, or with train/CLASS/ and val/CLASS/"
)


def train_and_evaluate(recipe: Recipe, options: RunOptions, source: Source, weights: Weights | None) -> dict[str, Any]:
    """Train, evaluate, draw, export; returns the results, which `summary.json` records too."""
    summary = run_folder.read_summary(options.model_dir)
    if summary is not None and "saved_model" not in summary:
        raise RecipeError(f"{options.model_dir} is a run of a study, whose weights were removed: another --model_dir")
    if summary is not None and summary["step"] >= recipe.total_steps:
        branch = [options.export_branch] if options.export_branch != MAIN_BRANCH else []
        exported_to = os.path.dirname(summary["saved_model"])
        if options.asks_for_export and exported_to != os.path.join(options.export_dir, *branch):
            raise RecipeError(f"{options.model_dir} is finished: --mode=export exports it elsewhere or otherwise")
        print(f"this run is finished: {options.model_dir} is at step {summary['step']}")
        print(summary_table(summary))
        return summary
    run = Run(recipe, options, source, weights)
    run.check_batches(training=True, evaluation=True)
    if not options.export_dir.startswith(os.path.join(options.model_dir, "")):
        run_folder.require_writable("export_dir", options.export_dir)
    require_branch(run)
    run.record_recipe()
    train_seconds = run.train(with_evaluation=True)
    results = run.evaluate()
    summary = {
        "model": recipe.network.name,
        "dataset": recipe.data.dataset,
        "scheme": recipe.scheme,
        "precision": run.precision,
        "step": run.state.step,
        **results,
        "eval_images": recipe.data.num_eval_images - results.get("bad_images", 0),
        "eval_branch": recipe.cadence.eval_branch,
        "evaluation_attack": dataclasses.asdict(EVALUATION_ATTACK),
        "train_seconds": round(train_seconds, 1),
        "adversarial_examples": run.draw_examples(),
        "saved_model": export_weights(run, results),
        "best_checkpoint": os.path.join(options.model_dir, run_folder.BEST_FOLDER),
        "recipe": os.path.join(options.model_dir, run_folder.RECIPE_FILE),
        "metrics": os.path.join(options.model_dir, METRICS_FILE),
    }
    run.finish(summary)
    return summary


def train_only(recipe: Recipe, options: RunOptions, source: Source, weights: Weights | None) -> None:
    """Train to the last step; evaluation is another process's work (`--mode=eval`)."""
    run = Run(recipe, options, source, weights)
    run.check_batches(training=True, evaluation=False)
    run.record_recipe()
    run.train(with_evaluation=False)
    run.say(f"trained to step {run.state.step}: {options.model_dir}")
    run.remove_scratch()


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
    run = Run(recipe, options, source, weights)
    if source:
        run.require_same_classes()
    run.check_batches(training=False, evaluation=True)
    run.read_weights()
    if benchmarks:
        run.say(f"report: {run_benchmarks(run, sets)}")
    else:
        run.say(summary_table(run.evaluate()))
    run.remove_scratch()


def predict(recipe: Recipe, options: RunOptions, weights: Weights) -> None:
    """Predict image files."""
    run_folder.require_writable("model_dir", options.model_dir)
    if options.output:
        run_folder.require_writable_file("output", options.output)
    run = Run(recipe, options, None, weights)
    run.check_batches(training=False, evaluation=True)
    run.read_weights()
    results = predict_images(run)
    print(prediction_table(results["predictions"]))
    print(
        f"{len(results['predictions'])} images predicted, {len(results['skipped'])} skipped: "
        f"{os.path.join(options.model_dir, PREDICTIONS_FILE)}"
    )


def export(recipe: Recipe, options: RunOptions, weights: Weights) -> None:
    """Export a checkpoint; needs no data."""
    require_packages(options.export_format)
    run_folder.require_writable("export_dir", options.export_dir)
    # The digits need no folder, so that what comes from a run on them can be compared on them.
    on_digits = recipe.data.dataset == "digits" and weights.facts.recipe is not None
    run = Run(recipe, options, open_source(recipe.data, None) if on_digits else None, weights)
    require_branch(run)
    run.read_weights()
    export_weights(run)
    run.remove_scratch()


TRAINING_MODES = {"train_and_eval": train_and_evaluate, "train": train_only}
READING_MODES = {"eval": evaluate, "predict": predict, "export": export}


def recorded_recipe(settings: flags.Settings) -> Recipe:
    """The recipe of the run in model_dir, with another cadence if flags say so.

    Raises:
        RecipeError: when there is no run, or a flag contradicts its recipe.
    """
    recorded = run_folder.recorded_recipe(settings.options.model_dir)
    recipe = settings.apply_to(recorded)
    changed = differences(recorded, recipe)
    if changed:
        raise RecipeError(f"flags contradict the recipe of {settings.options.model_dir}: {'; '.join(changed)}")
    return recipe


def weights_to_read(settings: flags.Settings, init_weights: Weights | None) -> tuple[Recipe, Weights]:
    """What evaluation, prediction and export are about: the weights of --init_checkpoint, or those of a run.

    Raises:
        RecipeError: when there are none, or flags contradict them.
    """
    options = settings.options
    if init_weights is None:
        recipe = recorded_recipe(settings)
        return recipe, open_weights(checkpoints.find(options.model_dir, options.checkpoint))
    if run_folder.holds_run(options.model_dir):
        raise RecipeError(f"{options.model_dir} holds a run: results for --init_checkpoint need another --model_dir")
    return settings.recipe, init_weights


def find_requested(request: flags.DataRequest, evaluation_only: bool = False) -> Source:
    """The images that the command line asks for.

    Raises:
        RecipeError: when they are not there.
    """
    return find_source(
        request.dataset, request.data_dir, request.holdout_shards, evaluation_only, request.train_images_per_class
    )


def check(values: absl_flags.FlagValues, request: flags.DataRequest) -> None:
    """Check the data; leaves with code 1 when something is wrong with them."""
    source = find_requested(request)
    settings = flags.settings_from_flags(values, source.facts)
    run_folder.require_writable("model_dir", settings.options.model_dir)
    print(describe_data(source.facts, settings.recipe))
    if not check_data(source, settings.recipe, settings.options.model_dir):
        sys.exit(1)


def study(values: absl_flags.FlagValues, request: flags.DataRequest) -> None:
    """Compare schemes."""
    source = find_requested(request)
    settings = flags.study_from_flags(values, source.facts)
    cells, options = settings.cells, settings.options
    check_options(source, options.input)
    print(DIGITS_NOTICE if request.dataset == "digits" else describe_data(source.facts, cells[0].recipe))
    report, diverged = run_study(cells, options, source)
    print(f"report: {report}")
    if diverged:
        fail(
            f"{len(diverged)} of {len(cells)} runs diverged: {', '.join(diverged)}; what is removed from "
            "results.json is run again",
            exit_code=1,
        )


def compare(values: absl_flags.FlagValues) -> None:
    """Set finished evaluations beside each other; connects to no devices."""
    settings = flags.comparison_from_flags(values)
    report = run_comparison(settings.runs, settings.folder, settings.published, settings.command)
    print(f"report: {report}")


def initial_weights(values: absl_flags.FlagValues) -> tuple[Weights | None, WeightsFacts | None]:
    """The weights of --init_checkpoint, and what is known of them; a run that goes on does not need the file again."""
    if not values.init_checkpoint or values.mode == "study":  # both are refused later, by name
        return None, None
    if values.mode in TRAINING_MODES and values.model_dir and run_folder.has_results(values.model_dir):
        recorded = run_folder.recorded_recipe(values.model_dir)
        return None, WeightsFacts.of_run(values.init_checkpoint, recorded)
    if is_saved_model(values.init_checkpoint):
        flags.refuse_unread_of_saved_model(values)
        weights = ExportedWeights(values.init_checkpoint)
    else:
        weights = open_weights(values.init_checkpoint)
    return weights, weights.facts


def run_mode(values: absl_flags.FlagValues) -> None:
    """Do what --mode says."""
    if values.mode == "compare":
        compare(values)
        return
    weights, weights_facts = initial_weights(values)
    request = flags.data_request(values, weights_facts)
    if values.mode == "check_data":
        check(values, request)
        return
    if values.mode == "study":
        study(values, request)
        return
    source = None
    if request:
        source = find_requested(request, evaluation_only=values.mode == "eval")
    settings = flags.settings_from_flags(values, source.facts if source else None, weights_facts)
    recipe, options = settings.recipe, settings.options
    if options.mode in READING_MODES:
        recipe, weights = weights_to_read(settings, weights)
        READING_MODES[options.mode](recipe, options, weights)
        return
    check_options(source, options.input)
    run_folder.check(options.model_dir, recipe)
    print(DIGITS_NOTICE if request.dataset == "digits" else describe_data(source.facts, recipe))
    TRAINING_MODES[options.mode](recipe, options, source, weights)


def main(argv: Sequence[str]) -> None:
    """Run, and turn what a user can cause into one line and an exit code."""
    del argv
    if not absl_flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow's notes on what it saves are for --verbosity=0
    try:
        run_mode(absl_flags.FLAGS)
    except (RecipeError, tpu_utils.DeviceError) as error:
        fail(str(error), exit_code=2)
    except FloatingPointError as error:
        fail(f"{error}; checkpoints from before are kept", exit_code=1)
    except ExportError as error:
        fail(f"export failed: {error}", exit_code=1)
    except tf.errors.OpError as error:
        logging.debug("TensorFlow's error in full", exc_info=True)
        fail(explain(error), exit_code=2 if bad_image_in(error) else 1)
    except KeyboardInterrupt:
        fail("stopped by SIGINT; the same command goes on from what is recorded", exit_code=128 + signal.SIGINT)
    except Interrupted as stopped:
        fail(f"stopped by {stopped}, state saved; the same command resumes", exit_code=128 + stopped.signal_number)


def explain(error: tf.errors.OpError) -> str:
    """What TensorFlow says, on one line, and what can be done about it where that is known."""
    if bad_image := bad_image_in(error):
        return f"{bad_image} (--mode=check_data names all; --bad_images=skip leaves them out)"
    if isinstance(error, tf.errors.DataLossError):
        return f"{reason_without_ops(error)}: a data file is damaged, --mode=check_data says which"
    line = first_line(error)
    # A full disk and a full quota are the same type of error.
    if isinstance(error, tf.errors.ResourceExhaustedError) and "OOM" in error.message:
        return (
            f"out of memory ({line}); try a smaller --train_batch_size, --micro_batches, --remat, or a smaller "
            "--eval_batch_size when it was evaluating"
        )
    return f"{line} (--verbosity=1 shows where)"


def fail(message: str, exit_code: int) -> NoReturn:
    """Leave with one line."""
    print(f"error: {message}" if exit_code <= 2 else message, file=sys.stderr)
    sys.exit(exit_code)


if __name__ == "__main__":
    app.run(main, flags_parser=flags.parse_flags)

"""Train, evaluate and export networks with AdvProp.

    python main.py --model=efficientnet-b7 --advprop

trains on the handwritten digits that come with scikit-learn. `--data_dir` names a folder of ImageNet TFRecords or of
class folders instead.
"""

import dataclasses
import functools
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import efficientnet_advprop  # noqa: F401  (before TensorFlow, which would load Keras 3 too: seconds, 140 MB)

# isort: split
import tensorflow as tf
from absl import app, flags as absl_flags, logging

import flags
import tpu_utils
from efficientnet_advprop.data import Source, bad_image_in, check_options, find_source, reason_without_ops
from efficientnet_advprop.export import ExportedWeights, ExportError, is_saved_model
from efficientnet_advprop.models.weights import Weights, open_weights
from efficientnet_advprop.modes.check_data import check_data
from efficientnet_advprop.modes.compare import run_comparison
from efficientnet_advprop.modes.evaluate import evaluate
from efficientnet_advprop.modes.export import export
from efficientnet_advprop.modes.predict import predict
from efficientnet_advprop.modes.recorded_labels import labelled_as_run, labelled_as_study
from efficientnet_advprop.modes.study import run_study
from efficientnet_advprop.modes.train import train_and_evaluate, train_only
from efficientnet_advprop.recipes import RecipeError, WeightsFacts, first_line
from efficientnet_advprop.reporting import describe_data
from efficientnet_advprop.training import checkpoints, run_folder
from efficientnet_advprop.training.interruption import Interrupted

absl_flags.adopt_module_key_flags(flags.parsing)  # --help shows the flags of the main module

DIGITS_NOTICE = (
    "data: the 1,797 handwritten digits of scikit-learn; for ImageNet pass --data_dir=FOLDER with the TFRecords "
    "train-*-of-* and validation-*-of-*, or with train/CLASS/ and val/CLASS/"
)


def train(run: Callable[..., None], values: absl_flags.FlagValues) -> None:
    """Train, from random weights or from those of --init_checkpoint."""
    weights, facts = None, None
    if values.init_checkpoint and values.model_dir and run_folder.has_results(values.model_dir):
        # A run that resumes does not read its initial weights again.
        facts = WeightsFacts.of_run(values.init_checkpoint, run_folder.recorded_recipe(values.model_dir))
    elif values.init_checkpoint:
        weights = open_given(values)
        facts = weights.facts
    request = flags.data_request(values, facts)
    source = find(request)
    recipe, options = flags.settings_from_flags(values, source.facts, facts)
    check_options(source, options.input)
    run_folder.check(options.model_dir, recipe)
    source = labelled_as_run(source, options.model_dir, weights)
    print(DIGITS_NOTICE if request.dataset == "digits" else describe_data(source.facts, recipe))
    run(recipe, options, source, weights)


def read(run: Callable[..., None], values: absl_flags.FlagValues) -> None:
    """Read the weights of --init_checkpoint or of the run in model_dir, to evaluate, predict or export."""
    weights = open_given(values) if values.init_checkpoint else None
    facts = None if weights is None else weights.facts
    request = flags.data_request(values, facts)
    recipe, options = flags.settings_from_flags(values, None if request is None else find(request).facts, facts)
    if weights is None:
        recipe = flags.recipe_of_run(values, options.model_dir, run_folder.recorded_recipe(options.model_dir))
        weights = open_weights(checkpoints.find(options.model_dir, options.checkpoint))
    elif run_folder.holds_run(options.model_dir):
        raise RecipeError(f"{options.model_dir} holds a run: give another --model_dir for results of --init_checkpoint")
    run(recipe, options, weights)


def check(values: absl_flags.FlagValues) -> None:
    """Check the data; exits with code 1 if problems are found."""
    source = find(flags.data_request(values))
    recipe, options = flags.settings_from_flags(values, source.facts)
    run_folder.require_writable("model_dir", options.model_dir)
    print(describe_data(source.facts, recipe))
    if not check_data(source, recipe, options.model_dir):
        sys.exit(1)


def study(values: absl_flags.FlagValues) -> None:
    """Train and compare schemes; exits with code 1 if runs diverged."""
    request = flags.data_request(values)
    source = find(request)
    settings = flags.study_from_flags(values, source.facts)
    trials, options = settings.trials, settings.options
    check_options(source, options.input)
    source = labelled_as_study(source, options.model_dir, trials)
    print(DIGITS_NOTICE if request.dataset == "digits" else describe_data(source.facts, trials[0].recipe))
    report, diverged = run_study(trials, options, source)
    print(f"report: {report}")
    if diverged:
        fail(
            f"{len(diverged)} of {len(trials)} runs diverged: {', '.join(diverged)}; to run them "
            "again, remove them from results.json",
            exit_code=1,
        )


def compare(values: absl_flags.FlagValues) -> None:
    """Compare finished evaluations; connects to no devices."""
    print(f"report: {run_comparison(*flags.comparison_from_flags(values))}")


RUN_MODE: dict[str, Callable[[absl_flags.FlagValues], None]] = {
    "train_and_eval": functools.partial(train, train_and_evaluate),
    "train": functools.partial(train, train_only),
    "eval": functools.partial(read, evaluate),
    "predict": functools.partial(read, predict),
    "export": functools.partial(read, export),
    "check_data": check,
    "study": study,
    "compare": compare,
}


def find(request: flags.DataRequest) -> Source:
    """Open the data set of the command line."""
    return find_source(**dataclasses.asdict(request))


def open_given(values: absl_flags.FlagValues) -> Weights:
    """Open the weights of --init_checkpoint."""
    if is_saved_model(values.init_checkpoint):
        flags.refuse_unread_of_saved_model(values)
        return ExportedWeights(values.init_checkpoint)
    return open_weights(values.init_checkpoint)


def main(argv: Sequence[str]) -> None:
    """Run the mode; errors that a user can cause become one line and an exit code."""
    del argv
    values = absl_flags.FLAGS
    if not values["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # --verbosity=0 shows what TensorFlow logs when it saves
    try:
        flags.refuse_contradictions(values)
        RUN_MODE[values.mode](values)
    except (RecipeError, tpu_utils.DeviceError) as error:
        fail(str(error), exit_code=2)
    except FloatingPointError as error:
        fail(f"{error}; earlier checkpoints are kept", exit_code=1)
    except ExportError as error:
        fail(f"export failed: {error}", exit_code=1)
    except tf.errors.OpError as error:
        logging.debug("TensorFlow's error in full", exc_info=True)
        fail(explain(error), exit_code=2 if bad_image_in(error) else 1)
    except KeyboardInterrupt:
        fail(
            "stopped by SIGINT; the same command resumes from the last checkpoint or result",
            exit_code=128 + signal.SIGINT,
        )
    except Interrupted as stopped:
        fail(f"stopped by {stopped}, state saved; the same command resumes", exit_code=128 + stopped.signal_number)


def explain(error: tf.errors.OpError) -> str:
    """TensorFlow's error on one line, with a remedy if one is known."""
    if bad_image := bad_image_in(error):
        return f"{bad_image} (--mode=check_data lists all; --bad_images=skip leaves them out)"
    if isinstance(error, tf.errors.DataLossError):
        return f"{reason_without_ops(error)}: a data file is damaged or compressed, --mode=check_data lists it"
    line = first_line(error)
    # A full disk or quota has the same error type.
    if isinstance(error, tf.errors.ResourceExhaustedError) and "OOM" in error.message:
        return (
            f"out of memory ({line}); try a smaller --train_batch_size, --micro_batches, --remat, or a smaller "
            "--eval_batch_size if this happened in evaluation"
        )
    return f"{line} (--verbosity=1 shows where)"


def fail(message: str, exit_code: int) -> NoReturn:
    """Print one line on standard error and exit."""
    print(f"error: {message}" if exit_code <= 2 else message, file=sys.stderr)
    sys.exit(exit_code)


if __name__ == "__main__":
    app.run(main, flags_parser=flags.parse_flags)

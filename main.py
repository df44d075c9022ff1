"""Train, evaluate and export networks with AdvProp.

    python main.py --model=efficientnet-b7 --advprop

trains on the handwritten digits that come with scikit-learn; `--data_dir` names a folder of ImageNet TFRecords or of
class folders.
"""

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import tensorflow as tf
from absl import app, logging
from absl import flags as absl_flags

import flags
import tpu_utils
from efficientnet_advprop.data import Source, bad_image_in, check_options, find_source
from efficientnet_advprop.export import ExportedWeights, ExportError, is_saved_model
from efficientnet_advprop.models.weights import Weights, open_weights
from efficientnet_advprop.modes.check_data import check_data
from efficientnet_advprop.modes.compare import run_comparison
from efficientnet_advprop.modes.evaluate import evaluate
from efficientnet_advprop.modes.export import export
from efficientnet_advprop.modes.predict import predict
from efficientnet_advprop.modes.study import run_study
from efficientnet_advprop.modes.train import train_and_evaluate, train_only
from efficientnet_advprop.recipes import Recipe, RecipeError, WeightsFacts, differences
from efficientnet_advprop.reporting import describe_data
from efficientnet_advprop.training import checkpoints, run_folder
from efficientnet_advprop.training.interruption import Interrupted

absl_flags.adopt_module_key_flags(flags.definitions)  # --help shows the flags of the main module

DIGITS_NOTICE = (
    "data: the 1,797 handwritten digits of scikit-learn; for ImageNet pass --data_dir=FOLDER with the TFRecords "
    "train-*-of-* and validation-*-of-*, or with train/CLASS/ and val/CLASS/"
)


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
    trials, options = settings.trials, settings.options
    check_options(source, options.input)
    print(DIGITS_NOTICE if request.dataset == "digits" else describe_data(source.facts, trials[0].recipe))
    report, diverged = run_study(trials, options, source)
    print(f"report: {report}")
    if diverged:
        fail(
            f"{len(diverged)} of {len(trials)} runs diverged: {', '.join(diverged)}; what is removed from "
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
        reason = error.message.splitlines()[0].rpartition("}} ")[2].partition(" [Op:")[0]
        return f"{reason}: a data file is damaged, --mode=check_data says which"
    line = (error.message.strip().splitlines() or [type(error).__name__])[0]
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

"""Train, evaluate and export networks with AdvProp.

    python main.py --model=efficientnet-b7 --advprop

trains on the handwritten digits that come with scikit-learn. `--data_dir` names a folder of ImageNet TFRecords or of
class folders instead.
"""

import gc
import os

from efficientnet_advprop.training.interruption import (
    Interrupted,
    end_process_on_signals,
    ignore_signals,
    interruptible,
)

if __name__ == "__main__":
    end_process_on_signals()  # from now on: the imports take seconds
    gc.disable()  # until `run`: what the imports create stays, and to look through it takes a quarter of their time
    # Hides what TensorFlow's C++ side calls errors at its start and are none; 0 shows why a GPU is not used.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import atexit
import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

# After efficientnet_advprop: before it, TensorFlow would load Keras 3 too (seconds, 140 MB).
import tensorflow as tf
from absl import app, flags as absl_flags, logging

import flags
import tpu_utils
from efficientnet_advprop.data import Source, bad_image_in, check_options, find_source, need_images, reason_without_ops
from efficientnet_advprop.export import ExportedWeights, ExportError, is_saved_model
from efficientnet_advprop.files import require_reachable, without_space
from efficientnet_advprop.models.weights import Weights, open_weights
from efficientnet_advprop.modes.check_data import check_data
from efficientnet_advprop.modes.compare import run_comparison
from efficientnet_advprop.modes.evaluate import evaluate
from efficientnet_advprop.modes.export import export
from efficientnet_advprop.modes.loaded_network import has_other_classes
from efficientnet_advprop.modes.plan import run_plan
from efficientnet_advprop.modes.predict import predict
from efficientnet_advprop.modes.recorded import (
    began_with,
    labelled_as_run,
    labelled_as_study,
    with_generator_of_study,
)
from efficientnet_advprop.modes.study import run_study
from efficientnet_advprop.modes.train import train_and_evaluate, train_only
from efficientnet_advprop.modes.visualize import visualize
from efficientnet_advprop.paths import is_address
from efficientnet_advprop.recipes import Recipe, RecipeError, WeightsFacts, first_line, one_line
from efficientnet_advprop.reporting import describe_data, keep_printing
from efficientnet_advprop.training import checkpoints, run_folder

DIGITS_NOTICE = (
    "data: the 1,797 handwritten digits of scikit-learn; for ImageNet pass --data_dir=FOLDER with the TFRecords "
    "train-*-of-* and validation-*-of-*, or with train/CLASS/ and val/CLASS/"
)


def train(run: Callable[..., None], values: absl_flags.FlagValues) -> None:
    """Train, from random weights or from those of --init_checkpoint."""
    weights, facts, recorded = None, None, None
    if flags.names_its_folder(values):
        recorded = recorded_to_go_on_with(values, flags.model_dir_of(values))
    path = values.init_checkpoint or (recorded and recorded.init_checkpoint)
    if path and recorded is not None and run_folder.goes_on(flags.model_dir_of(values)):
        # A run that resumes does not read its initial weights again.
        facts = WeightsFacts.of_run(path, recorded)
    elif path:
        weights = open_given(values, path)
        facts = weights.facts
    if recorded is None:
        recorded = recorded_to_go_on_with(values, flags.model_dir_of(values, facts))
    request = flags.data_request(values, facts, recorded)
    source = find(request)
    if weights is not None:
        facts = dataclasses.replace(facts, of_other_classes=has_other_classes(weights, source))
    recipe, options = flags.settings_from_flags(values, source.facts, facts, recorded)
    check_options(source, options.input)
    if values.print_recipe:
        print(flags.describe_as_command(recipe, values))
        return
    run_folder.check(options.model_dir, recipe)
    source = labelled_as_run(source, options.model_dir, weights)
    print(DIGITS_NOTICE if request.dataset == "digits" else describe_data(source.facts, recipe))
    if recorded is not None:
        record = os.path.join(options.model_dir, run_folder.RECIPE_FILE)
        print(f"recipe: as recorded in {record}; another --model_dir starts anew")
    elif choice := flags.describe_choice(recipe, values.mode):
        print(choice)
    run(recipe, options, source, weights)


def recorded_to_go_on_with(values: absl_flags.FlagValues, folder: str) -> Recipe | None:
    """The recipe of the run in a folder, which has the values that no flag gives; None where another one is begun.

    A run without results may be begun again as another one.
    """
    if not run_folder.holds_run(folder):
        return None
    recorded = run_folder.recorded_recipe(folder)
    return recorded if run_folder.has_results(folder) or flags.names_run(values, recorded) else None


def read(run: Callable[..., None], values: absl_flags.FlagValues) -> None:
    """Read the weights of --init_checkpoint or of the run in model_dir, to evaluate, predict, export or visualize."""
    need_images(values.images)
    weights = open_given(values, values.init_checkpoint) if values.init_checkpoint else None
    facts = None if weights is None else weights.facts
    request = flags.data_request(values, facts)
    recipe, options = flags.settings_from_flags(values, None if request is None else find(request).facts, facts)
    if weights is None:
        recorded = run_folder.recorded_recipe(options.model_dir)
        recipe = flags.recipe_of_run(values, options.model_dir, recorded)
        weights = open_weights(checkpoints.find(options.model_dir, options.checkpoint))
        run_folder.require_recipe_of(weights.facts.path, weights.facts.recipe, recorded)
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
    trials, options = settings_of_study(values, source)
    if not values["generator"].present:
        trials = with_generator_of_study(trials, options.model_dir)
    check_options(source, options.input)
    source = labelled_as_study(source, options.model_dir, trials)
    print(DIGITS_NOTICE if request.dataset == "digits" else describe_data(source.facts, trials[0].recipe))
    if choice := flags.describe_choice(trials[0].recipe, values.mode):
        print(f"{trials[0].key}, {choice}")
    report, diverged = run_study(trials, options, source)
    print(f"report: {report}")
    if diverged:
        fail(
            f"{len(diverged)} of {len(trials)} runs diverged: {', '.join(diverged)}; to run them "
            "again, remove them from results.json",
            exit_code=1,
        )


def settings_of_study(values: absl_flags.FlagValues, source: Source) -> flags.StudySettings:
    """Trials and options; a study that an older version began with the named recipes goes on with them."""
    settings, refusal = None, None
    try:
        settings = flags.study_from_flags(values, source.facts)
    except RecipeError as error:
        refusal = error
    if settings is None or not began_with(settings.trials, settings.options.model_dir):
        with contextlib.suppress(RecipeError):  # the named recipes may not fit the images: today's are wanted then
            old = flags.study_from_flags(values, source.facts, named=True)
            if began_with(old.trials, old.options.model_dir):
                return old
    if refusal is not None:
        raise refusal
    return settings


def compare(values: absl_flags.FlagValues) -> None:
    """Compare finished evaluations; connects to no devices."""
    print(f"report: {run_comparison(*flags.comparison_from_flags(values))}")


def plan(values: absl_flags.FlagValues) -> None:
    """Print what a run will take; opens no data and connects to no devices."""
    spec = flags.plan_from_flags(values)
    recipe = spec.recipes[spec.scheme]
    print(flags.describe_as_command(recipe, values) if values.print_recipe else run_plan(spec, bool(values.json)))


RUN_MODE: dict[str, Callable[[absl_flags.FlagValues], None]] = {
    "train_and_eval": functools.partial(train, train_and_evaluate),
    "train": functools.partial(train, train_only),
    "eval": functools.partial(read, evaluate),
    "predict": functools.partial(read, predict),
    "export": functools.partial(read, export),
    "visualize": functools.partial(read, visualize),
    "check_data": check,
    "study": study,
    "compare": compare,
    "plan": plan,
}


def find(request: flags.DataRequest) -> Source:
    """Open the data set of the command line."""
    return find_source(**dataclasses.asdict(request))


def open_given(values: absl_flags.FlagValues, path: str) -> Weights:
    """Open given weights, such as those of --init_checkpoint."""
    if not is_address(path) and is_saved_model(path):
        flags.refuse_unread_of_saved_model(values)
        return ExportedWeights(path)
    return open_weights(path, values.cache_dir, bool(values.offline))


def main(argv: Sequence[str]) -> None:
    """Run the mode; errors that a user can cause become one line and an exit code."""
    del argv
    values = absl_flags.FLAGS
    if not values["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # --verbosity=0 shows what TensorFlow logs when it saves
    try:
        with interruptible():
            flags.refuse_contradictions(values)
            sys.stderr.writelines(f"warning: {line}\n" for line in flags.warnings_of(values))
            for name, path in flags.remote_paths(values):
                if name != "init_checkpoint" or not is_address(path):
                    require_reachable(name, path)
            for name in ("model_dir", "export_dir", "evaluation_dir"):
                if values[name].value:
                    run_folder.require_place(name, values[name].value)
            RUN_MODE[values.mode](values)
    except (RecipeError, tpu_utils.DeviceError) as error:
        fail(str(error), exit_code=2)
    except FloatingPointError as error:
        fail(f"{error}; earlier checkpoints are kept", exit_code=1)
    except ExportError as error:
        fail(f"export failed: {error}", exit_code=1)
    except (tf.errors.OpError, OSError) as error:
        logging.debug("the error in full", exc_info=True)
        fail(explain(error), exit_code=2 if isinstance(error, tf.errors.OpError) and bad_image_in(error) else 1)
    except Interrupted as stopped:
        fail(stopped.line, exit_code=128 + stopped.signal_number)


def explain(error: tf.errors.OpError | OSError) -> str:
    """An error of TensorFlow or of the system on one line, with a remedy if one is known."""
    if full := without_space(error):
        return (
            f"no space is left for {full} (the disk is full, or a quota used up): free some space; the same command "
            "resumes from the last checkpoint or result, if there is one"
        )
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else first_line(error)
    if bad_image := bad_image_in(error):
        return f"{bad_image} (--mode=check_data lists all; --bad_images=skip leaves them out)"
    if isinstance(error, tf.errors.DataLossError):
        return f"{reason_without_ops(error)}: a data file is damaged or compressed, --mode=check_data lists it"
    line = first_line(error)
    # A full quota of remote storage has the same error type.
    if isinstance(error, tf.errors.ResourceExhaustedError) and "OOM" in error.message:
        return (
            f"out of memory ({line}); try a smaller --train_batch_size, --micro_batches, --remat, or a smaller "
            "--eval_batch_size if this happened in evaluation"
        )
    return f"{line} (--verbosity=1 shows where)"


def fail(message: str, exit_code: int) -> NoReturn:
    """Print one line on standard error and exit."""
    print(one_line(f"error: {message}" if exit_code <= 2 else message), file=sys.stderr)
    sys.exit(exit_code)


def run() -> None:
    """The process of `python main.py`: parse the command line, run `main`, exit."""
    gc.freeze()
    gc.enable()
    keep_printing()
    try:
        app.run(main, flags_parser=flags.parse_flags)
    except SystemExit as ended:
        if isinstance(ended.code, int) and ended.code > 128:
            # Stopped: Python's own exit waits for threads, and TensorFlow's may go on for minutes.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended.code)
        ignore_signals()  # all is done but Python's exit, during which a signal would end the process without a word
        raise


if __name__ == "__main__":
    # Else Python collects every graph at exit: seconds of work, and minutes of waiting on a loaded machine.
    atexit.register(gc.freeze)
    run()

"""Common parts of the benchmarks of training steps: recipe, state, step and tables of B0."""

import dataclasses
import datetime
import os
import platform
import statistics

import numpy as np
import tabulate
import tensorflow as tf
from absl import flags as absl_flags

import tpu_utils
from benchmarks.timing import Step, Times
from efficientnet_advprop.recipes import AttackSpec, Recipe, Term, named_recipe, override
from efficientnet_advprop.training.learning_rate import learning_rate_schedule
from efficientnet_advprop.training.moving_average import MovingAverage
from efficientnet_advprop.training.optimizers import build_optimizer
from efficientnet_advprop.training.state import TrainState
from efficientnet_advprop.training.step import make_replica_step

IMAGE_SIZE = absl_flags.DEFINE_integer("image_size", 128, "Side of the images, in pixels.")
BATCH_SIZE = absl_flags.DEFINE_integer("batch_size", 16, "Clean images per step.")
ROUNDS = absl_flags.DEFINE_integer("rounds", 15, "Rounds; each runs every step once.")
MARKDOWN = absl_flags.DEFINE_string("markdown", None, "Markdown file to write the table to.")


def set_up() -> None:
    """Set up the devices as in a run."""
    tpu_utils.connect("auto")
    if not tf.config.list_physical_devices("GPU"):
        tpu_utils.set_graph_optimizer(False)


def noise_batch() -> dict[str, tf.Tensor]:
    """A fixed batch: noise, and labels of 1000 classes."""
    rng = np.random.default_rng(0)
    shape = (BATCH_SIZE.value, IMAGE_SIZE.value, IMAGE_SIZE.value, 3)
    return {
        "images": tf.constant(rng.uniform(0, 255, shape), tf.float32),
        "labels": tf.one_hot(rng.integers(0, 1000, BATCH_SIZE.value), 1000),
    }


def benchmark_recipe(scheme: str, attack: AttackSpec | None = None) -> Recipe:
    """The ImageNet recipe of B0 with the benchmark's image and batch size, and with this attack if one is given."""
    changes = {"network.input_image_size": IMAGE_SIZE.value, "train_batch_size": BATCH_SIZE.value}
    recipe = override(named_recipe("efficientnet-b0", "imagenet", scheme), changes)
    return dataclasses.replace(recipe, attack=attack or recipe.attack)


def our_state(recipe: Recipe, model: tf.keras.Model) -> TrainState:
    """A training state without moving averages of weights."""
    schedule = learning_rate_schedule(
        recipe.optimizer, recipe.train_batch_size, recipe.steps_per_epoch, recipe.total_steps
    )
    optimizer = build_optimizer(recipe.optimizer, schedule, [])
    optimizer.build(model.trainable_variables)
    return TrainState(model, model, optimizer, MovingAverage(0.0, []))


def our_step(
    state: TrainState, recipe: Recipe, batch: dict[str, tf.Tensor], terms: tuple[Term, ...] | None = None
) -> Step:
    """Our training step on a fixed batch, as the loop runs it, with these terms or those of the first phase."""
    strategy = tf.distribute.get_strategy()
    replica_step, _ = make_replica_step(state, recipe, terms or recipe.phases[0].terms, num_replicas=1)
    compiled = tf.function(lambda batch: strategy.run(replica_step, args=(batch,)))
    return lambda: compiled(batch)


def setting(load_before: float, load_after: float, tensorflow: str = tf.__version__) -> str:
    """The setting of a measurement: sizes, machine, versions, date, load."""
    return (
        f"B0, {IMAGE_SIZE.value} px, batch {BATCH_SIZE.value}, {ROUNDS.value} interleaved rounds, float32, "
        f"{os.cpu_count()} CPU cores ({platform.machine()}), TensorFlow {tensorflow}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}; "
        f"load average {load_before:.1f} before and {load_after:.1f} after."
    )


def table(rows: list[tuple[str, ...]], headers: tuple[str, ...]) -> str:
    """A Markdown table."""
    return tabulate.tabulate(rows, headers, "github", disable_numparse=True)


def spread_table(times: Times) -> str:
    """A Markdown table of each step's median, smallest and largest time."""
    rows = [
        (name, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}")
        for name, values in times.items()
    ]
    return table(rows, ("step", "median s", "min s", "max s"))


def publish(title: str, module: str, text: str) -> None:
    """Print the text; with --markdown, write it to that file with its command."""
    print(text)
    if MARKDOWN.value:
        command = (
            f"python -m {module} --image_size={IMAGE_SIZE.value} --batch_size={BATCH_SIZE.value} "
            f"--rounds={ROUNDS.value}"
        )
        with open(MARKDOWN.value, "w") as file:
            file.write(f"# {title}\n\n`{command}`\n\n{text}\n")

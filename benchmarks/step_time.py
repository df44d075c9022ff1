"""Time of a training step, as ratios measured in one run.

    python -m benchmarks.step_time --output=docs/step_time.md

Compares our vanilla B0 step with one of `tf.keras.applications.EfficientNetB0` (same batch, size, loss and optimizer;
no moving average in either), and AdvProp with PGD1 and PGD5 with our vanilla step. The steps take turns (A B C D A B
C D), so that a change in the machine's load meets all of them; ratios are those of medians.
"""

import dataclasses
import datetime
import os
import platform
import statistics

import numpy as np
import tabulate
import tensorflow as tf
from absl import app
from absl import flags as absl_flags

import tpu_utils
from benchmarks.timing import Step, take_turns
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import AttackSpec, Recipe, named_recipe, override
from efficientnet_advprop.training.learning_rate import learning_rate_schedule
from efficientnet_advprop.training.moving_average import MovingAverage
from efficientnet_advprop.training.optimizers import build_optimizer, weight_decay_loss
from efficientnet_advprop.training.state import TrainState
from efficientnet_advprop.training.step import make_replica_step

_IMAGE_SIZE = absl_flags.DEFINE_integer("image_size", 128, "Side of the pictures, in pixels.")
_BATCH_SIZE = absl_flags.DEFINE_integer("batch_size", 16, "Clean images per step.")
_ROUNDS = absl_flags.DEFINE_integer("rounds", 15, "Turns; each takes every step once.")
_OUTPUT = absl_flags.DEFINE_string("output", None, "Markdown file to write the table to.")

# What to try for, and what must be reached. Counting passes (a backward one costs two forward ones, an attack's half of
# that) gives 1, 8/3 and 16/3.
AIMS = {
    "ours / keras.applications": (1.0, 1.05),
    "AdvProp PGD1 / vanilla": (2.4, 2.7),
    "AdvProp PGD5 / vanilla": (5.2, 5.6),
}


def benchmark_recipe(scheme: str, attack: AttackSpec) -> Recipe:
    """The ImageNet recipe of B0 at the size and batch of the benchmark."""
    changes = {"network.input_image_size": _IMAGE_SIZE.value, "train_batch_size": _BATCH_SIZE.value}
    recipe = override(named_recipe("efficientnet-b0", "imagenet", scheme), changes)
    return dataclasses.replace(recipe, attack=attack)


def our_state(recipe: Recipe, model: tf.keras.Model) -> TrainState:
    """A state without averages."""
    schedule = learning_rate_schedule(
        recipe.optimizer, recipe.train_batch_size, recipe.steps_per_epoch, recipe.total_steps
    )
    optimizer = build_optimizer(recipe.optimizer, schedule, [])
    optimizer.build(model.trainable_variables)
    return TrainState(model, model, optimizer, MovingAverage(0.0, []))


def our_step(state: TrainState, recipe: Recipe, batch: dict[str, tf.Tensor]) -> Step:
    """One of our steps on a fixed batch, as the loop runs it."""
    strategy = tf.distribute.get_strategy()
    replica_step, _ = make_replica_step(state, recipe, recipe.phases[0].terms, num_replicas=1)
    compiled = tf.function(lambda batch: strategy.run(replica_step, args=(batch,)))
    return lambda: compiled(batch)


def keras_step(recipe: Recipe, batch: dict[str, tf.Tensor]) -> Step:
    """The same objective on Keras' own network: smoothed cross-entropy, weight decay on all but batch norms."""
    network = tf.keras.applications.EfficientNetB0(
        weights=None, input_shape=(_IMAGE_SIZE.value, _IMAGE_SIZE.value, 3), classifier_activation=None
    )
    norms = {
        id(variable)
        for layer in network.layers
        if isinstance(layer, tf.keras.layers.BatchNormalization)
        for variable in layer.trainable_variables
    }
    decayed = [variable for variable in network.trainable_variables if id(variable) not in norms]
    state = our_state(recipe, network)

    @tf.function
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.keras.losses.categorical_crossentropy(
                batch["labels"],
                network(batch["images"], training=True),
                from_logits=True,
                label_smoothing=recipe.label_smoothing,
            )
            loss = tf.reduce_mean(losses) + weight_decay_loss(decayed, recipe.optimizer.weight_decay)
        gradients = tape.gradient(loss, network.trainable_variables)
        state.optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    return lambda: step(batch)


def report(times: dict[str, list[float]], load_before: float, load_after: float) -> str:
    """Markdown: the ratios against their aims, and the times they come from."""
    pairs = {
        "ours / keras.applications": ("vanilla", "keras.applications"),
        "AdvProp PGD1 / vanilla": ("AdvProp PGD1", "vanilla"),
        "AdvProp PGD5 / vanilla": ("AdvProp PGD5", "vanilla"),
    }
    ratios = []
    for name, (above, below) in pairs.items():
        median = statistics.median(times[above]) / statistics.median(times[below])
        minimum = min(times[above]) / min(times[below])
        aim, bound = AIMS[name]
        verdict = "aim met" if median <= aim else "aim missed, bound met" if median <= bound else "both missed"
        ratios.append((name, f"{median:.2f}", f"{minimum:.2f}", f"{aim:g}", f"{bound:g}", verdict))
    spread = [
        (name, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}")
        for name, values in times.items()
    ]
    header = (
        f"B0, {_IMAGE_SIZE.value} px, batch {_BATCH_SIZE.value}, {_ROUNDS.value} rounds in turn, float32, "
        f"{os.cpu_count()} CPU cores ({platform.machine()}), TensorFlow {tf.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}; "
        f"load average {load_before:.1f} before and {load_after:.1f} after."
    )
    return "\n\n".join(
        (
            header,
            tabulate.tabulate(
                ratios, ("ratio", "of medians", "of minima", "aim", "bound", ""), "github", disable_numparse=True
            ),
            tabulate.tabulate(spread, ("step", "median s", "min s", "max s"), "github", disable_numparse=True),
        )
    )


def main(argv: list[str]) -> None:
    """Measure and report."""
    del argv
    tpu_utils.connect("auto")
    if not tf.config.list_physical_devices("GPU"):
        tpu_utils.set_graph_optimizer(False)  # as a run does
    pgd1 = AttackSpec(epsilon_px=1.0, num_steps=1)
    pgd5 = AttackSpec(epsilon_px=4.0, num_steps=5)
    vanilla = benchmark_recipe("vanilla", pgd1)
    rng = np.random.default_rng(0)
    shape = (_BATCH_SIZE.value, _IMAGE_SIZE.value, _IMAGE_SIZE.value, 3)
    batch = {
        "images": tf.constant(rng.uniform(0, 255, shape), tf.float32),
        "labels": tf.one_hot(rng.integers(0, 1000, _BATCH_SIZE.value), 1000),
    }
    advprop_state = our_state(vanilla, build_model(vanilla.network, branches=("main", "auxiliary")))
    steps = {
        "keras.applications": keras_step(vanilla, batch),
        "vanilla": our_step(our_state(vanilla, build_model(vanilla.network)), vanilla, batch),
        "AdvProp PGD1": our_step(advprop_state, benchmark_recipe("advprop", pgd1), batch),
        "AdvProp PGD5": our_step(advprop_state, benchmark_recipe("advprop", pgd5), batch),
    }
    load_before = os.getloadavg()[0]
    times = take_turns(steps, _ROUNDS.value)
    text = report(times, load_before, os.getloadavg()[0])
    print(text)
    if _OUTPUT.value:
        command = (
            f"python -m benchmarks.step_time --image_size={_IMAGE_SIZE.value} --batch_size={_BATCH_SIZE.value} "
            f"--rounds={_ROUNDS.value}"
        )
        with open(_OUTPUT.value, "w") as file:
            file.write(f"# Time of a training step\n\n`{command}`\n\n{text}\n")


if __name__ == "__main__":
    app.run(main)

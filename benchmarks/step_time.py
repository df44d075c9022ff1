"""Time of a training step, as ratios measured in one run.

    python -m benchmarks.step_time --markdown=docs/step_time.md

Compares our vanilla B0 step with that of `tf.keras.applications.EfficientNetB0` (same batch, image size, loss and
optimizer, no moving average), AdvProp with PGD1 and PGD5 with our vanilla step, and AdvProp with PGD1 in Keras' `fit`
with vanilla training there. The steps are interleaved (A B C D A B C D), so that a change in the machine's load affects
all of them. Ratios are those of medians.
"""

import os
import statistics

import tensorflow as tf
from absl import app

from benchmarks import timing, training_steps
from efficientnet_advprop.keras_api import AdvProp
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import AttackSpec, Recipe
from efficientnet_advprop.training.optimizers import weight_decay_loss

# (aim, upper bound). Counting passes gives 1, 8/3 and 16/3 (a backward pass costs two forward passes, an attack's one).
AIMS = {
    "ours / keras.applications": (1.0, 1.05),
    "AdvProp PGD1 / vanilla": (2.4, 2.7),
    "AdvProp PGD5 / vanilla": (5.2, 5.6),
    "in fit: AdvProp PGD1 / vanilla": (2.7, 3.0),  # no batch norms folded into the convolutions of the attack
}


def keras_network() -> tf.keras.Model:
    """B0 of `tf.keras.applications`, with random weights and logits as outputs."""
    size = training_steps.IMAGE_SIZE.value
    return tf.keras.applications.EfficientNetB0(weights=None, input_shape=(size, size, 3), classifier_activation=None)


def fit_step(scheme: str, attack: AttackSpec, batch: dict[str, tf.Tensor]) -> timing.Step:
    """The step of `AdvProp.fit` on Keras' network."""
    advprop = AdvProp(keras_network(), attack, scheme)
    loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    advprop.compile(tf.keras.optimizers.RMSprop(0.001, momentum=0.9), loss)
    step = tf.function(advprop.train_step)
    return lambda: step((batch["images"], batch["labels"]))


def keras_step(recipe: Recipe, batch: dict[str, tf.Tensor]) -> timing.Step:
    """The same objective on Keras' own network: smoothed cross-entropy, weight decay on all but batch norms."""
    network = keras_network()
    in_batch_norms = {
        id(variable)
        for layer in network.layers
        if isinstance(layer, tf.keras.layers.BatchNormalization)
        for variable in layer.trainable_variables
    }
    decayed = [variable for variable in network.trainable_variables if id(variable) not in in_batch_norms]
    state = training_steps.our_state(recipe, network)

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


def report(times: timing.Times, load_before: float, load_after: float) -> str:
    """Markdown tables: the ratios with their aims, and the times."""
    pairs = {
        "ours / keras.applications": ("vanilla", "keras.applications"),
        "AdvProp PGD1 / vanilla": ("AdvProp PGD1", "vanilla"),
        "AdvProp PGD5 / vanilla": ("AdvProp PGD5", "vanilla"),
        "in fit: AdvProp PGD1 / vanilla": ("in fit: AdvProp PGD1", "in fit: vanilla"),
    }
    ratios = []
    for name, (above, below) in pairs.items():
        median = statistics.median(times[above]) / statistics.median(times[below])
        minimum = min(times[above]) / min(times[below])
        aim, bound = AIMS[name]
        verdict = "aim met" if median <= aim else "aim missed, bound met" if median <= bound else "both missed"
        ratios.append((name, f"{median:.2f}", f"{minimum:.2f}", f"{aim:g}", f"{bound:g}", verdict))
    return "\n\n".join(
        (
            training_steps.setting(load_before, load_after),
            training_steps.table(ratios, ("ratio", "of medians", "of minima", "aim", "bound", "")),
            training_steps.spread_table(times),
        )
    )


def main(argv: list[str]) -> None:
    """Measure and report."""
    del argv
    training_steps.set_up()
    pgd1 = AttackSpec(epsilon_px=1.0, num_steps=1)
    pgd5 = AttackSpec(epsilon_px=4.0, num_steps=5)
    vanilla = training_steps.benchmark_recipe("vanilla")
    batch = training_steps.noise_batch()
    advprop_state = training_steps.our_state(vanilla, build_model(vanilla.network, branches=("main", "auxiliary")))
    steps = {
        "keras.applications": keras_step(vanilla, batch),
        "vanilla": training_steps.our_step(
            training_steps.our_state(vanilla, build_model(vanilla.network)), vanilla, batch
        ),
        "AdvProp PGD1": training_steps.our_step(advprop_state, training_steps.benchmark_recipe("advprop", pgd1), batch),
        "AdvProp PGD5": training_steps.our_step(advprop_state, training_steps.benchmark_recipe("advprop", pgd5), batch),
        "in fit: vanilla": fit_step("vanilla", pgd1, batch),
        "in fit: AdvProp PGD1": fit_step("advprop", pgd1, batch),
    }
    load_before = os.getloadavg()[0]
    times = timing.take_turns(steps, training_steps.ROUNDS.value)
    text = report(times, load_before, os.getloadavg()[0])
    training_steps.publish("Time of a training step", "benchmarks.step_time", text)


if __name__ == "__main__":
    app.run(main)

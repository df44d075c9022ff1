"""Cost of a step of each scheme relative to a vanilla step on the same number of images, measured in one run.

    python -m benchmarks.schemes --markdown=docs/schemes_cost.md

The table also gives the costs expected from counting passes, where a forward and backward pass over the batch is 1.
"Naive" counts an attack step as a full pass, as the papers do (AdvProp with K attack steps: K + 2). "Counted" assumes
that a backward pass costs two forward passes, and that an attack step needs half of it: 2/3 in all. The steps are
interleaved, so that a change in the machine's load affects all of them. Ratios are those of medians. On CPUs the times
are CPU seconds of this process over all cores, which exclude other processes.
"""

import os
import statistics
import time

import tensorflow as tf
from absl import app

from benchmarks import timing, training_steps
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import (
    ATTACK_STEP,
    AUGMENTED_BRANCH,
    AUXILIARY_BRANCH,
    MAIN_BRANCH,
    SCHEMES,
    Recipe,
    num_fast_adversarial,
)

_MEASURED = tuple(scheme for scheme in SCHEMES if scheme != "adversarial_then_clean")  # the mean of two of the others


def report(times: timing.Times, recipes: dict[str, Recipe]) -> str:
    """A Markdown table of each scheme's measured and expected cost."""
    vanilla = times["vanilla"]
    costs = {
        scheme: (
            statistics.median(times[scheme]) / statistics.median(vanilla),
            min(times[scheme]) / min(vanilla),
            recipe.passes_per_image(),
            recipe.passes_per_image(ATTACK_STEP),
        )
        for scheme, recipe in recipes.items()
    }
    half = zip(costs["adversarial"], costs["vanilla"], strict=True)
    costs["adversarial_then_clean"] = tuple((first + second) / 2 for first, second in half)
    rows = [(scheme, *(f"{value:.2f}" for value in values)) for scheme, values in costs.items()]
    return training_steps.table(rows, ("scheme", "of medians", "of minima", "naive", "counted"))


def main(argv: list[str]) -> None:
    """Measure and report."""
    del argv
    training_steps.set_up()
    batch = training_steps.noise_batch()
    batch["images_augmented"] = batch["images"]
    recipes = {scheme: training_steps.benchmark_recipe(scheme) for scheme in _MEASURED}
    vanilla = recipes["vanilla"]
    # One network for all schemes: the time of a step does not depend on branches that it does not use.
    model = build_model(vanilla.network, branches=(MAIN_BRANCH, AUXILIARY_BRANCH, AUGMENTED_BRANCH))
    state = training_steps.our_state(vanilla, model)
    steps = {scheme: training_steps.our_step(state, recipe, batch) for scheme, recipe in recipes.items()}
    load_before = os.getloadavg()[0]
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    times = timing.take_turns(steps, training_steps.ROUNDS.value, time.perf_counter if on_gpu else time.process_time)
    fraction = recipes["fast_advprop"].fast_adversarial_share
    note = (
        f"PGD1; fast_advprop attacks {num_fast_adversarial(fraction, training_steps.BATCH_SIZE.value)} of the images; "
        "no moving average; "
        "adversarial_then_clean is the mean of its two phases. Augmentation is not included. "
        f"Seconds are {'those of the clock' if on_gpu else 'CPU seconds of all cores'}."
    )
    text = "\n\n".join(
        (
            training_steps.setting(load_before, os.getloadavg()[0]),
            note,
            report(times, recipes),
            training_steps.spread_table(times),
        )
    )
    training_steps.publish("Cost of the schemes, in vanilla steps", "benchmarks.schemes", text)


if __name__ == "__main__":
    app.run(main)

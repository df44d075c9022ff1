"""Time of a training step on the two stacks, as CPU seconds and their ratios.

    python -m benchmarks.stacks --markdown=docs/stacks.md

Each interpreter keeps B0 in a process of its own. The processes take turns (A B A B), one step each, so that a change
in the machine's load affects both. CPU seconds count the work of all threads.
"""

import os
import statistics
import subprocess
import sys
import time

import tensorflow as tf
from absl import app, flags as absl_flags

from benchmarks import timing, training_steps
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import AttackSpec, Recipe

PYTHONS = absl_flags.DEFINE_list(
    "pythons",
    [".venv/bin/python", ".venv-tf221/bin/python"],
    "The interpreters of the two stacks, the first one the reference.",
)
ANSWER = absl_flags.DEFINE_bool("answer", False, "Run each step named on standard input and print its CPU seconds.")


def steps() -> dict[str, timing.Step]:
    """The steps that are compared."""
    vanilla = training_steps.benchmark_recipe("vanilla")
    pgd1 = training_steps.benchmark_recipe("advprop", AttackSpec(epsilon_px=1.0, num_steps=1))
    batch = training_steps.noise_batch()

    def step(recipe: Recipe, branches: tuple[str, ...]) -> timing.Step:
        state = training_steps.our_state(vanilla, build_model(vanilla.network, branches=branches))
        return training_steps.our_step(state, recipe, batch)

    return {"vanilla": step(vanilla, ("main",)), "AdvProp PGD1": step(pgd1, ("main", "auxiliary"))}


def answer() -> None:
    """Print this stack's TensorFlow, then the CPU seconds of each step asked for."""
    training_steps.set_up()
    known = steps()
    for step in known.values():
        timing.seconds(step)
        timing.seconds(step)
    print(tf.__version__, flush=True)
    for line in sys.stdin:
        print(timing.seconds(known[line.strip()], time.process_time), flush=True)


class Stack:
    """The process of one interpreter."""

    def __init__(self, python: str) -> None:
        sizes = [f"--{flag.name}={flag.value}" for flag in (training_steps.IMAGE_SIZE, training_steps.BATCH_SIZE)]
        environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.stacks", "--answer", *sizes],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._process.stdout.readline().strip()

    def cpu_seconds(self, step: str) -> float:
        """CPU seconds of one step."""
        self._process.stdin.write(step + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def main(argv: list[str]) -> None:
    """Measure and report."""
    del argv
    if ANSWER.value:
        answer()
        return
    reference, other = map(Stack, PYTHONS.value)
    load_before = os.getloadavg()[0]
    rows = []
    for step in ("vanilla", "AdvProp PGD1"):
        times = {stack.version: [] for stack in (reference, other)}
        for _ in range(training_steps.ROUNDS.value):
            for stack in (reference, other):
                times[stack.version].append(stack.cpu_seconds(step))
        medians = [statistics.median(values) for values in times.values()]
        rows.append((step, *(f"{median:.2f}" for median in medians), f"{medians[1] / medians[0]:.2f}"))
    text = "\n\n".join(
        (
            training_steps.setting(load_before, os.getloadavg()[0], f"{reference.version} and {other.version}"),
            training_steps.table(rows, ("CPU seconds of a step", *times, "ratio")),
        )
    )
    training_steps.publish("Time of a training step on both stacks", "benchmarks.stacks", text)


if __name__ == "__main__":
    app.run(main)

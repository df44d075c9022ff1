"""Run exported steps on the device that JAX finds: time, memory, and TensorFlow's numbers.

    .venv-accelerator/bin/python -m benchmarks.accelerator.run_step steps/b0

A step exported with --steps=N starts from TensorFlow's values, and its metrics and weights are compared with
TensorFlow's over N steps; it exits with code 1 where they differ by more than the tolerance. Without these values
inputs are made up, and time and memory alone count. Prints a line of JSON for each step.
"""

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any

import jax
import numpy as np

from benchmarks.accelerator.compilers import Step, execute, local_device

_TYPES = {"f32": "float32", "f16": "float16", "i32": "int32", "ui32": "uint32", "i64": "int64", "i1": "bool"}


def made_up(arguments: list[tuple[tuple[int, ...], str]]) -> list[np.ndarray]:
    """Values for arguments of these shapes and types; positive in vectors, where a variance must be."""
    rng = np.random.default_rng(0)
    return [
        (rng.normal(0, 0.05, shape) if len(shape) > 1 else np.ones(shape)).astype(_TYPES[kind])
        for shape, kind in arguments
    ]


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The norm of the difference relative to that of TensorFlow's value."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12))


class Runner:
    """A compiled step with its arguments on the device; each call is one training step."""

    def __init__(self, step: Step, values: dict[str, np.ndarray] | None) -> None:
        start = time.time()
        self.device = local_device()
        self._executable = step.compile(self.device)
        self.compile_seconds = round(time.time() - start, 1)
        kinds, self._aliases = step.arguments(), step.aliases()
        arguments = made_up(kinds) if values is None else [values[f"argument/{index}"] for index in range(len(kinds))]
        self._arguments = [jax.device_put(value, self.device) for value in arguments]
        self._is_variable = set(self._aliases.values())

    def memory(self) -> dict[str, int]:
        """Bytes, as the compiler counts them."""
        memory = self._executable.get_compiled_memory_stats()
        return {"temporary_bytes": memory.temp_size_in_bytes, "argument_bytes": memory.argument_size_in_bytes}

    def step(self) -> list[np.ndarray]:
        """Run a step; returns its metrics."""
        # What is no variable would be taken by the step too if its buffer fitted an output.
        outputs = execute(self._executable, self._arguments)
        for output, argument in self._aliases.items():
            self._arguments[argument] = outputs[output]
        return [output for index, output in enumerate(outputs) if index not in self._aliases]

    def variables(self, first: int) -> list[np.ndarray]:
        """The values of the arguments from this one on."""
        return [np.asarray(value) for value in self._arguments[first:]]


def compare(runner: Runner, step: Step, values: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest relative differences from TensorFlow's metrics and variables."""
    names = step.facts["metrics"]
    steps = 1 + max(int(name.split("/")[1]) for name in values if name.startswith("metric/"))
    of_metrics = [
        difference(ours, values[f"metric/{number}/{name}"])
        for number in range(steps)
        for name, ours in zip(names, runner.step(), strict=True)
    ]
    theirs = [values[f"variable/{index}"] for index in range(len(step.facts["variables"]))]
    ours = runner.variables(len(step.arguments()) - len(theirs))
    return {
        "steps": steps,
        "metrics_differ_by": max(of_metrics),
        "weights_differ_by": difference(*(np.concatenate([np.ravel(v) for v in all_]) for all_ in (ours, theirs))),
    }


def run(path: str, seconds: float) -> dict[str, Any]:
    """Facts of one step."""
    step = Step(path)
    values = dict(np.load(f"{path}.npz")) if os.path.exists(f"{path}.npz") else None
    runner = Runner(step, values)
    facts = {"step": path, "device": runner.device.device_kind, "compile_seconds": runner.compile_seconds}
    facts |= runner.memory()
    if values is not None:
        facts |= compare(runner, step, values)
    runner.step()
    times, end = [], time.monotonic() + seconds
    while not times or time.monotonic() < end:
        start = time.perf_counter()
        runner.step()
        times.append(time.perf_counter() - start)
    milliseconds = [1e3 * value for value in times]
    return facts | {
        "timed_steps": len(times),
        "median_ms": round(statistics.median(milliseconds), 3),
        "minimum_ms": round(min(milliseconds), 3),
    }


def main() -> None:
    """Run the steps of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", help="paths of exported steps, without an ending")
    parser.add_argument("--seconds", type=float, default=10.0, help="of timing, for each step")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest relative difference from TensorFlow")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)  # the step counter is int64
    differ = False
    for path in arguments.steps:
        facts = run(path, arguments.seconds)
        differ |= max(facts.get("metrics_differ_by", 0), facts.get("weights_differ_by", 0)) > arguments.tolerance
        print(json.dumps(facts), flush=True)
    if differ:
        sys.exit(f"error: differs from TensorFlow by more than {arguments.tolerance:g}")


if __name__ == "__main__":
    main()

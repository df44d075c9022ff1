"""Times of computations that take turns."""

import time
from collections.abc import Callable, Mapping

import tensorflow as tf

Step = Callable[[], object]


def seconds(step: Step) -> float:
    """Time of one call, until its result is on the host."""
    start = time.perf_counter()
    tf.nest.map_structure(lambda tensor: tensor.numpy(), step())
    return time.perf_counter() - start


def take_turns(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Times of each step in turn (A B C A B C), so that other load meets all; two calls to warm up come first."""
    for step in steps.values():
        seconds(step)
        seconds(step)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step))
    return times

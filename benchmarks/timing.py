"""Times of interleaved computations."""

import time
from collections.abc import Callable, Mapping

import tensorflow as tf

Step = Callable[[], object]
Clock = Callable[[], float]
Times = dict[str, list[float]]


def seconds(step: Step, clock: Clock = time.perf_counter) -> float:
    """Time of one call, until its result is on the host, in seconds."""
    start = clock()
    tf.nest.map_structure(lambda tensor: tensor.numpy(), step())
    return clock() - start


def take_turns(steps: Mapping[str, Step], rounds: int, clock: Clock = time.perf_counter) -> Times:
    """Times of interleaved steps (A B C A B C), so that other load affects all alike, after two calls of warm-up."""
    for step in steps.values():
        seconds(step)
        seconds(step)
    times: Times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, clock))
    return times

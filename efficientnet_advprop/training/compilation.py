"""Compilation of a pass with XLA on GPUs and CPUs."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def run_pass(jit_compile: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`, compiled with XLA on request.

    A compiled function cannot exchange anything with other replicas: the sums of gradients, the optimizer, the shuffle
    of Fast AdvProp and everything between two passes stay outside. The moving statistics are updated inside. A new
    `tf.function` for every trace: replicas have their own copies of the variables, and must not share one graph.

    Args:
        jit_compile: whether to compile.
        function: of tensors and nests of them, with static shapes; it returns such.
        *arguments: of the function.
    """
    return tf.function(function, autograph=False, jit_compile=True)(*arguments) if jit_compile else function(*arguments)

"""Order under XLA, which ignores control dependencies and merges equal computations.

Without XLA nothing is added: TensorFlow obeys control dependencies, and a barrier would copy its operands.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.framework import ops
from tensorflow.python.ops import control_flow_util


def is_under_xla() -> bool:
    """Whether XLA compiles what is traced here: on a TPU, and in functions with `jit_compile`."""
    # No public function tells. This one also looks at the graphs around the one of a loop or a gradient.
    return control_flow_util.GraphOrParentsInXlaContext(ops.get_default_graph())


def barrier(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The same tensors; under XLA each is there only when all are, and what uses them is not merged with anything else.

    All results must be used: XLA drops the others from the barrier. It has no gradient, so use it outside of a tape.
    """
    return list(gen_xla_ops.xla_optimization_barrier(tensors)) if is_under_xla() else list(tensors)


def in_order(first: Any, then: Any) -> tuple[Any, Any]:
    """Both as they are; under XLA, nothing computed from `then` can start before all of `first` is there.

    Args:
        first: a structure of tensors, such as the gradients of a pass.
        then: a structure of tensors, such as the batch of the next pass. Without this barrier the activations of both
            passes would be in memory at the peak.
    """
    both = (first, then)
    return tf.nest.pack_sequence_as(both, barrier(tf.nest.flatten(both)))

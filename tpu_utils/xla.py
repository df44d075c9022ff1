"""Whether XLA can compile a function, such as a training step, checked without an accelerator."""

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tpu_utils.errors import DeviceError, first_line

_NO_KERNEL = re.compile(r"No registered '(\w+)' OpKernel for .*?\{\{node ([^}]+)\}\}")
_BOUNDED_SHAPE = re.compile(r'\[[^\]]*<=[^\]]*\].*op_type="(\w+)" op_name="([^"]+)"')


def lower_to_hlo(function: Callable[..., Any], *example_args: Any) -> str:
    """Lower a function to XLA's HLO for the first device of this machine, without compiling the HLO.

    The XLA kernels are that device's; a TPU's differ in a few ops.

    Args:
        function: takes tensors or structures of them; its variables must exist already.
        *example_args: structures of tensors, of which only shapes and types are used.

    Returns:
        The HLO module's text.

    Raises:
        DeviceError: when an op has no XLA kernel, or the shape of a tensor depends on the values of others; it names
            the op. XLA can pad some of these shapes to a bound, but then every step costs as much as the bound.
    """

    # Flat, because TensorFlow takes specs only at the top level. Specs, because the values of actual tensors are folded
    # into the program where a shape depends on them, which would hide dynamic shapes.
    def flat_function(*flat_args: tf.Tensor) -> Any:
        return function(*tf.nest.pack_sequence_as(example_args, flat_args))

    specs = [tf.type_spec_from_value(value) for value in tf.nest.flatten(example_args)]
    lower = tf.function(flat_function, jit_compile=True).experimental_get_compiler_ir(*specs)
    try:
        hlo = lower(stage="hlo")
    except ValueError as error:
        raise DeviceError(f"XLA cannot compile this: {_reason(error)}") from error
    if bounded := _BOUNDED_SHAPE.search(hlo):
        op, node = bounded.groups()
        raise DeviceError(f"XLA cannot give this static shapes: that of {op} (node {node}) depends on values")
    return hlo


def _reason(error: Exception) -> str:
    """The reason, from XLA's long message."""
    if no_kernel := _NO_KERNEL.search(str(error)):
        op, node = no_kernel.groups()
        return f"it has no kernel for {op} (node {node})"
    return first_line(error).removeprefix("Failed getting HLO text: '")

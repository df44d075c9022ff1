"""Numeric precision of layers."""

import tensorflow as tf

from tpu_utils.errors import DeviceError

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def set_precision(precision: str | None, strategy: tf.distribute.Strategy) -> str:
    """Set Keras' global precision policy. Call it before layers are built.

    Variables are float32 in every policy. bfloat16 has the exponent range of float32. float16, for GPUs without
    bfloat16 such as T4 and V100, has not: gradients below 6e-8 become 0, so that its losses have to be scaled.

    Args:
        precision: "float32", "bfloat16" or "float16"; None means bfloat16 on TPU, whose native type it is, and float32
            elsewhere.
        strategy: the devices.

    Returns:
        The policy's name, "float32", "mixed_bfloat16" or "mixed_float16".

    Raises:
        DeviceError: for an unknown precision, and for float16 on a TPU.
    """
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    precision = precision or ("bfloat16" if on_tpu else "float32")
    if precision not in _POLICIES:
        raise DeviceError(f"unknown precision {precision}; known: {', '.join(_POLICIES)}")
    if on_tpu and precision == "float16":
        raise DeviceError("precision float16 is for GPUs; a TPU computes in bfloat16 or float32")
    tf.keras.mixed_precision.set_global_policy(_POLICIES[precision])
    return _POLICIES[precision]

"""Numeric precision of layers."""

import tensorflow as tf


def set_precision(use_bfloat16: bool | None, strategy: tf.distribute.Strategy) -> str:
    """Set Keras' global precision policy. Call it before layers are built.

    bfloat16 has the exponent range of float32, so that the loss needs no scaling. Variables are float32 in both
    policies.

    Args:
        use_bfloat16: None means yes on TPU, whose native type it is, and no elsewhere.
        strategy: the devices.

    Returns:
        The policy's name, "mixed_bfloat16" or "float32".
    """
    if use_bfloat16 is None:
        use_bfloat16 = isinstance(strategy, tf.distribute.TPUStrategy)
    policy = "mixed_bfloat16" if use_bfloat16 else "float32"
    tf.keras.mixed_precision.set_global_policy(policy)
    return policy

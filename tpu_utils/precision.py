"""What layers compute in."""

import tensorflow as tf


def set_precision(use_bfloat16: bool | None, strategy: tf.distribute.Strategy) -> str:
    """Set Keras' global policy; call it before layers are built.

    bfloat16 has the exponents of float32, so the loss needs no scaling; variables stay float32 either way.

    Args:
        use_bfloat16: None turns it on where it is the hardware's own type, on TPU.
        strategy: the devices.

    Returns:
        The policy's name, "mixed_bfloat16" or "float32".
    """
    if use_bfloat16 is None:
        use_bfloat16 = isinstance(strategy, tf.distribute.TPUStrategy)
    policy = "mixed_bfloat16" if use_bfloat16 else "float32"
    tf.keras.mixed_precision.set_global_policy(policy)
    return policy

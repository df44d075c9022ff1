"""A network's logits in inference mode, with gradients that float16 can hold."""

from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.attacks import LogitsFunction, finite_gradient

# The gradient of a confident image's loss is about 1e-4 at the logits already, and float16 ends at 6e-8. Training has a
# scale that follows the gradients; an evaluation, whose gradients are those of single images, has this one.
_FLOAT16_SCALE = 2.0**10


def logits_through(model: tf.keras.Model, branch: str, statistics: str | None = None) -> LogitsFunction:
    """Images [B, H, W, 3] in [0, 255] -> logits [B, K] in inference mode.

    In float16 the gradient is computed 2^10 times as large, and divided again where the images are float32. What is not
    finite then is 0: an attack leaves these pixels as they are.

    Args:
        model: an evaluated network; one in float16 has this `compute_dtype`.
        branch: of the network.
        statistics: of its batch norms; None is the default of inference.
    """
    given = {} if statistics is None else {"statistics": statistics}

    def logits_fn(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False, branch=branch, **given)

    if getattr(model, "compute_dtype", None) != "float16":
        return logits_fn
    enlarged, restored = _with_gradient_times(_FLOAT16_SCALE), _with_gradient_times(1.0 / _FLOAT16_SCALE)
    return lambda images: enlarged(logits_fn(finite_gradient(restored(images))))


def _with_gradient_times(factor: float) -> Callable[[tf.Tensor], tf.Tensor]:
    """The identity, whose gradient is multiplied by a factor."""

    @tf.custom_gradient
    def identity(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.identity(values), lambda upstream: factor * upstream

    return identity

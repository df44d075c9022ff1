"""What is looked at in a trained network, beside its accuracy: loss gradients of images, running statistics."""

import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_STATISTICS = ("moving_mean", "moving_variance")
_NORM = re.compile(r"(?P<layer>.+)\.norms\.(?P<branch>\w+)\.moving_mean")


def loss_gradients(model: tf.keras.Model, images: np.ndarray, labels: np.ndarray, branch: str) -> np.ndarray:
    """The cross-entropy's gradient with respect to each image, float32 [N, H, W, 3], in inference mode.

    Args:
        model: called outside of replicas.
        images: [N, H, W, 3] in [0, 255].
        labels: int [N].
        branch: that the images go through.
    """
    pixels = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logits = model(pixels, training=False, branch=branch)
        # Summed: no image's gradient depends on the others then.
        loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    return tape.gradient(loss, pixels).numpy()


def running_statistics(model: tf.keras.Model, branches: Sequence[str], num_layers: int) -> dict[str, np.ndarray]:
    """Running means and variances of a few batch norms, evenly spaced from the first to the last.

    Args:
        model: that holds them.
        branches: whose.
        num_layers: how many batch norms; all where there are fewer.

    Returns:
        `LAYER/BRANCH/moving_mean` and `LAYER/BRANCH/moving_variance`, float32 [C] each, from stem to head.
    """
    variables = model.weights_by_path()
    matches = (_NORM.fullmatch(path) for path in variables)
    layers = sorted(dict.fromkeys(match["layer"] for match in matches if match), key=_depth)
    chosen = sorted({round(place) for place in np.linspace(0, len(layers) - 1, num_layers)})
    return {
        f"{layers[place]}/{branch}/{statistic}": variables[f"{layers[place]}.norms.{branch}.{statistic}"].numpy()
        for place in chosen
        for branch in branches
        for statistic in _STATISTICS
    }


def _depth(layer: str) -> tuple[int, int]:
    """Stem, blocks by number, head."""
    if block := re.match(r"blocks\.(\d+)", layer):
        return 1, int(block[1])
    return (0 if layer.startswith("stem") else 2), 0

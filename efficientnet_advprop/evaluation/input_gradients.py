"""The gradient of the loss with respect to the pixels of each image."""

import numpy as np
import tensorflow as tf

from efficientnet_advprop.evaluation.logits import logits_through
from efficientnet_advprop.recipes import RecipeError, first_line


def loss_gradients(model: tf.keras.Model, images: np.ndarray, labels: np.ndarray, branch: str) -> np.ndarray:
    """The gradient of the cross-entropy with respect to each image, float32 [N, H, W, 3], in inference mode.

    Args:
        model: called outside of replicas.
        images: [N, H, W, 3] in [0, 255].
        labels: int [N].
        branch: of the model.
    """
    pixels = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logits = logits_through(model, branch)(pixels)
        # A sum: the gradient of an image does not depend on the other images.
        loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    return tape.gradient(loss, pixels).numpy()


def share_in_squares(gradients: np.ndarray, side_px: int) -> float:
    """How much of the squared gradients is left after averaging over squares: shapes are left, noise is not.

    Our measure. Of independent noise 1 / side_px^2 is left, of what is constant in each square all.

    Args:
        gradients: [N, H, W, 3]; what does not fill a square at the right and the bottom is not counted.
        side_px: of the squares.
    """
    number, height, width, channels = gradients.shape
    rows, columns = height // side_px, width // side_px
    whole = gradients[:, : rows * side_px, : columns * side_px].astype(np.float64)
    whole /= np.maximum(np.abs(whole).max((1, 2, 3), keepdims=True), 1e-300)  # every image counts, and no square is 0
    means = whole.reshape(number, rows, side_px, columns, side_px, channels).mean((2, 4))
    return float((side_px**2 * (means**2).sum((1, 2, 3)) / np.maximum((whole**2).sum((1, 2, 3)), 1e-300)).mean())


def require_gradients(model: tf.keras.Model, image_size: int, path: str) -> None:
    """Refuse a network that gives no gradient of its input, as a graph read from a file may.

    Args:
        model: called outside of replicas.
        image_size: side of its input in pixels.
        path: of its weights, for the message.

    Raises:
        RecipeError: naming the file.
    """
    try:
        loss_gradients(model, np.full((1, image_size, image_size, 3), 128.0), np.zeros(1, np.int32), model.branches[0])
    except tf.errors.ResourceExhaustedError:  # another fault, which the checkpoint has too
        raise
    # No gradient; an operation without one; one whose gradient the device cannot compute.
    except (AttributeError, LookupError, tf.errors.OpError) as error:
        raise RecipeError(
            f"{path} gives no gradient with respect to its images ({first_line(error)}): visualize needs the checkpoint"
        ) from error

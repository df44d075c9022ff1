"""Predictions for images without labels."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.recipes import MAIN_BRANCH

TOP = 5


def logits_of_batches(
    strategy: tf.distribute.Strategy, model: tf.keras.Model, branch: str = MAIN_BRANCH
) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """A function from images, each [H, W, 3] in [0, 255], to their logits [N, K].

    Args:
        strategy: its replicas share the images; a batch is padded to a multiple of their number.
        model: called in inference mode.
        branch: of the model.
    """
    num_replicas = strategy.num_replicas_in_sync

    @tf.function(autograph=False)
    def logits_on_replicas(images: tf.Tensor) -> tf.Tensor:
        return strategy.run(lambda images: model(images, training=False, branch=branch), args=(images,))

    def logits_of(images: Sequence[np.ndarray]) -> np.ndarray:
        padding = [np.zeros_like(images[0])] * (-len(images) % num_replicas)
        batch = np.stack([*images, *padding])
        on_each = batch.reshape(num_replicas, -1, *batch.shape[1:])
        distributed = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(on_each[context.replica_id_in_sync_group])
        )
        outputs = strategy.experimental_local_results(logits_on_replicas(distributed))
        return np.concatenate([output.numpy() for output in outputs])[: len(images)]

    return logits_of


def top_classes(logits: np.ndarray, class_names: Sequence[str]) -> list[dict[str, float | int | str]]:
    """Label, name and probability of the most likely classes of one image, in descending order.

    Args:
        logits: [K].
        class_names: K of them.
    """
    probabilities = tf.nn.softmax(logits).numpy()
    best = tf.math.top_k(logits, k=min(TOP, len(class_names))).indices.numpy()  # ties go to the lower class
    return [
        {"label": int(label), "name": class_names[label], "probability": float(probabilities[label])} for label in best
    ]

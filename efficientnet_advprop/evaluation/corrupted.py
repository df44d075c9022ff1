"""Top-1 accuracy on corrupted pictures."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.evaluation.corruptions import SEVERITIES, STUDY_CORRUPTIONS, corrupt
from efficientnet_advprop.evaluation.prediction import logits_of_batches


class CorruptedAccuracy:
    """`top1_NAME` of each of a study's corruptions, the mean over its severities, and `top1_corrupted`, their mean.

    The corruptions are made on the fly, each picture's under a seed of its own: its place among the pictures. All of it
    goes through the main branch.

    Args:
        strategy: whose replicas share each batch.
        model: evaluated in inference mode.
        images: uint8 [N, H, W, 3].
        labels: int [N].
        batch_size: pictures at a time.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: tf.keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
    ) -> None:
        self._logits_of = logits_of_batches(strategy, model)
        self._images, self._labels, self._batch_size = images, labels, batch_size

    def run(self) -> Iterator[tuple[str, float]]:
        """One pass over the pictures for each corruption and severity."""
        means = {}
        for name in STUDY_CORRUPTIONS:
            means[name] = float(np.mean([self._top1(name, severity) for severity in SEVERITIES]))
            yield f"top1_{name}", means[name]
        yield "top1_corrupted", float(np.mean(list(means.values())))

    def _top1(self, name: str, severity: int) -> float:
        hits = 0
        for start in range(0, len(self._images), self._batch_size):
            images = self._images[start : start + self._batch_size]
            corrupted = [
                corrupt(image, name, severity, seed).astype(np.float32) for seed, image in enumerate(images, start)
            ]
            hits += self._count_hits(corrupted, self._labels[start : start + self._batch_size])
        return hits / len(self._images)

    def _count_hits(self, images: Sequence[np.ndarray], labels: np.ndarray) -> int:
        return int(np.sum(np.argmax(self._logits_of(images), axis=-1) == labels))

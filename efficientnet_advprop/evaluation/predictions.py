"""A network's predictions for every image of a pass, and their scores."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.recipes import IMAGES_VIEW, RecipeError

Batch = Mapping[str, tf.Tensor]
# A replica's batch, the batch's number, arguments of the pass -> logits [B, K] by branch, or by kind of image.
Predict = Callable[..., dict[str, tf.Tensor]]

_TOP = 5


def through_branches(model: tf.keras.Model, branches: Sequence[str]) -> Predict:
    """Logits of unchanged images in inference mode, by branch."""

    def predict(batch: Batch, number: tf.Tensor) -> dict[str, tf.Tensor]:
        del number
        return {branch: model(batch[IMAGES_VIEW], training=False, branch=branch) for branch in branches}

    return predict


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions for N images.

    Attributes:
        labels: the true classes, int [N].
        ranked: the most likely classes in descending order, int [N, 5] or [N, K] for K < 5 classes; of equal logits
            the lower class comes first.
        losses: cross-entropy, float [N].
        of_subset: the most likely class of a subset of the classes, int [N]; None without a subset.
        subset_size: number of classes in the subset.
    """

    labels: np.ndarray
    ranked: np.ndarray
    losses: np.ndarray
    of_subset: np.ndarray | None = None
    subset_size: int | None = None

    def scores(self) -> dict[str, float]:
        """`top1` and `top5` (fractions), `loss` (mean) and, with a subset of N classes, `top1_of_N`."""
        hits = self.ranked == self.labels[:, np.newaxis]
        scores = {"top1": hits[:, 0].mean(), "top5": hits.any(axis=1).mean(), "loss": self.losses.mean()}
        if self.of_subset is not None:
            scores[f"top1_of_{self.subset_size}"] = (self.of_subset == self.labels).mean()
        return {name: float(value) for name, value in scores.items()}

    def confusions(self, number: int) -> list[tuple[int, int, int]]:
        """The `number` most frequent mistakes: (true class, predicted class, times)."""
        wrong = (self.ranked[:, 0] != self.labels) & (self.ranked[:, 0] >= 0)
        pairs = zip(self.labels[wrong].tolist(), self.ranked[wrong, 0].tolist(), strict=True)
        counts = collections.Counter(pairs).items()
        return [(*pair, times) for pair, times in sorted(counts, key=lambda item: (-item[1], item[0]))[:number]]


class PredictionCollector:
    """Collects the predictions for all images of a pass.

    Passes over images of the same size share one graph. Every worker gets the predictions for all images.

    Args:
        strategy: its replicas share each batch.
        predict: called in replicas.
        subset: classes for `Predictions.of_subset`.
    """

    def __init__(self, strategy: tf.distribute.Strategy, predict: Predict, subset: Sequence[int] | None = None) -> None:
        self._subset_size = None if subset is None else len(subset)

        def predictions(batch: Batch, number: tf.Tensor, *arguments: tf.Tensor) -> dict[str, Any]:
            labels, predicted = batch["labels"], {}
            for name, logits in predict(batch, number, *arguments).items():
                # Logits that are not finite are no prediction: -1 is no class, and counts as wrong.
                is_finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1, keepdims=True)
                ranked = tf.math.top_k(logits, k=min(_TOP, logits.shape[-1])).indices
                predicted[name] = {
                    "ranked": tf.where(is_finite, ranked, -1),
                    "losses": tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits),
                }
                if subset is not None:
                    columns = tf.constant(subset, tf.int32)
                    best = tf.argmax(tf.gather(logits, columns, axis=-1), axis=-1)
                    predicted[name]["of_subset"] = tf.where(is_finite[:, 0], tf.gather(columns, best), -1)
            return {"labels": labels, "mask": batch["mask"], "bad": batch["bad"], "predicted": predicted}

        @tf.function(autograph=False)
        def on_replicas(batch: Batch, number: tf.Tensor, *arguments: tf.Tensor) -> dict[str, Any]:
            on_each = strategy.run(predictions, args=(batch, number, *arguments))
            return tf.nest.map_structure(lambda value: strategy.gather(value, axis=0), on_each)

        self._on_replicas = on_replicas

    def collect(
        self, batches: Iterable[Batch], num_images: int, arguments: Sequence[tf.Tensor] = ()
    ) -> tuple[dict[str, Predictions], int]:
        """Collect the predictions of one pass.

        Args:
            batches: distributed evaluation batches, padded and masked.
            num_images: expected number of images, bad ones included.
            arguments: of this pass, for `predict`.

        Returns:
            The predictions by branch or kind of image without bad images, and the number of bad images.

        Raises:
            RecipeError: when all images are bad.
            RuntimeError: when the pass holds another number of images.
        """
        collected: list[dict[str, Any]] = []
        num_bad = count = 0
        for number, batch in enumerate(batches):
            gathered = self._on_replicas(batch, tf.constant(number), *arguments)
            values = tf.nest.map_structure(lambda value: value.numpy(), gathered)
            kept = values["mask"] > 0
            num_bad += round(float(values["bad"].sum()))
            count += int(kept.sum())
            collected.append(tf.nest.map_structure(lambda value, kept=kept: value[kept], values))
        if num_bad == num_images:
            raise RecipeError(f"none of the {num_images} images could be read")
        if count + num_bad != num_images:
            raise RuntimeError(f"evaluation counted {count} images and {num_bad} bad ones instead of {num_images}")
        values = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *collected)
        predictions = {
            name: Predictions(values["labels"], **fields, subset_size=self._subset_size)
            for name, fields in values["predicted"].items()
        }
        return predictions, num_bad

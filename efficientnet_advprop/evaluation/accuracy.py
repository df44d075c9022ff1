"""Top-1 and top-5 accuracy on clean images, through every branch, and under attack; every image counts once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.attacks import attack_loss, perturb
from efficientnet_advprop.randomness import replica_seed
from efficientnet_advprop.recipes import AttackSpec

Batch = Mapping[str, tf.Tensor]
Counts = dict[str, tf.Tensor]


class Evaluator(Protocol):
    """Something that can be measured on the evaluation pictures."""

    def run(self) -> Iterator[tuple[str, float]]:
        """Yield (name, value)."""


def run_all(evaluators: Iterable[Evaluator]) -> dict[str, float]:
    """All results by name."""
    return dict(result for evaluator in evaluators for result in evaluator.run())


class CleanAccuracy:
    """`top1_BRANCH`, `top5_BRANCH` and `loss_BRANCH` (cross-entropy without smoothing) for each branch, in one pass.

    Where pictures are bad, `bad_images` tells how many: the means are over the others.

    Args:
        strategy: whose replicas share each batch.
        model: evaluated in inference mode.
        batches: a fresh pass over the distributed evaluation batches, padded and masked.
        num_images: how many pictures have to be counted, or told to be bad.
        branches: to evaluate.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: tf.keras.Model,
        batches: Callable[[], Iterable[Batch]],
        num_images: int,
        branches: Sequence[str],
    ) -> None:
        self._model, self._branches = model, branches
        self._count = _Counter(strategy, self._counts, batches, num_images)

    def run(self) -> Iterator[tuple[str, float]]:
        """One pass over the pictures."""
        yield from self._count.means()
        if self._count.num_bad:
            yield "bad_images", self._count.num_bad

    def _counts(self, batch: Batch, index: tf.Tensor) -> Counts:
        del index
        counts = {}
        for branch in self._branches:
            logits = self._model(batch["images"], training=False, branch=branch)
            for name, value in _scores(batch["labels"], logits).items():
                counts[f"{name}_{branch}"] = value
        return counts


class PgdAccuracy:
    """`top1_pgd`: accuracy on images that an attack moved against this very model, unsmoothed loss, true labels.

    Args:
        strategy: whose replicas share each batch.
        model: attacked and evaluated in inference mode.
        batches: a fresh pass over the distributed evaluation batches, padded and masked.
        num_images: how many pictures have to be counted, or told to be bad.
        branch: attacked and evaluated.
        spec: the attack.
        seed: of its random starts.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: tf.keras.Model,
        batches: Callable[[], Iterable[Batch]],
        num_images: int,
        branch: str,
        spec: AttackSpec,
        seed: int,
    ) -> None:
        self._model, self._branch, self._spec, self._seed = model, branch, spec, seed
        self._count = _Counter(strategy, self._counts, batches, num_images)

    def run(self) -> Iterator[tuple[str, float]]:
        """One pass over the pictures."""
        yield "top1_pgd", dict(self._count.means())["top1"]

    def _counts(self, batch: Batch, index: tf.Tensor) -> Counts:
        def logits_fn(images: tf.Tensor) -> tf.Tensor:
            return self._model(images, training=False, branch=self._branch, statistics=self._spec.batch_norm_mode)

        seed = replica_seed(self._seed, index)
        target_seed, start_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        labels = tf.one_hot(batch["labels"], self._model.num_classes)  # [B, K]
        adversarial = perturb(
            attack_loss(logits_fn, labels, self._spec, target_seed), batch["images"], self._spec, start_seed
        )
        logits = self._model(adversarial, training=False, branch=self._branch)
        return {"top1": _scores(batch["labels"], logits)["top1"]}


class _Counter:
    """Sums per-image values over all real images of a pass, and divides by their number."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        values: Callable[[Batch, tf.Tensor], Counts],
        batches: Callable[[], Iterable[Batch]],
        num_images: int,
    ) -> None:
        self._batches, self._num_images = batches, num_images
        self.num_bad = 0  # in the last pass

        def replica_sums(batch: Batch, index: tf.Tensor) -> Counts:
            mask = batch["mask"]  # [B]
            # Padding may score anything, NaN included: selected away, not multiplied.
            sums = {name: tf.reduce_sum(tf.where(mask > 0, value, 0.0)) for name, value in values(batch, index).items()}
            return {**sums, "count": tf.reduce_sum(mask), "bad": tf.reduce_sum(batch["bad"])}

        @tf.function(autograph=False)
        def sums(batch: Batch, index: tf.Tensor) -> Counts:
            per_replica = strategy.run(replica_sums, args=(batch, index))
            return {name: strategy.reduce("SUM", value, axis=None) for name, value in per_replica.items()}

        self._sums = sums

    def means(self) -> Iterator[tuple[str, float]]:
        """(name, mean over the pictures).

        Raises:
            RuntimeError: when the pass held another number of pictures than expected.
        """
        totals: dict[str, float] = {}
        for index, batch in enumerate(self._batches()):
            for name, value in self._sums(batch, tf.constant(index)).items():
                totals[name] = totals.get(name, 0.0) + float(value)
        count, self.num_bad = totals.pop("count", 0.0), round(totals.pop("bad", 0.0))
        if count + self.num_bad != self._num_images or not count:
            raise RuntimeError(
                f"evaluation counted {count:.0f} pictures and {self.num_bad} bad ones instead of {self._num_images}"
            )
        for name, total in totals.items():
            yield name, total / count


def _scores(labels: tf.Tensor, logits: tf.Tensor) -> Counts:
    """Per-image top-1, top-5 and cross-entropy, each float32 [B]; labels int32 [B], logits [B, K]."""
    ranked = tf.math.top_k(logits, k=min(5, logits.shape[-1])).indices  # [B, 5]; ties go to the lower class
    hits = tf.equal(ranked, labels[:, tf.newaxis])
    return {
        "top1": tf.cast(hits[:, 0], tf.float32),
        "top5": tf.cast(tf.reduce_any(hits, axis=1), tf.float32),
        "loss": tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits),
    }

"""Top-1 and top-5 accuracy on clean images, through every branch, and under attack; every image counts once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.attacks import attack_loss, perturb
from efficientnet_advprop.evaluation.predictions import AnswerCollector, Batch, through_branches
from efficientnet_advprop.randomness import replica_seed
from efficientnet_advprop.recipes import IMAGES_VIEW, AttackSpec

_UNDER_ATTACK = "pgd"


class Evaluator(Protocol):
    """Something that can be measured on the evaluation images."""

    def run(self) -> Iterator[tuple[str, float]]:
        """Yield (name, value)."""


def run_all(evaluators: Iterable[Evaluator]) -> dict[str, float]:
    """All results by name."""
    return dict(result for evaluator in evaluators for result in evaluator.run())


class CleanAccuracy:
    """`top1_BRANCH`, `top5_BRANCH` and `loss_BRANCH` (cross-entropy without smoothing) for each branch, in one pass.

    Where images are bad, `bad_images` tells how many: the means are over the others.

    Args:
        strategy: whose replicas share each batch.
        model: evaluated in inference mode.
        batches: a fresh pass over the distributed evaluation batches, padded and masked.
        num_images: how many images have to be counted, or told to be bad.
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
        self._collector = AnswerCollector(strategy, through_branches(model, branches))
        self._batches, self._num_images = batches, num_images

    def run(self) -> Iterator[tuple[str, float]]:
        """One pass over the images."""
        answers, num_bad = self._collector.collect(self._batches(), self._num_images)
        for branch, said in answers.items():
            for name, value in said.scores().items():
                yield f"{name}_{branch}", value
        if num_bad:
            yield "bad_images", num_bad


class PgdAccuracy:
    """`top1_pgd`: accuracy on images that an attack moved against this very model, unsmoothed loss, true labels.

    Args:
        strategy: whose replicas share each batch.
        model: attacked and evaluated in inference mode.
        batches: a fresh pass over the distributed evaluation batches, padded and masked.
        num_images: how many images have to be counted, or told to be bad.
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
        self._collector = AnswerCollector(strategy, self._respond)
        self._batches, self._num_images = batches, num_images

    def run(self) -> Iterator[tuple[str, float]]:
        """One pass over the images."""
        answers, _ = self._collector.collect(self._batches(), self._num_images)
        yield "top1_pgd", answers[_UNDER_ATTACK].scores()["top1"]

    def _respond(self, batch: Batch, index: tf.Tensor) -> dict[str, tf.Tensor]:
        def logits_fn(images: tf.Tensor) -> tf.Tensor:
            return self._model(images, training=False, branch=self._branch, statistics=self._spec.batch_norm_mode)

        seed = replica_seed(self._seed, index)
        target_seed, start_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        labels = tf.one_hot(batch["labels"], self._model.num_classes)  # [B, K]
        adversarial = perturb(
            attack_loss(logits_fn, labels, self._spec, target_seed), batch[IMAGES_VIEW], self._spec, start_seed
        )
        return {_UNDER_ATTACK: self._model(adversarial, training=False, branch=self._branch)}

"""Adversarial examples to look at."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from efficientnet_advprop.attacks import attack_loss, perturb
from efficientnet_advprop.evaluation.logits import logits_through
from efficientnet_advprop.randomness import run_seed, split
from efficientnet_advprop.recipes import AttackSpec


@dataclasses.dataclass(frozen=True)
class AdversarialExamples:
    """Clean and adversarial images, float32 [N, H, W, 3] in [0, 255].

    Attributes:
        clean: the network's input.
        adversarial: the attacked images.
        labels: int [N].
        clean_classes: predictions of the attacked branch for clean images, int [N].
        adversarial_classes: its predictions for adversarial images, int [N].
    """

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    clean_classes: np.ndarray
    adversarial_classes: np.ndarray


def adversarial_examples(
    strategy: tf.distribute.Strategy,
    model: tf.keras.Model,
    batches: Iterable[Mapping[str, tf.Tensor]],
    branch: str,
    spec: AttackSpec,
    count: int,
    seed: int,
) -> AdversarialExamples:
    """Attack the first images of a pass through one branch in inference mode.

    Images are those of the first replica's part of the first batch, at most `count`.
    """

    def attack(batch: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        # As the attack does: official evaluation images overshoot the range.
        images = tf.clip_by_value(batch["images"][:count], 0.0, 255.0)
        labels = batch["labels"][:count]

        logits_fn = logits_through(model, branch, spec.batch_norm_mode)
        target_seed, start_seed = split(run_seed(seed, "philox"))
        loss_fn = attack_loss(logits_fn, tf.one_hot(labels, model.num_classes), spec, target_seed)
        adversarial = perturb(loss_fn, images, spec, start_seed)
        classes = [tf.argmax(model(batch, training=False, branch=branch), axis=-1) for batch in (images, adversarial)]
        return images, adversarial, labels, *classes

    # Not a lambda: TPUStrategy names operations after this function.
    @tf.function(autograph=False)
    def on_replicas(batch: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        return strategy.run(attack, args=(batch,))

    outputs = on_replicas(next(iter(batches)))
    return AdversarialExamples(*(strategy.experimental_local_results(output)[0].numpy() for output in outputs))

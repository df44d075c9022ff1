"""Adversarial examples to look at."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from efficientnet_advprop.attacks import attack_loss, perturb
from efficientnet_advprop.evaluation.logits import logits_through
from efficientnet_advprop.randomness import fold, run_seed, split
from efficientnet_advprop.recipes import AttackSpec

ATTACKED_IMAGES = 64  # from which examples to draw are chosen


@dataclasses.dataclass(frozen=True)
class AdversarialExamples:
    """Clean and adversarial images, float32 [N, H, W, 3] in [0, 255].

    Attributes:
        clean: the network's input.
        adversarial: the attacked images.
        labels: int [N].
        clean_classes: predictions of the attacked branch for clean images, int [N].
        adversarial_classes: its predictions for adversarial images, int [N].
        clean_confidences: the probabilities of `clean_classes`, float32 [N].
        adversarial_confidences: the probabilities of `adversarial_classes`, float32 [N].
    """

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    clean_classes: np.ndarray
    adversarial_classes: np.ndarray
    clean_confidences: np.ndarray
    adversarial_confidences: np.ndarray

    @property
    def changed(self) -> np.ndarray:
        """Whether the attack changes the prediction, bool [N]."""
        return self.clean_classes != self.adversarial_classes

    def changes_in_words(self) -> str:
        """How many predictions the attack changes, for titles."""
        if not self.changed.any():
            return f"none of {len(self.changed)} predictions changes"
        return f"{self.changed.sum()} of {len(self.changed)} predictions change"

    def changed_first(self, count: int) -> "AdversarialExamples":
        """At most `count` examples: those that the attack changes, then others, each kind in its order."""
        chosen = np.argsort(~self.changed, kind="stable")[:count]
        return AdversarialExamples(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))


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

    Images are those of the first replica's part of each batch, at most `count` in all, without padding and bad images.
    """

    def attack(batch: Mapping[str, tf.Tensor], number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # As the attack does: official evaluation images overshoot the range.
        images = tf.clip_by_value(tf.cast(batch["images"][:count], tf.float32), 0.0, 255.0)
        labels = batch["labels"][:count]

        logits_fn = logits_through(model, branch, spec.batch_norm_mode)
        target_seed, start_seed = split(fold(run_seed(seed, "philox"), number))
        loss_fn = attack_loss(logits_fn, tf.one_hot(labels, model.num_classes), spec, target_seed)
        adversarial = perturb(loss_fn, images, spec, start_seed)
        logits = [model(shown, training=False, branch=branch) for shown in (images, adversarial)]
        classes = [tf.argmax(of, axis=-1) for of in logits]
        confidences = [tf.reduce_max(tf.nn.softmax(of), axis=-1) for of in logits]
        return batch["mask"][:count], images, adversarial, labels, *classes, *confidences

    # Not a lambda: TPUStrategy names operations after this function.
    @tf.function(autograph=False)
    def on_replicas(batch: Mapping[str, tf.Tensor], number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return strategy.run(attack, args=(batch, number))

    found: list[list[np.ndarray]] = []
    for number, batch in enumerate(batches):
        outputs = on_replicas(batch, tf.constant(number))
        mask, *values = (strategy.experimental_local_results(output)[0].numpy() for output in outputs)
        found.append([value[mask > 0] for value in values])
        if sum(len(values[0]) for values in found) >= count:
            break
    return AdversarialExamples(*(np.concatenate(values)[:count] for values in zip(*found, strict=True)))

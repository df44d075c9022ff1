"""Logits of attacked images: at a random point, after one step, at the last or the worst point of PGD."""

import dataclasses

import tensorflow as tf

from efficientnet_advprop.attacks import LogitsFunction, ascend, attack_loss, perturb, starting_point
from efficientnet_advprop.evaluation.logits import logits_through
from efficientnet_advprop.evaluation.part_keys import CLEAN_IMAGES
from efficientnet_advprop.evaluation.predictions import Batch, Predict
from efficientnet_advprop.randomness import fold, replica_seed, run_seed, split
from efficientnet_advprop.recipes import IMAGES_VIEW, AttackSpec


def under_attack(
    model: tf.keras.Model, branch: str, attack: AttackSpec, success: str, restarts: int, seed: int
) -> Predict:
    """Predictions for attacked images, by kind of image, for a `PredictionCollector`.

    Passes take the attack's `strength` as arguments, so that all strengths share one graph.

    Args:
        model: attacked and evaluated in inference mode.
        branch: attacked and evaluated.
        attack: untargeted; its epsilon and step size are not read.
        success: "last": `pgd` is the last point of one attack, the only kind of image. "any": `pgd` is the worst point
            of all restarts, beside `clean`, `noise` and `one_step`.
        restarts: of the attack, for "any".
        seed: of its random starts.
    """

    def predict(
        batch: Batch, number: tf.Tensor, epsilon_px: tf.Tensor, step_size_px: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        logits_fn = logits_through(model, branch)
        spec = dataclasses.replace(attack, epsilon_px=epsilon_px, step_size_px=step_size_px)
        images, labels = batch[IMAGES_VIEW], batch["labels"]
        # The first seed is of random targets, which untargeted attacks lack, or of noise.
        other_seed, start_seed = split(replica_seed(run_seed(seed, "philox"), number))
        if success == "last":
            loss_fn = attack_loss(logits_fn, tf.one_hot(labels, model.num_classes), spec, other_seed)
            return {"pgd": logits_fn(perturb(loss_fn, images, spec, start_seed))}
        images = tf.clip_by_value(images, 0.0, 255.0)
        return {
            CLEAN_IMAGES: logits_fn(images),
            "noise": logits_at_random_point(logits_fn, images, spec, other_seed),
            "one_step": logits_after_one_step(logits_fn, images, labels, spec),
            "pgd": worst_logits(logits_fn, images, labels, spec, restarts, start_seed),
        }

    return predict


def strength(attack: AttackSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """Epsilon and step size: the arguments of a pass of `under_attack`."""
    return tf.constant(attack.epsilon_px), tf.constant(attack.step_size_px)


def logits_at_random_point(
    logits_fn: LogitsFunction, images: tf.Tensor, spec: AttackSpec, seed: tf.Tensor
) -> tf.Tensor:
    """Logits at a uniformly random point of each image's ball: noise of the attack's size, without gradients.

    Arguments and result are those of `worst_logits`.
    """
    spec = dataclasses.replace(spec, method="pgd", random_start=True)
    return logits_fn(starting_point(images, spec, seed)[1])


def logits_after_one_step(
    logits_fn: LogitsFunction, images: tf.Tensor, labels: tf.Tensor, spec: AttackSpec
) -> tf.Tensor:
    """Logits after one step of length epsilon from each image (FGSM for L-infinity).

    Arguments and result are those of `worst_logits`.
    """
    whole_step = dataclasses.replace(spec, method="ifgsm", random_start=False, step_size_px=spec.epsilon_px)
    clean, _ = starting_point(images, whole_step, tf.zeros([2], tf.int32))
    gradient, _ = _gradient_and_logits(logits_fn, clean, labels)
    return logits_fn(ascend(clean, gradient, clean, whole_step))


def worst_logits(
    logits_fn: LogitsFunction, images: tf.Tensor, labels: tf.Tensor, spec: AttackSpec, restarts: int, seed: tf.Tensor
) -> tf.Tensor:
    """Logits at the worst of all points that an attack visits: the clean image, all starts and all steps.

    The worst point has the largest margin of the best wrong logit over the true one: an image counts as correct only if
    no visited point is misclassified. The steps follow the gradient of the cross-entropy, as in PGD.

    Args:
        logits_fn: images [B, H, W, 3] in [0, 255] -> logits [B, K].
        images: float32 [B, H, W, 3].
        labels: int32 [B].
        spec: the attack, untargeted; epsilon and step size may be scalar tensors.
        restarts: number of starts; each costs `num_steps` forward and backward passes and one more forward pass.
        seed: [2].

    Returns:
        float32 [B, K].
    """

    def one_start(number: tf.Tensor, worst: tf.Tensor) -> tf.Tensor:
        clean, start = starting_point(images, spec, fold(seed, number))

        def step(index: tf.Tensor, adversarial: tf.Tensor, worst: tf.Tensor) -> tuple[tf.Tensor, ...]:
            gradient, logits = _gradient_and_logits(logits_fn, adversarial, labels)
            return index + 1, ascend(adversarial, gradient, clean, spec), _worse_of(worst, logits, labels)

        _, adversarial, worst = tf.while_loop(
            lambda index, *_: index < spec.num_steps,
            step,
            (tf.constant(0), start, worst),
            parallel_iterations=1,
            maximum_iterations=spec.num_steps,
        )
        return _worse_of(worst, logits_fn(adversarial), labels)

    _, worst = tf.while_loop(
        lambda number, _: number < restarts,
        lambda number, worst: (number + 1, one_start(number, worst)),
        (tf.constant(0), logits_fn(tf.clip_by_value(images, 0.0, 255.0))),
        parallel_iterations=1,
        maximum_iterations=restarts,
    )
    return tf.stop_gradient(worst)


def _gradient_and_logits(
    logits_fn: LogitsFunction, images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradient of the cross-entropy with respect to each image, and the logits."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = logits_fn(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tape.gradient(loss, images), logits


def _worse_of(one: tf.Tensor, other: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """For each image the logits [B, K] with the larger margin."""
    is_worse = _margin(other, labels) > _margin(one, labels)
    return tf.where(is_worse[:, tf.newaxis], other, one)


def _margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The best wrong logit minus the true one [B]; the largest float where logits are not finite."""
    is_true = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
    true = tf.reduce_max(tf.where(is_true, logits, logits.dtype.min), axis=-1)
    margin = tf.reduce_max(tf.where(is_true, logits.dtype.min, logits), axis=-1) - true
    return tf.where(tf.reduce_all(tf.math.is_finite(logits), axis=-1), margin, logits.dtype.max)

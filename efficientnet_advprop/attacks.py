"""Adversarial images inside the training graph: a start, then a loop of gradient steps and projections.

An attack is independent of the model: it maximises a loss function of the images. `attack_loss` builds that function
from logits and labels, `perturb` maximises it. Both are pure: no variable changes, and all randomness comes from the
seed.

The attacks are those of "Adversarial Examples Improve Image Recognition" (arXiv 1911.09665): PGD of Madry et al.
(arXiv 1706.06083), I-FGSM (PGD from the clean image) and GD (PGD without projection). All consist of `starting_point`
and `ascend`. Fast AdvProp, which also uses the gradient of its attack step for training, calls these two directly.
"""

from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.randomness import choice, normal, split, uniform
from efficientnet_advprop.recipes import AttackSpec

LogitsFunction = Callable[[tf.Tensor], tf.Tensor]
LossFunction = Callable[[tf.Tensor], tf.Tensor]


def attack_loss(
    logits_fn: LogitsFunction, labels: tf.Tensor, spec: AttackSpec, seed: tf.Tensor, label_smoothing: float = 0.0
) -> LossFunction:
    """The loss that an attack maximises, as a function of the images.

    An untargeted attack maximises the cross-entropy with the true labels. An attack with a random target minimises the
    cross-entropy with a target class, drawn once per image, uniformly from the classes of label probability 0 (a label
    mixed by MixUp or CutMix has several classes of positive probability).

    Args:
        logits_fn: images [B, H, W, 3] in [0, 255] -> logits [B, K]; the caller chooses branch and statistics.
        labels: float32 [B, K], each row a distribution.
        spec: only its `target` is used.
        seed: [2].
        label_smoothing: fraction of each label spread over all classes, as in the training loss.

    Returns:
        images [B, H, W, 3] -> loss [B].
    """
    if spec.target == "untargeted":
        target, sign = labels, 1.0
    else:
        target, sign = tf.one_hot(random_classes_outside(labels, seed), labels.shape[-1]), -1.0

    def loss_fn(images: tf.Tensor) -> tf.Tensor:
        return sign * tf.keras.losses.categorical_crossentropy(
            target, logits_fn(images), from_logits=True, label_smoothing=label_smoothing
        )

    return loss_fn


@tf.custom_gradient
def finite_gradient(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The images; their gradient is 0 where a loss scale that is too large made it infinite or not a number.

    Such values would become pixels, which the moving statistics keep, although the optimizer's step is skipped.
    """
    return images, lambda gradient: tf.where(tf.math.is_finite(gradient), gradient, 0.0)


def random_classes_outside(labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One class [B] per row of `labels` [B, K], uniform over the classes of probability 0."""
    return choice(labels <= 0, seed)


def perturb(loss_fn: LossFunction, images: tf.Tensor, spec: AttackSpec, seed: tf.Tensor) -> tf.Tensor:
    """Perturb images to increase a loss.

    The input is first clipped to [0, 255] (bicubic resizing overshoots). For "pgd" and "ifgsm" the result lies within
    epsilon of the clipped image, for "gd" within num_steps * step_size_px of its start, and for "none" it equals the
    clipped image. It always lies in [0, 255], and gradients stop at it.

    The steps are one `tf.while_loop`, so the graph does not grow with their number. Each step computes the gradient
    with respect to the images only, never with respect to the weights.

    Args:
        loss_fn: images [B, H, W, 3] -> loss [B].
        images: float32 [B, H, W, 3] in [0, 255].
        spec: the attack; its `target` and `batch_norm_mode` are not used here, they decide how `loss_fn` is built.
        seed: [2] of the random start, int32 for Philox, uint32 for Threefry (`randomness`).

    Returns:
        float32 [B, H, W, 3].
    """
    if not spec.perturbs:
        return tf.stop_gradient(_clip_to_pixels(images))
    clean, start = map(_in_rows, starting_point(images, spec, seed))

    def step(index: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        adversarial = tf.reshape(rows, tf.shape(images))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(adversarial)
            loss = loss_fn(adversarial)
        gradient = tape.gradient(loss, adversarial)
        return index + 1, _in_rows(ascend(adversarial, gradient, tf.reshape(clean, tf.shape(images)), spec))

    _, rows = tf.while_loop(
        lambda index, _: index < spec.num_steps,
        step,
        (tf.constant(0), start),
        parallel_iterations=1,
        maximum_iterations=spec.num_steps,
    )
    return tf.stop_gradient(tf.reshape(rows, tf.shape(images)))


def _in_rows(images: tf.Tensor) -> tf.Tensor:
    """[B, H, W, C] -> [B, H, W * C]: a TPU keeps the last dimension of a loop's state in multiples of 128 values."""
    return tf.reshape(images, tf.concat([tf.shape(images)[:2], [-1]], 0))


def starting_point(images: tf.Tensor, spec: AttackSpec, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The clean images and the start of an attack, both [B, H, W, 3] and clipped to [0, 255].

    Without `random_start` the two are equal. With it the start is a uniformly random point of the ball around each
    image, or with `start_std_px` the image plus normal noise, which may lie outside the ball.

    Args:
        images: float32 [B, H, W, 3].
        spec: the attack.
        seed: [2].
    """
    clean = _clip_to_pixels(images)
    start = _clip_to_pixels(clean + _random_offset(clean, spec, seed)) if spec.random_start else clean
    return clean, start


def ascend(adversarial: tf.Tensor, gradient: tf.Tensor, clean: tf.Tensor, spec: AttackSpec) -> tf.Tensor:
    """One attack step, projected: the next iterate, float32 [B, H, W, 3].

    Args:
        adversarial: float32 [B, H, W, 3], the current iterate.
        gradient: [B, H, W, 3], of the loss at the iterate; its length does not matter.
        clean: the clean images, clipped to [0, 255].
        spec: the attack.
    """
    return _project(adversarial + spec.step_size_px * _ascent_direction(gradient, spec.norm), clean, spec)


def _random_offset(images: tf.Tensor, spec: AttackSpec, seed: tf.Tensor) -> tf.Tensor:
    """The random start minus the image, [B, H, W, 3]: uniform in the ball, or normal noise."""
    if spec.start_std_px:
        return spec.start_std_px * normal(tf.shape(images), seed)
    if spec.norm == "linf":
        return uniform(tf.shape(images), seed, -spec.epsilon_px, spec.epsilon_px)
    direction_seed, radius_seed = split(seed)
    direction = _unit_length(normal(tf.shape(images), direction_seed))
    dimensions = tf.cast(tf.reduce_prod(tf.shape(images)[1:]), tf.float32)
    radius = uniform((tf.shape(images)[0], 1, 1, 1), radius_seed) ** (1.0 / dimensions)
    return spec.epsilon_px * radius * direction


def _ascent_direction(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """The direction of steepest ascent, of length 1 in this norm ("linf" or "l2")."""
    return tf.sign(gradient) if norm == "linf" else _unit_length(gradient)


def _project(adversarial: tf.Tensor, clean: tf.Tensor, spec: AttackSpec) -> tf.Tensor:
    """Project onto the ball around the clean images (not for "gd"), then clip to [0, 255]."""
    if spec.method == "gd":
        return _clip_to_pixels(adversarial)
    if spec.norm == "linf":
        return tf.clip_by_value(
            adversarial,
            tf.maximum(clean - spec.epsilon_px, 0.0),
            tf.minimum(clean + spec.epsilon_px, 255.0),
        )
    offset = adversarial - clean
    shrink = tf.minimum(1.0, spec.epsilon_px / tf.maximum(_length(offset), 1e-12))
    # Clipping to [0, 255] moves towards the clean image, which lies inside, so it never leaves the ball.
    return _clip_to_pixels(clean + shrink * offset)


def _clip_to_pixels(images: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(images, 0.0, 255.0)


def _length(images: tf.Tensor) -> tf.Tensor:
    """Euclidean length of each image: [B, H, W, 3] -> [B, 1, 1, 1]."""
    return tf.sqrt(tf.reduce_sum(tf.square(images), axis=(1, 2, 3), keepdims=True))


def _unit_length(images: tf.Tensor) -> tf.Tensor:
    """Images scaled to Euclidean length 1; a zero image stays zero.

    On confident predictions the gradient is so small that its squares underflow to 0 in float32. Without the first
    division by the largest value the attack would not move these images.
    """
    images = tf.math.divide_no_nan(images, tf.reduce_max(tf.abs(images), axis=(1, 2, 3), keepdims=True))
    return tf.math.divide_no_nan(images, _length(images))

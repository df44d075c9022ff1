"""Images made with a classifier: generation from a random seed, and inpainting.

Santurkar et al., "Image Synthesis with a Single (Robust) Classifier" (arXiv 1906.09453): PGD lowers the loss of a class
in an L2 ball around the start. With a robust classifier the image then shows the class.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.attacks import LossFunction, ascend, starting_point
from efficientnet_advprop.evaluation.logits import logits_through
from efficientnet_advprop.randomness import fold, normal, uniform
from efficientnet_advprop.recipes import AttackSpec

# As in the authors' notebooks, in units of [0, 1]: the variance that is added to each pixel of a seed, and the weight
# of the mean squared change outside of the square that inpainting fills.
SEED_VARIANCE = 1e-4
OUTSIDE_WEIGHT = 10.0
_COLUMN, _ROW = 0, 1

Progress = Callable[[Iterable[int]], Iterator[int]]


def gaussian_seeds(images: np.ndarray, grain_px: int, count: int, seed: tf.Tensor) -> np.ndarray:
    """Samples of the normal distribution with mean and covariance of a class's images, float32 [count, H, W, 3].

    The distribution is that of squares of `grain_px` pixels, which a sample repeats; samples are clipped to [0, 255].
    The covariance matrix has millions of entries; a normal combination of the centred images has the same distribution.

    Args:
        images: [N, H, W, 3] in [0, 255] of one class.
        grain_px: side of the squares, which divides H and W.
        count: number of samples.
        seed: [2].
    """
    number, height, width, channels = images.shape
    squares = images.reshape(number, height // grain_px, grain_px, width // grain_px, grain_px, channels)
    coarse = squares.astype(np.float64).mean((2, 4))  # [N, H / grain, W / grain, 3]
    mean = coarse.mean(0)
    weights = normal((count, number), fold(seed, 0)).numpy()
    noise = normal((count, *mean.shape), fold(seed, 1)).numpy()
    samples = mean + np.tensordot(weights, coarse - mean, 1) / number**0.5 + 255 * SEED_VARIANCE**0.5 * noise
    return np.clip(np.repeat(np.repeat(samples, grain_px, 1), grain_px, 2), 0, 255).astype(np.float32)


def masked_images(images: np.ndarray, side_px: int, seed: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Images with a random square that has the mean colour of the image, and the masks, 1 in the square.

    Args:
        images: [N, H, W, 3] in [0, 255].
        side_px: side of the square.
        seed: [2].

    Returns:
        float32 [N, H, W, 3] and float32 [N, H, W, 1].
    """
    number, height, width, _ = images.shape
    tops = uniform((number,), fold(seed, _ROW)).numpy() * (height - side_px + 1)
    lefts = uniform((number,), fold(seed, _COLUMN)).numpy() * (width - side_px + 1)
    masks = np.zeros((number, height, width, 1), np.float32)
    for mask, top, left in zip(masks, tops.astype(int), lefts.astype(int), strict=True):
        mask[top : top + side_px, left : left + side_px] = 1
    means = images.mean((1, 2), keepdims=True)
    return (images * (1 - masks) + means * masks).astype(np.float32), masks


def synthesize(
    strategy: tf.distribute.Strategy,
    model: tf.keras.Model,
    branch: str,
    start: np.ndarray,
    classes: Sequence[int],
    spec: AttackSpec,
    progress: Progress,
    masks: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Lower the loss of each image's class, by PGD through one branch in inference mode.

    Args:
        strategy: all its replicas compute the same.
        model: a network.
        branch: of the model.
        start: float32 [N, H, W, 3] in [0, 255]; the ball of `spec` is around it.
        classes: the class of each image, int [N].
        spec: norm, epsilon, size and number of the steps.
        progress: iterates over the numbers of the steps.
        masks: 1 where an image may change without cost, [N, H, W, 1]; elsewhere the mean squared change (in units of
            [0, 1]) is part of the loss, with `OUTSIDE_WEIGHT`. None: it may change everywhere.

    Returns:
        float32 [N, H, W, 3] in [0, 255], and the probabilities of the classes, float32 [N].
    """
    logits_fn = logits_through(model, branch)
    labels = tf.constant(classes, tf.int32)
    outside = None if masks is None else 1 - tf.constant(masks, tf.float32)

    def score_around(clean: tf.Tensor) -> LossFunction:
        def score(images: tf.Tensor) -> tf.Tensor:
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits_fn(images))
            if outside is not None:
                loss += OUTSIDE_WEIGHT * tf.reduce_mean(tf.square((images - clean) * outside / 255), (1, 2, 3))
            return -loss

        return score

    def move(images: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            score = score_around(clean)(images)
        return ascend(images, tape.gradient(score, images), clean, spec)

    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.nn.softmax(logits_fn(images)), labels, axis=1, batch_dims=1)

    step, probability = (_on_first_replica(strategy, function) for function in (move, probabilities))
    clean, images = (values.numpy() for values in starting_point(tf.constant(start), spec, tf.zeros([2], tf.int32)))
    for _ in progress(range(spec.num_steps)):
        images = step(images, clean)
    return images, probability(images)


def _on_first_replica(
    strategy: tf.distribute.Strategy, function: Callable[..., tf.Tensor]
) -> Callable[..., np.ndarray]:
    """The function on arrays; every replica computes it, the first one's result is returned."""

    # Not a lambda: TPUStrategy names operations after this function.
    @tf.function(autograph=False)
    def on_replicas(*arguments: tf.Tensor) -> tf.Tensor:
        return strategy.run(function, args=arguments)

    def call(*arguments: np.ndarray) -> np.ndarray:
        outputs = on_replicas(*map(tf.constant, arguments))
        return strategy.experimental_local_results(outputs)[0].numpy()

    return call

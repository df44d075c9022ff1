"""Fast AdvProp (Mei et al., ICLR 2022): AdvProp for about the price of vanilla training.

Of a replica's B images the first A = `num_fast_adversarial(fraction, B)` become adversarial, and B - A stay clean (the
order of a batch is random). Three passes, each forward and backward, process B + A images in total:

    pass         images                               branch
    clean        the B - A clean images               main
    noise        the A images at the random start     auxiliary
    adversarial  the A images after the attack step   auxiliary

The backward pass of `noise` computes the gradient of the images, which the attack step needs. The gradient of the
weights then costs nothing more, so `noise` is a training pass as well: with dropout and batch statistics, and it
updates the moving statistics. With L_clean, L_noise and L_adversarial the mean losses of the passes, and w their
weights, each group of variables follows the gradient of its own loss:

    main batch norms        main = w_clean * L_clean
    auxiliary batch norms   auxiliary = w_noise * L_noise + w_adversarial * L_adversarial
    shared weights          (B - A) / B * main + A / B * auxiliary

With the published weights (clean 1, noise and adversarial 1/2) every image counts once: these are means over all images
and over each branch's images. It is the paper's gradient scale of 1 : 1 : 1 for the three groups, where each group is
divided by its own number of images.
"""

import dataclasses
import functools
from collections.abc import Sequence

import tensorflow as tf

from efficientnet_advprop.attacks import ascend, starting_point
from efficientnet_advprop.barriers import in_order
from efficientnet_advprop.randomness import fold, permutation
from efficientnet_advprop.recipes import IMAGES_VIEW, MAIN_BRANCH, Term, num_fast_adversarial
from efficientnet_advprop.training.compilation import run_pass
from efficientnet_advprop.training.losses import Batch, PassLosses
from efficientnet_advprop.training.network import BranchedNetwork


class FastAdvPropObjective:
    """The objective of Fast AdvProp.

    Args:
        model: called as `model(images, training, branch, seed)`; its `branch_variables` give each branch's batch norms.
        terms: clean, noise and adversarial, in this order.
        losses: of the passes.
        share: fraction of adversarial images.
        jit_compile: compile each pass with XLA.
    """

    def __init__(
        self,
        model: BranchedNetwork,
        terms: Sequence[Term],
        losses: PassLosses,
        share: float,
        jit_compile: bool = False,
    ) -> None:
        self._model, self._losses, self._share, self._jit_compile = model, losses, share, jit_compile
        self._clean, self._noise, self._adversarial = terms
        self.metric_names = losses.metric_names(terms)
        self.trainable_variables = model.trainable_variables

    def images_at_once(self, batch_size: int) -> int:
        """Number of images in the largest pass over a batch of this size."""
        num_adversarial = num_fast_adversarial(self._share, batch_size)
        return max(num_adversarial, batch_size - num_adversarial)

    def gradients(self, batch: Batch, seed: tf.Tensor) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """The gradients by the formulas above, on one replica; call in replica context.

        The passes run one after another, so that only one pass at a time keeps its activations in memory.

        Args:
            batch: `images` [B, H, W, 3] and what the losses need, such as `labels`, [B, ...] each.
            seed: [2], of this replica.

        Returns:
            The gradient for each of the model's trainable variables, and scalars by metric name.

        Raises:
            RecipeError: when the fraction makes none or all of the images adversarial.
            ValueError: for a batch of unknown size.
        """
        batch_size = batch[IMAGES_VIEW].shape[0]
        if batch_size is None:
            raise ValueError("scheme fast_advprop needs batches of one size: dataset.batch(..., drop_remainder=True)")
        num_adversarial = num_fast_adversarial(self._share, batch_size)
        attacked, clean = _rows(batch, slice(num_adversarial)), _rows(batch, slice(num_adversarial, None))
        main, metrics, _ = self._run_pass(self._clean, clean, fold(seed, 0))
        main, attacked = in_order(main, attacked)
        with tf.control_dependencies([tf.group(*main)]):
            pixels, start = starting_point(attacked[IMAGES_VIEW], self._adversarial.attack, fold(seed, 1))
        noise, noise_metrics, ascent = self._run_pass(self._noise, {**attacked, IMAGES_VIEW: start}, fold(seed, 2))
        adversarial = tf.stop_gradient(ascend(start, ascent, pixels, self._adversarial.attack))
        noise, attacked = in_order(noise, {**attacked, IMAGES_VIEW: adversarial})
        with tf.control_dependencies([tf.group(*noise)]):
            shuffled = shuffle_across_replicas(attacked, fold(seed, 3))
        auxiliary, adversarial_metrics, _ = self._run_pass(self._adversarial, shuffled, fold(seed, 4))
        fraction = num_adversarial / batch_size
        auxiliary = [a + b for a, b in zip(noise, auxiliary, strict=True)]
        return self._balanced(main, auxiliary, fraction), metrics | noise_metrics | adversarial_metrics

    def _run_pass(
        self, term: Term, batch: Batch, seed: tf.Tensor
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor], tf.Tensor | None]:
        return run_pass(self._jit_compile, functools.partial(self._pass_gradients, term), batch, seed)

    def _pass_gradients(
        self, term: Term, batch: Batch, seed: tf.Tensor
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor], tf.Tensor | None]:
        """The weighted gradient of one term's mean loss, its metrics, and the images' gradient for the noise term."""
        images, attacks = batch[IMAGES_VIEW], term == self._noise
        # Only the weights' gradient is scaled: weight 0 would leave the attack without a direction.
        unweighted = dataclasses.replace(term, weight=1.0)
        with tf.GradientTape() as tape:
            if attacks:
                tape.watch(images)
            outputs = self._model(images, training=True, branch=term.branch, seed=seed)
            loss, metrics = self._losses.of_pass([unweighted], outputs, batch)
        gradients, ascent = tape.gradient(
            loss,
            (self.trainable_variables, images if attacks else []),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        if attacks:  # a loss scale that is too large makes values that are not finite, which would become pixels
            ascent = tf.where(tf.math.is_finite(ascent), ascent, 0.0)
        return [term.weight * gradient for gradient in gradients], metrics, ascent

    def _balanced(self, main: list[tf.Tensor], auxiliary: list[tf.Tensor], fraction: float) -> list[tf.Tensor]:
        """Combine the branches' gradients: the mean over images for shared weights, one branch's for batch norms."""
        batch_norms = {
            branch: {id(variable) for variable in self._model.branch_variables(branch)}
            for branch in (MAIN_BRANCH, self._noise.branch)
        }

        def balance(variable: tf.Variable, main_gradient: tf.Tensor, auxiliary_gradient: tf.Tensor) -> tf.Tensor:
            if id(variable) in batch_norms[MAIN_BRANCH]:
                return main_gradient
            if id(variable) in batch_norms[self._noise.branch]:
                return auxiliary_gradient
            return (1.0 - fraction) * main_gradient + fraction * auxiliary_gradient

        return list(map(balance, self.trainable_variables, main, auxiliary))


def _rows(batch: Batch, part: slice) -> Batch:
    return tf.nest.map_structure(lambda value: value[part], dict(batch))


def shuffle_across_replicas(batch: Batch, seed: tf.Tensor) -> Batch:
    """Redistribute the adversarial images over the replicas at random; call in replica context.

    An attack with batch statistics makes each image depend on the others of its batch. If the network is then trained
    on the same batch, the images reveal their labels (label leaking, as the paper calls it). A single replica keeps its
    images.

    This needs an all-gather. MirroredStrategy has none inside a loop of the step, so micro-batches are not possible.

    Args:
        batch: the images, their labels and what else belongs to them, [A, ...] each.
        seed: [2]; all replicas use that of the first one.

    Returns:
        A of all replicas' images, and what belongs to them; every image ends on exactly one replica.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return batch
    count = batch[IMAGES_VIEW].shape[0]
    seeds = context.all_gather(tf.bitcast(seed, tf.int32)[tf.newaxis], axis=0)  # replicas gather no uint32
    gathered = tf.nest.map_structure(lambda value: context.all_gather(value, axis=0), dict(batch))
    order = permutation(count * context.num_replicas_in_sync, tf.bitcast(seeds[0], seed.dtype))
    first = context.replica_id_in_sync_group * count
    own = tf.slice(order, [first], [count])  # [A]
    return tf.nest.map_structure(lambda value: tf.gather(value, own), gathered)

"""How a network answers to the images of a pass."""

import tensorflow as tf

from efficientnet_advprop.evaluation.passes import BenchmarkPass
from efficientnet_advprop.evaluation.predictions import AnswerCollector, Batch, through_branches
from efficientnet_advprop.evaluation.worst_case import logits_after_one_step, logits_at_random_point, worst_logits
from efficientnet_advprop.randomness import replica_seed
from efficientnet_advprop.recipes import IMAGES_VIEW, AttackSpec


def collector_for(strategy: tf.distribute.Strategy, model: tf.keras.Model, one: BenchmarkPass) -> AnswerCollector:
    """What collects the answers to this pass, and to all others of its kind.

    Args:
        strategy: whose replicas share each batch.
        model: evaluated in inference mode.
        one: the pass.
    """
    if one.attack is not None:
        return _under_attack(strategy, model, one)
    return AnswerCollector(strategy, through_branches(model, model.branches), one.classes)


def _under_attack(strategy: tf.distribute.Strategy, model: tf.keras.Model, one: BenchmarkPass) -> AnswerCollector:
    """Answers at four places: clean, at a random point, after one step, at the worst point of the attack."""
    norm, num_steps = one.attack.norm, one.attack.num_steps
    branch, restarts, seed = one.settings["branch"], one.settings["restarts"], one.recipe.seed

    def respond(
        batch: Batch, number: tf.Tensor, epsilon_px: tf.Tensor, step_size_px: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        def logits_fn(images: tf.Tensor) -> tf.Tensor:
            return model(images, training=False, branch=branch)

        spec = AttackSpec(norm=norm, epsilon_px=epsilon_px, step_size_px=step_size_px, num_steps=num_steps)
        images, labels = tf.clip_by_value(batch[IMAGES_VIEW], 0.0, 255.0), batch["labels"]
        seeds = tf.random.experimental.stateless_split(replica_seed(seed, number), 2)
        noise_seed, attack_seed = tf.unstack(seeds)
        return {
            "clean": logits_fn(images),
            "noise": logits_at_random_point(logits_fn, images, spec, noise_seed),
            "one_step": logits_after_one_step(logits_fn, images, labels, spec),
            "pgd": worst_logits(logits_fn, images, labels, spec, restarts, attack_seed),
        }

    return AnswerCollector(strategy, respond)

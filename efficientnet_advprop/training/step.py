"""One training step: gradient, weight decay, update, moving average, metrics."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from efficientnet_advprop.randomness import only_given_seeds, replica_seed, run_seed
from efficientnet_advprop.recipes import Recipe, Term, scheme_named
from efficientnet_advprop.training.fast_advprop import FastAdvPropObjective
from efficientnet_advprop.training.losses import LabelLosses, PassLosses
from efficientnet_advprop.training.network import BranchedNetwork
from efficientnet_advprop.training.objective import Batch, Objective, TermsObjective, micro_batch_gradients
from efficientnet_advprop.training.optimizers import weight_decay_loss
from efficientnet_advprop.training.state import TrainState

GRADIENT_NORM = "gradient_norm"
WEIGHT_DECAY = "loss/weight_decay"
BAD_IMAGES = "bad_images"


class StepMetrics:
    """Means of the steps' scalars over steps and replicas; for bad images their number."""

    def __init__(self, names: Sequence[str]) -> None:
        self._means = {
            name: tf.keras.metrics.Sum(name) if name == BAD_IMAGES else tf.keras.metrics.Mean(name) for name in names
        }
        self._not_finite = {name: tf.keras.metrics.Sum(f"not_finite/{name}") for name in names}

    def update(self, values: dict[str, tf.Tensor]) -> None:
        """Add one step's values; call in replica context."""
        for name, value in values.items():
            self._means[name].update_state(value)
            self._not_finite[name].update_state(tf.cast(~tf.math.is_finite(value), tf.float32))

    def take(self) -> tuple[dict[str, float], list[str]]:
        """The means since the last call, and the names that were not finite first; resets both. Call on the host.

        A loss that is not finite makes the weights, and with them every value of the next step, not finite. The values
        that were not finite in the most steps are therefore the first ones.
        """
        values = {name: float(mean.result()) for name, mean in self._means.items()}
        counts = {name: float(count.result()) for name, count in self._not_finite.items()}
        most = max(counts.values())
        for metric in (*self._means.values(), *self._not_finite.values()):
            metric.reset_state()
        return values, [name for name, count in counts.items() if count and count == most]


# By the name in `Scheme.objective`; the last argument is `SchemeSettings.fast_adversarial_share`.
OBJECTIVES: dict[str, Callable[[BranchedNetwork, Sequence[Term], PassLosses, float], Objective]] = {
    "terms": lambda model, terms, losses, share: TermsObjective(model, terms, losses),
    "fast_advprop": FastAdvPropObjective,
}


def make_objective(model: BranchedNetwork, recipe: Recipe, terms: Sequence[Term]) -> Objective:
    """The objective of the recipe's scheme for the terms of one phase."""
    losses = LabelLosses(recipe.label_smoothing)
    return OBJECTIVES[scheme_named(recipe.scheme).objective](model, terms, losses, recipe.fast_adversarial_share)


def make_replica_step(
    state: TrainState, recipe: Recipe, terms: Sequence[Term], num_replicas: int
) -> tuple[Callable[[Batch], dict[str, tf.Tensor]], tuple[str, ...]]:
    """The step that each replica runs on its part of the global batch.

    Args:
        state: what the step updates.
        recipe: scheme, label smoothing, weight decay, micro-batches, seed.
        terms: of the current phase.
        num_replicas: number of replicas that divide the global batch.

    Returns:
        The step, (a replica's batch) -> scalars by name, and the names of these scalars.
    """
    objective = make_objective(state.model, recipe, terms)
    decay_factor = 0.0 if recipe.optimizer.optimizer == "adamw" else recipe.optimizer.weight_decay
    variables = objective.trainable_variables
    decayed = state.model.decayed_variables(recipe.optimizer.decay_batch_norm) if decay_factor else []

    # The step has no Python control flow for autograph, whose pass over every layer of a deep network is slow.
    @tf.autograph.experimental.do_not_convert
    def step(batch: Batch) -> dict[str, tf.Tensor]:
        seed = replica_seed(run_seed(recipe.seed, recipe.generator), state.optimizer.iterations)
        with only_given_seeds():
            gradients, metrics = micro_batch_gradients(objective, batch, seed, recipe.micro_batches)
        with tf.GradientTape() as tape:
            metrics[WEIGHT_DECAY] = weight_decay_loss(decayed, decay_factor)
        decay_gradients = tape.gradient(
            metrics[WEIGHT_DECAY], variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = [a + b for a, b in zip(gradients, decay_gradients, strict=True)]
        metrics[GRADIENT_NORM] = tf.linalg.global_norm(gradients)
        # apply_gradients sums over replicas; divided first, the sum is the mean.
        summands = [gradient / num_replicas for gradient in gradients]
        state.optimizer.apply_gradients(zip(summands, variables, strict=True))
        state.moving_average.update(state.optimizer.iterations)
        return metrics

    return step, (*objective.metric_names, WEIGHT_DECAY, GRADIENT_NORM)

"""One training step: gradient, weight decay, update, moving average, metrics."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from efficientnet_advprop.randomness import only_given_seeds, replica_seed, run_seed
from efficientnet_advprop.recipes import Recipe, Term, scheme_named
from efficientnet_advprop.training.fast_advprop import FastAdvPropObjective
from efficientnet_advprop.training.loss_scale import LossScale, ScaledLosses, run_on_replicas
from efficientnet_advprop.training.losses import LabelLosses, PassLosses
from efficientnet_advprop.training.network import BranchedNetwork
from efficientnet_advprop.training.objective import Batch, Objective, TermsObjective, micro_batch_gradients
from efficientnet_advprop.training.optimizers import weight_decay_loss
from efficientnet_advprop.training.state import TrainState

GRADIENT_NORM = "gradient_norm"
WEIGHT_DECAY = "loss/weight_decay"
BAD_IMAGES = "bad_images"
SKIPPED_STEPS = "skipped_steps"
_COUNTS = (BAD_IMAGES, SKIPPED_STEPS)


class StepMetrics:
    """Means of the steps' scalars over steps and replicas; of bad images and skipped steps their number.

    What is not finite in a skipped step is in no mean: a smaller loss scale is the answer to it.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._means = {
            name: tf.keras.metrics.Sum(name) if name in _COUNTS else tf.keras.metrics.Mean(name) for name in names
        }
        self._not_finite = {name: tf.keras.metrics.Sum(f"not_finite/{name}") for name in names}

    def update(self, values: dict[str, tf.Tensor]) -> None:
        """Add one step's values; call in replica context."""
        skipped = values.get(SKIPPED_STEPS)
        for name, value in values.items():
            if skipped is None:
                self._means[name].update_state(value)
            else:
                is_taken = tf.math.is_finite(value) | (skipped == 0)
                value = tf.where(is_taken, value, 0.0)
                self._means[name].update_state(value, sample_weight=tf.cast(is_taken, tf.float32))
            self._not_finite[name].update_state(tf.cast(~tf.math.is_finite(value), tf.float32))

    def take(self) -> tuple[dict[str, float], list[str]]:
        """The means since the last call, and the names that were not finite first; resets both. Call on the host.

        A mean over nothing, because no skipped step had a finite value, is left out.

        A loss that is not finite makes the weights, and with them every value of the next step, not finite. The values
        that were not finite in the most steps are therefore the first ones.
        """
        values = {name: float(mean.result()) for name, mean in self._means.items()}
        if values.get(SKIPPED_STEPS):
            taken = {name for name, mean in self._means.items() if name in _COUNTS or mean.count.numpy()}
            values = {name: value for name, value in values.items() if name in taken}
        counts = {name: float(count.result()) for name, count in self._not_finite.items()}
        most = max(counts.values())
        for metric in (*self._means.values(), *self._not_finite.values()):
            metric.reset_state()
        return values, [name for name, count in counts.items() if count and count == most]


# By the name in `Scheme.objective`: (network, terms of a phase, losses, `SchemeSettings.fast_adversarial_share`,
# whether passes are compiled with XLA; false if absent) -> objective.
OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "terms": lambda model, terms, losses, share, jit_compile=False: TermsObjective(model, terms, losses, jit_compile),
    "fast_advprop": FastAdvPropObjective,
}


def make_objective(
    model: BranchedNetwork,
    recipe: Recipe,
    terms: Sequence[Term],
    loss_scale: LossScale | None = None,
    jit_compile: bool = False,
) -> Objective:
    """The objective of the recipe's scheme for the terms of one phase; with a loss scale its gradients are scaled."""
    losses: PassLosses = LabelLosses(recipe.label_smoothing)
    if loss_scale is not None:
        losses = ScaledLosses(losses, loss_scale.scaled)
    make = OBJECTIVES[scheme_named(recipe.scheme).objective]
    return make(model, terms, losses, recipe.fast_adversarial_share, jit_compile)


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
    objective = make_objective(state.model, recipe, terms, state.loss_scale, state.jit_compile)
    decay_factor = 0.0 if recipe.optimizer.optimizer == "adamw" else recipe.optimizer.weight_decay
    variables = objective.trainable_variables
    decayed = state.model.decayed_variables(recipe.optimizer.decay_batch_norm) if decay_factor else []

    # The step has no Python control flow for autograph, whose pass over every layer of a deep network is slow.
    @tf.autograph.experimental.do_not_convert
    def step(batch: Batch) -> dict[str, tf.Tensor]:
        seed = replica_seed(run_seed(recipe.seed, recipe.generator), state.optimizer.iterations)
        statistics = [tf.identity(variable) for variable in _statistics(state)] if state.loss_scale else []
        with only_given_seeds():
            gradients, metrics = micro_batch_gradients(objective, batch, seed, recipe.micro_batches)
        if state.loss_scale:
            gradients = state.loss_scale.unscaled(gradients)
        with tf.GradientTape() as tape:
            metrics[WEIGHT_DECAY] = weight_decay_loss(decayed, decay_factor)
        of_decay = tape.gradient(metrics[WEIGHT_DECAY], variables)  # None for variables that do not decay
        gradients = [a if b is None else a + b for a, b in zip(gradients, of_decay, strict=True)]
        metrics[GRADIENT_NORM] = tf.linalg.global_norm(gradients)
        # Gradients are summed over replicas; divided first, the sum is the mean.
        summands = gradients if num_replicas == 1 else [gradient / num_replicas for gradient in gradients]
        if state.loss_scale:
            skipped = _update_or_skip(state, summands, variables, statistics)
            metrics[SKIPPED_STEPS] = tf.cast(skipped, tf.float32) / num_replicas
        else:
            state.optimizer.apply_gradients(zip(summands, variables, strict=True))
            state.moving_average.update(state.optimizer.iterations)
        return metrics

    names = (*objective.metric_names, WEIGHT_DECAY, GRADIENT_NORM)
    return step, (*names, SKIPPED_STEPS) if state.loss_scale else names


def _statistics(state: TrainState) -> list[tf.Variable]:
    """The moving statistics of all branches."""
    trainable = {id(variable) for variable in state.model.trainable_variables}
    norms = [variable for branch in state.model.branches for variable in state.model.branch_variables(branch)]
    return [variable for variable in norms if id(variable) not in trainable]


def _update_or_skip(
    state: TrainState, summands: list[tf.Tensor], variables: list[tf.Variable], statistics: list[tf.Tensor]
) -> tf.Tensor:
    """Update if the gradients are finite, else skip this step; then change the loss scale.

    All replicas see the same sums, and decide alike. A skipped step leaves weights, optimizer slots and averages as
    they are, and restores the moving statistics, which a forward pass that overflowed has made infinite. The step
    itself counts, as seeds, learning rate and the position of the input are functions of it.

    Args:
        state: what is updated.
        summands: this replica's part of the gradient of each variable.
        variables: those of the gradients.
        statistics: the values of `_statistics` before the step.

    Returns:
        Whether the step was skipped, and a smaller scale may help.
    """
    summed = state.optimizer.aggregate_gradients(zip(summands, variables, strict=True))
    gradients = [gradient for gradient, _ in summed]

    def update(gradients: list[tf.Tensor], statistics: list[tf.Tensor]) -> None:
        del statistics
        summed = zip(gradients, variables, strict=True)
        state.optimizer.apply_gradients(summed, skip_gradients_aggregation=True)
        state.moving_average.update(state.optimizer.iterations)

    def skip(gradients: list[tf.Tensor], statistics: list[tf.Tensor]) -> None:
        del gradients
        for variable, value in zip(_statistics(state), statistics, strict=True):
            variable.assign(value)
        state.optimizer.iterations.assign_add(1)

    is_finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
    run_on_replicas(is_finite, update, skip, gradients, statistics)
    return state.loss_scale.update(is_finite)

"""The training state: the weights, their moving average, the optimizer."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.recipes import Recipe, RecipeError
from efficientnet_advprop.training.learning_rate import learning_rate_schedule
from efficientnet_advprop.training.loss_scale import LossScale
from efficientnet_advprop.training.moving_average import MovingAverage
from efficientnet_advprop.training.network import FrozenBackbone, TrainableNetwork
from efficientnet_advprop.training.optimizers import build_optimizer


@dataclasses.dataclass(frozen=True)
class TrainState:
    """The objects that hold the variables of a run.

    Attributes:
        model: the network that is trained.
        average_model: the same network with averaged weights and statistics; evaluation and export use it.
        optimizer: its `iterations` is the global step.
        moving_average: updates `average_model` from `model`.
        loss_scale: of a network that computes in float16; None for others.
        jit_compile: whether the gradients of each pass are compiled with XLA.
    """

    model: TrainableNetwork | FrozenBackbone
    average_model: TrainableNetwork
    optimizer: tf.keras.optimizers.Optimizer
    moving_average: MovingAverage
    loss_scale: LossScale | None = None
    jit_compile: bool = False

    @property
    def step(self) -> int:
        """Number of steps so far, those that were skipped included."""
        return int(self.optimizer.iterations.numpy())

    def with_frozen_backbone(self) -> "TrainState":
        """This state, of which steps train the classifier alone."""
        return dataclasses.replace(self, model=FrozenBackbone(self.model))

    def learning_rate(self) -> float:
        """The rate of the last update; before any update, that of the first."""
        return float(self.optimizer.learning_rate.numpy())


def create_train_state(
    strategy: tf.distribute.Strategy,
    make_model: Callable[[], TrainableNetwork],
    recipe: Recipe,
    jit_compile: bool = False,
) -> TrainState:
    """New weights, their average (equal to them at first) and an optimizer, on the strategy's devices.

    Args:
        strategy: the devices that hold the variables.
        make_model: builds the network with all its branches.
        recipe: optimizer, schedule and seed.
        jit_compile: compile the gradients of each pass with XLA.

    Raises:
        RecipeError: for jit_compile with synchronised batch norms.
    """
    if jit_compile and recipe.network.sync_batch_norm:
        raise RecipeError("jit_compile and sync_batch_norm exclude each other: XLA compiles no exchange of replicas")
    tf.keras.utils.set_random_seed(recipe.seed)
    with strategy.scope():
        model, average_model = make_model(), make_model()
        schedule = learning_rate_schedule(
            recipe.optimizer, recipe.train_batch_size, recipe.steps_per_epoch, recipe.total_steps
        )
        decayed = {id(variable) for variable in model.decayed_variables(recipe.optimizer.decay_batch_norm)}
        undecayed = [variable for variable in model.trainable_variables if id(variable) not in decayed]
        optimizer = build_optimizer(recipe.optimizer, schedule, undecayed)
        optimizer.build(model.trainable_variables)
        loss_scale = LossScale() if model.compute_dtype == "float16" else None
    sources, averages = model.weights_by_path(), average_model.weights_by_path()
    moving_average = MovingAverage(
        recipe.optimizer.moving_average_decay, [(averages[path], sources[path]) for path in sources]
    )
    moving_average.reset()
    return TrainState(model, average_model, optimizer, moving_average, loss_scale, jit_compile)

"""An estimate of the memory of a training step, printed before the device may run out of it."""

import dataclasses

from efficientnet_advprop.recipes import Recipe
from efficientnet_advprop.training.state import TrainState
from efficientnet_advprop.training.step import make_objective

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes per replica.

    Attributes:
        activations: of the largest forward pass, kept for its backward pass; passes run one after another.
        variables: weights, averages, optimizer slots, and one set of gradients.
    """

    activations: int
    variables: int

    def __str__(self) -> str:
        """One line for the log."""
        return (
            f"about {self.activations / _GIB:.1f} GiB of activations and {self.variables / _GIB:.1f} GiB of weights, "
            "averages, optimizer slots and gradients per replica"
        )


def estimate_memory(state: TrainState, recipe: Recipe, num_replicas: int, remat: bool) -> MemoryEstimate:
    """Estimate a step's memory from shapes alone; it does not include workspaces and fragmentation.

    Args:
        state: its variables are counted.
        recipe: batch size, micro-batches, image size and scheme.
        num_replicas: number of replicas that divide the global batch.
        remat: whether activations are recomputed.
    """
    images = recipe.train_batch_size // num_replicas // recipe.micro_batches
    objectives = [make_objective(state.model, recipe, phase.terms) for phase in recipe.phases]
    largest_pass = max(objective.images_at_once(images) for objective in objectives)
    activations = state.model.activation_bytes(largest_pass, recipe.network.input_image_size, remat=remat)
    variables = [
        *state.model.weights,
        *state.average_model.weights,
        *state.optimizer.variables,
        *state.model.trainable_variables,  # the gradients
    ]
    return MemoryEstimate(
        activations, sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)
    )

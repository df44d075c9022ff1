"""Estimates of the memory of a training step, from shapes alone."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import tensorflow as tf

from efficientnet_advprop.recipes import Recipe
from efficientnet_advprop.training.network import Activation, TrainableNetwork
from efficientnet_advprop.training.optimizers import num_slots
from efficientnet_advprop.training.step import make_objective

_GIB = 2**30
_WORKED_ON, _WORKED_ON_WITH_REMAT = 1.1, 2.0
_SUBLANES, _LANES = 8, 128  # a TPU keeps matrices in tiles of these sides


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes per replica.

    Attributes:
        activations: of the largest forward pass, kept for its backward pass (passes run one after another), and images.
        variables: weights, averages, optimizer slots and gradients.
    """

    activations: int
    variables: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.activations + self.variables

    def __str__(self) -> str:
        """One line for the log."""
        return (
            f"about {self.activations / _GIB:.1f} GiB of activations and {self.variables / _GIB:.1f} GiB of weights, "
            "averages, optimizer slots and gradients per replica"
        )


def step_memory(
    model: TrainableNetwork, recipe: Recipe, images: int, remat: bool, bytes_per_value: int, on_tpu: bool
) -> MemoryEstimate:
    """The memory of a step on one replica, without TensorFlow's own workspaces and fragmentation.

    Args:
        model: with all branches.
        recipe: image size, scheme, optimizer.
        images: clean images of a micro-batch.
        remat: whether activations are recomputed.
        bytes_per_value: of an activation: 4 for float32, else 2.
        on_tpu: whether XLA plans the step, for a TPU.
    """
    objectives = [make_objective(model, recipe, phase.terms) for phase in recipe.phases]
    at_once = max(objective.images_at_once(images) for objective in objectives)
    size = recipe.network.input_image_size
    # The batch, of which a micro-batch is a copy, and an attack's clean and adversarial images.
    pieces = recipe.micro_batches + (recipe.micro_batches > 1)
    sets_of_images = pieces * len(recipe.views) + 2 * bool(recipe.attacking_terms)
    activations = activation_bytes(model, at_once, size, remat, bytes_per_value, on_tpu)
    # The gradients of a pass wait for those of the next, and the sums of micro-batches for both.
    passes = max(len({term.branch for term in phase.terms}) for phase in recipe.phases)
    sets_of_gradients = (2 if passes > 1 else 1) + (recipe.micro_batches > 1)
    trained, held = _bytes(model.trainable_variables), _bytes(model.weights)
    return MemoryEstimate(
        activations + sets_of_images * images * size**2 * 3 * tf.float32.size,
        2 * held + (num_slots(recipe.optimizer) + sets_of_gradients) * trained,
    )


def _bytes(variables: Iterable[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)


def activation_bytes(
    model: TrainableNetwork, images: int, image_size: int, remat: bool, bytes_per_value: int, on_tpu: bool
) -> int:
    """Bytes of a forward pass over these images, of this side, that are kept for its backward pass."""
    between, insides = model.activations(image_size, remat)
    if on_tpu:
        return bytes_per_value * _values_on_tpu(between, insides, remat, images)

    def count(activations: Iterable[Activation]) -> int:
        return sum(one.channels * one.size**2 for one in activations)

    # With remat the inside of one block at a time, the largest at the peak.
    inside = [count(activations) for activations in insides]
    return bytes_per_value * images * (count(between) + (max(inside) if remat else sum(inside)))


def _values_on_tpu(
    between: Sequence[Activation], insides: Sequence[Sequence[Activation]], remat: bool, images: int
) -> int:
    """Values of a pass at its peak, as XLA plans it for a TPU, with padding.

    It keeps the convolutions' outputs and sums, and recomputes what follows them. Remat keeps every output of a block.
    What it works on at the peak is about as much as some of the largest activations (fitted: docs/tpu_memory.md).
    """

    def size(activations: Iterable[Activation]) -> int:
        return sum(one.size**2 * _padded(one.channels, images) for one in activations)

    def kept(activations: Iterable[Activation]) -> list[Activation]:
        return [one for one in activations if not one.is_recomputed]

    largest = max(size([one]) for one in kept([*between, *itertools.chain(*insides)]))
    if remat:
        return size(kept(between)) + max(map(size, map(kept, insides))) + round(_WORKED_ON_WITH_REMAT * largest)
    return size(kept(between)) + sum(map(size, map(kept, insides))) + round(_WORKED_ON * largest)


def _padded(channels: int, images: int) -> int:
    """Values per pixel of an activation on a TPU, which pads one of the two to a whole tile, the other to its side."""
    return min(
        _multiple(channels, _LANES) * _multiple(images, _SUBLANES),
        _multiple(images, _LANES) * _multiple(channels, _SUBLANES),
    )


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of

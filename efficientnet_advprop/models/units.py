"""What a network is made of: the interfaces of stem, blocks and head, and a network's list of residual blocks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from efficientnet_advprop.recipes import NetworkSpec


class Activation(NamedTuple):
    """A tensor that a backward pass reads, [size, size, channels] for each example.

    Attributes:
        size: side, in pixels.
        channels: of it.
        is_recomputed: whether XLA recomputes it from kept tensors, as it does with what follows a convolution: its
            batch norm, activation and gate.
    """

    size: int
    channels: int
    is_recomputed: bool = False


class Unit(Protocol):
    """The interface of stem, blocks and head: Keras layers that also report their sizes.

    Each is called with (inputs, training, branch, statistics), a block with its seed too.

    Attributes:
        output_filters: channels of the output, known once the layer is built.
    """

    output_filters: int

    def activations(self, size: int) -> list[Activation]:
        """What the backward pass reads; the output is the last.

        Args:
            size: side of the input, in pixels.
        """


class Block(Unit, Protocol):
    """The interface of a block.

    Attributes:
        drops: whether it has drop connect, for which a training call uses a seed.
    """

    drops: bool


def residual_blocks(
    block: Callable[..., Block], sizes: Sequence[Any], spec: NetworkSpec, options: dict[str, Any]
) -> list[Block]:
    """The network's blocks of these sizes; the survival probability of their residual paths falls linearly with depth.

    Args:
        block: called as `block(sizes of the block, survival_prob, zero_init_residual, options, name=...)`.
        sizes: of each block.
        spec: of the network.
        options: arguments of `AuxBatchNormalization`.
    """
    survival = [1 - (1 - spec.survival_prob) * index / len(sizes) for index in range(len(sizes))]
    return [
        block(size, survival[index], spec.zero_init_residual, options, name=f"block_{index}")
        for index, size in enumerate(sizes)
    ]

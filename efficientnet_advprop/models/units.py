"""What a network is made of: the interfaces of stem, blocks and head, and a network's list of residual blocks."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from efficientnet_advprop.recipes import NetworkSpec


class Unit(Protocol):
    """The interface of stem, blocks and head: Keras layers that also report their sizes.

    Each is called with (inputs, training, branch, statistics), a block with its seed too.

    Attributes:
        output_filters: channels of the output, known once the layer is built.
    """

    output_filters: int

    def activation_elements(self, size: int) -> tuple[int, int]:
        """Values per example kept inside for the backward pass, without the output, and the output's side.

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

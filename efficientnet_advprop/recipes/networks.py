"""A network as a value. The named ones are in `recipes/families`."""

import dataclasses

MAIN_BRANCH = "main"
AUXILIARY_BRANCH = "auxiliary"
AUGMENTED_BRANCH = "augmented"  # of the fine-grained scheme alone

PREPROCESSINGS = ("advprop", "imagenet")


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network's shape and constants; everything that changes its variables or its function.

    Attributes:
        name: the network's name, one that a family has.
        input_image_size: side of the square input, in pixels.
        width_coefficient: factor on the channels of the baseline (B0; a ResNet is its own), rounded to multiples of 8.
        depth_coefficient: factor on the block repeats of the baseline, rounded up.
        dropout_rate: fraction of the pooled features dropped before the classifier.
        survival_prob: probability that the last residual block is kept in training; block i of n is kept with
            1 - (1 - survival_prob) * i / n (stochastic depth, the official code's drop connect).
        batch_norm_momentum: fraction of the old moving average kept per update (Keras sense).
        batch_norm_epsilon: added to the variance.
        sync_batch_norm: batch statistics over all replicas; gives up the fused kernel (about 1.25 times the step).
        preprocessing: what the network does to pixels in [0, 255]: "advprop" (x * 2 / 255 - 1) or "imagenet"
            (mean and standard deviation of ImageNet).
        classifier_init_scale: the classifier's kernel starts uniform within classifier_init_scale / sqrt(classes).
            1 is official; with ten classes that starts at a loss of 5 instead of 2.3, so short recipes shrink it.
        zero_init_residual: the last batch norm of every residual block starts at gamma 0, so that the network starts as
            shallow as its other blocks (Goyal et al., arXiv 1706.02677). Not official: for short runs of deep networks.
        stem_strides: stride of the first convolution. 2 is official; with 1 the last stages see more than one position
            of a 32-px image.
    """

    name: str
    input_image_size: int
    width_coefficient: float
    depth_coefficient: float
    dropout_rate: float
    survival_prob: float = 0.8
    batch_norm_momentum: float = 0.99
    batch_norm_epsilon: float = 1e-3
    sync_batch_norm: bool = False
    preprocessing: str = "advprop"
    classifier_init_scale: float = 1.0
    zero_init_residual: bool = False
    stem_strides: int = 2


def for_small_images(network: NetworkSpec, stem_strides: int = 2) -> NetworkSpec:
    """A network at 32 px for runs of a few hundred steps: fast batch norm averages, no stochastic depth.

    Args:
        network: the published one.
        stem_strides: stride of its first convolution.
    """
    return dataclasses.replace(
        network,
        input_image_size=32,
        dropout_rate=0.2,
        survival_prob=1.0,
        batch_norm_momentum=0.9,
        classifier_init_scale=0.1,
        # Without it a B7 is at chance after two epochs, whatever the optimizer and the rate.
        zero_init_residual=True,
        stem_strides=stem_strides,
    )

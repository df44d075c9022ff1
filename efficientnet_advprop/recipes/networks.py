"""The networks by name: published sizes and constants, as plain values.

Sources: `efficientnet_builder.py` and `efficientnet_model.py` of tensorflow/tpu, models/official/efficientnet; for
ResNets He et al. (arXiv 1512.03385) with the constants of torchvision, which AdvProp's PyTorch re-implementation uses.
"""

import dataclasses

from efficientnet_advprop.recipes.errors import RecipeError

MAIN_BRANCH = "main"
AUXILIARY_BRANCH = "auxiliary"
AUGMENTED_BRANCH = "augmented"  # of the fine-grained scheme alone

PREPROCESSINGS = ("advprop", "imagenet")


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network's shape and constants; everything that changes its variables or its function.

    Attributes:
        name: the network's name, a key of `NETWORKS`.
        input_image_size: side of the square input, in pixels.
        width_coefficient: factor on the channels of the baseline (B0; a ResNet is its own), rounded to multiples of 8.
        depth_coefficient: factor on the block repeats of the baseline, rounded up.
        dropout_rate: share of the pooled features dropped before the classifier.
        survival_prob: probability that the last residual block is kept in training; block i of n is kept with
            1 - (1 - survival_prob) * i / n (stochastic depth, the official code's drop connect).
        batch_norm_momentum: share of the old moving average kept per update (Keras sense).
        batch_norm_epsilon: added to the variance.
        sync_batch_norm: batch statistics over all replicas; gives up the fused kernel (about 1.25 times the step).
        preprocessing: what the network does to pixels in [0, 255]: "advprop" (x * 2 / 255 - 1) or "imagenet"
            (mean and standard deviation of ImageNet).
        classifier_init_scale: the classifier's kernel starts uniform within classifier_init_scale / sqrt(classes).
            1 is official; with ten classes that starts at a loss of 5 instead of 2.3, so short recipes shrink it.
        zero_init_residual: the last batch norm of every residual block starts at gamma 0, so that the network starts as
            shallow as its other blocks (Goyal et al., arXiv 1706.02677). Not official: for short runs of deep networks.
        stem_strides: step of the first convolution, in pixels. 2 is official; 1 leaves more than one position of a
            32-px image to the last stages.
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

    @property
    def family(self) -> str:
        """What kind of network it is: its name up to the first dash."""
        return self.name.partition("-")[0]


def _efficientnet(suffix: str, width: float, depth: float, image_size: int, dropout_rate: float) -> NetworkSpec:
    return NetworkSpec(f"efficientnet-{suffix}", image_size, width, depth, dropout_rate)


def _resnet(layers: int) -> NetworkSpec:
    return NetworkSpec(
        f"resnet-{layers}",
        input_image_size=224,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        dropout_rate=0.0,
        survival_prob=1.0,
        batch_norm_momentum=0.9,
        batch_norm_epsilon=1e-5,
        preprocessing="imagenet",
        classifier_init_scale=0.7,  # with 1000 classes PyTorch's bound for the 2048 features, 1 / sqrt(2048)
    )


NETWORKS: dict[str, NetworkSpec] = {
    network.name: network
    for network in (
        _efficientnet("b0", 1.0, 1.0, 224, 0.2),
        _efficientnet("b1", 1.0, 1.1, 240, 0.2),
        _efficientnet("b2", 1.1, 1.2, 260, 0.3),
        _efficientnet("b3", 1.2, 1.4, 300, 0.3),
        _efficientnet("b4", 1.4, 1.8, 380, 0.4),
        _efficientnet("b5", 1.6, 2.2, 456, 0.4),
        _efficientnet("b6", 1.8, 2.6, 528, 0.5),
        _efficientnet("b7", 2.0, 3.1, 600, 0.5),
        _efficientnet("b8", 2.2, 3.6, 672, 0.5),
        # Not one of the paper's networks; named because Noisy Student weights of it exist.
        _efficientnet("l2", 4.3, 5.3, 800, 0.5),
        _resnet(50),
        _resnet(101),
        _resnet(152),
        _resnet(200),
    )
}


def for_small_images(network: NetworkSpec, stem_strides: int = 2) -> NetworkSpec:
    """A network at 32 px for runs of some hundred steps: averages fast enough, no stochastic depth.

    Args:
        network: the published one.
        stem_strides: step of its first convolution.
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


def network_spec(name: str) -> NetworkSpec:
    """The published settings of a network.

    Raises:
        RecipeError: for an unknown name; the message lists the known ones.
    """
    if name not in NETWORKS:
        raise RecipeError(f"unknown model {name!r}; known: {', '.join(NETWORKS)}")
    return NETWORKS[name]

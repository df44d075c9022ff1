"""The settings of a network. The named networks are in `recipes/families`."""

import dataclasses
from typing import Annotated

from efficientnet_advprop.recipes.bounds import SIZE_PX, Bounded, Bounds

MAIN_BRANCH = "main"
AUXILIARY_BRANCH = "auxiliary"
AUGMENTED_BRANCH = "augmented"  # only in the fine-grained scheme

KERAS_PREFIX = "keras:"  # of the names of the networks of tf.keras.applications

PREPROCESSINGS = ("advprop", "imagenet")
_COEFFICIENT = Bounds("(0, 20]")  # some four times the largest published: 4.3 and 5.3, of EfficientNet-L2


@dataclasses.dataclass(frozen=True)
class NetworkSpec(Bounded):
    """Architecture and constants of a network: all settings that change its variables or its function.

    Attributes:
        name: a name of one of the families.
        input_image_size: side of the square input, in pixels.
        width_coefficient: factor on the channels of the baseline (B0; every ResNet is its own baseline), rounded to
            multiples of 8.
        depth_coefficient: factor on the baseline's number of blocks per stage, rounded up.
        dropout_rate: fraction of the pooled features dropped before the classifier.
        survival_prob: probability that the last residual block is kept in training; block i of n is kept with
            1 - (1 - survival_prob) * i / n (stochastic depth, the official code's drop connect).
        batch_norm_momentum: fraction of the old moving average kept per update (Keras sense).
        batch_norm_epsilon: added to the variance.
        sync_batch_norm: compute batch statistics over all replicas; without the fused kernel (about 1.25 times the time
            of a step).
        preprocessing: normalisation of pixels in [0, 255] inside the network: "advprop" (x * 2 / 255 - 1) or "imagenet"
            (mean and standard deviation of ImageNet); "keras" for Keras' networks, which bring their own.
        classifier_init_scale: the classifier's kernel is initialised uniformly within
            +-classifier_init_scale / sqrt(classes). The official value is 1. With ten classes its initial loss is 5
            instead of 2.3, so the recipes for short runs use less.
        zero_init_residual: initialise gamma of the last batch norm of every residual block to 0, so that these blocks
            start as the identity (Goyal et al., arXiv 1706.02677). Not official: for short runs of deep networks.
        stem_strides: stride of the first convolution. The official value is 2. With 1 the last stages of a 32-px image
            have more than one position.
    """

    name: str
    input_image_size: Annotated[int, SIZE_PX]
    width_coefficient: Annotated[float, _COEFFICIENT]
    depth_coefficient: Annotated[float, _COEFFICIENT]
    dropout_rate: Annotated[float, Bounds("[0, 1)")]
    survival_prob: Annotated[float, Bounds("(0, 1]")] = 0.8
    batch_norm_momentum: Annotated[float, Bounds("[0, 1)")] = 0.99
    batch_norm_epsilon: Annotated[float, Bounds("[1e-12, 1000]")] = 1e-3  # less is 0 beside a variance in float32
    sync_batch_norm: bool = False
    preprocessing: str = "advprop"
    classifier_init_scale: Annotated[float, Bounds("(0, 1000]")] = 1.0
    zero_init_residual: bool = False
    stem_strides: Annotated[int, Bounds("[1, 2]")] = 2

"""ResNeXt-50 and ResNeXt-101 with 32 groups, named by layers, groups and the channels of a group in the first stage.

Sources: Saining Xie et al., arXiv 1611.05431 (50 32x4d); torchvision (101 32x8d, and both top-1, of its weights V1);
Mahajan et al., arXiv 1805.00932 (101 32x16d to 48d). The talk on AdvProp compares to Mahajan et al.'s 101 32x48d: 829 M
parameters, 85.4 % top-1. It was trained on 940 million images of Instagram, weakly supervised by their hashtags, and
then fine-tuned on ImageNet. So this is no result of a scheme here, and not a recipe's expected top-1. No result of
AdvProp with a ResNeXt was published.
"""

import dataclasses
from typing import Any

from efficientnet_advprop.recipes.families import resnet
from efficientnet_advprop.recipes.family import Family, NamedNetwork


def _named(layers: int, width: int, **known: Any) -> NamedNetwork:
    spec = dataclasses.replace(resnet.FAMILY.networks[0].spec, name=f"resnext-{layers}-32x{width}d")
    return NamedNetwork(spec, **known)


FAMILY = Family(
    builder=resnet.FAMILY.builder,
    networks=(
        _named(50, 4, published_top1={"vanilla": 77.6}),
        _named(101, 8, published_top1={"vanilla": 79.3}, is_deep=True),
        _named(101, 16, is_deep=True),
        _named(101, 32, is_deep=True),
        _named(101, 48, is_deep=True),
    ),
    imagenet=dataclasses.replace(
        resnet.FAMILY.imagenet,
        source=(
            "the settings of the ResNets, not tried: batch, learning rate and weight decay are also those of Saining "
            "Xie et al., arXiv 1611.05431; top-1 is that of torchvision's weights V1"
        ),
    ),
)

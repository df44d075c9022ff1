"""ResNet-50, 101, 152 and 200.

Sources: He et al., arXiv 1512.03385; torchvision for the constants, as in the PyTorch re-implementation of AdvProp; the
talk of Xie et al. at CVPR 2020 for the accuracies.
"""

import dataclasses
from typing import Any

from efficientnet_advprop.recipes.data_spec import IMAGENET
from efficientnet_advprop.recipes.family import Family, ImagenetTraining, NamedNetwork
from efficientnet_advprop.recipes.networks import NetworkSpec
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec


def _named(layers: int, vanilla: float, advprop: float, **known: Any) -> NamedNetwork:
    spec = NetworkSpec(
        f"resnet-{layers}",
        input_image_size=224,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        dropout_rate=0.0,
        survival_prob=1.0,
        batch_norm_momentum=0.9,
        batch_norm_epsilon=1e-5,
        preprocessing="imagenet",
        classifier_init_scale=0.7,  # for 1000 classes: PyTorch's bound 1 / sqrt(2048) for 2048 features
    )
    return NamedNetwork(spec, published_top1={"vanilla": vanilla, "advprop": advprop}, **known)


FAMILY = Family(
    builder="resnet:ResNet",
    networks=(
        _named(50, 76.7, 77.1, measured={"digits": "top-1 of 95 % or more (99.4 % measured)"}),
        _named(101, 78.3, 78.9, is_deep=True),
        _named(152, 79.0, 79.8, is_deep=True),
        _named(200, 79.3, 80.1, is_deep=True),
    ),
    # He et al.'s, as in the PyTorch re-implementation, which the authors of AdvProp advised.
    imagenet=ImagenetTraining(
        data=dataclasses.replace(IMAGENET, eval_crop="0.875", resize="bilinear"),
        optimizer=OptimizerSpec(
            optimizer="momentum",
            base_learning_rate=0.1,
            lr_schedule="step",
            lr_step_epochs=(30.0, 60.0, 90.0, 100.0),
            lr_decay_factor=0.1,
            lr_warmup_epochs=0.0,
            momentum=0.9,
            weight_decay=1e-4,
            decay_batch_norm=True,
            moving_average_decay=0.0,
        ),
        train_batch_size=256,
        train_epochs=105.0,
        label_smoothing=0.0,
        steps_per_eval=5005,  # an epoch
        steps_per_checkpoint=5005,
        source=(
            "He et al., arXiv 1512.03385; top-1 of Xie et al.'s talk at CVPR 2020; constants (not the attack, PGD1) of "
            "github.com/tingxueronghua/pytorch-classification-advprop, whose learning rate belongs to the mean of the "
            "clean and the adversarial loss"
        ),
        hardware="8 GPUs or a TPU v3-8",
        averages_terms=True,
    ),
)

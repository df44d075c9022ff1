"""Augmentation of training images and batches, as pure functions of a seed."""

from efficientnet_advprop.data.augment.autoaugment import Augmentation, augmentation_of, autoaugment, randaugment
from efficientnet_advprop.data.augment.mixup import cutmix, mixup
from efficientnet_advprop.data.augment.operations import OPERATIONS, apply

__all__ = [
    "OPERATIONS",
    "Augmentation",
    "apply",
    "augmentation_of",
    "autoaugment",
    "cutmix",
    "mixup",
    "randaugment",
]

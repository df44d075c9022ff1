"""Augmentation of training images and batches, as pure functions of a seed."""

from efficientnet_advprop.data.augment.autoaugment import (
    Augmentation as Augmentation,
    augmentation_of as augmentation_of,
    autoaugment as autoaugment,
    randaugment as randaugment,
)
from efficientnet_advprop.data.augment.mixup import cutmix as cutmix, mixup as mixup
from efficientnet_advprop.data.augment.operations import OPERATIONS as OPERATIONS, apply as apply

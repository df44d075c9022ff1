"""Weights from files: official checkpoints, those of timm and torchvision, and those of this project's runs."""

from efficientnet_advprop.models.weights.checkpoint_file import digest_of as digest_of
from efficientnet_advprop.models.weights.keras_weights import (
    load_keras_weights as load_keras_weights,
    require_keras_weights as require_keras_weights,
)
from efficientnet_advprop.models.weights.official import load_official_checkpoint as load_official_checkpoint
from efficientnet_advprop.models.weights.pretrained import (
    OfficialWeights as OfficialWeights,
    RunWeights as RunWeights,
    TimmWeights as TimmWeights,
    Weights as Weights,
    load_weights as load_weights,
    open_weights as open_weights,
)

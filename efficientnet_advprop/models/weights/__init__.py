"""Weights from files: official checkpoints, and those of this project's runs."""

from efficientnet_advprop.models.weights.checkpoint_file import digest_of
from efficientnet_advprop.models.weights.official import load_official_checkpoint
from efficientnet_advprop.models.weights.pretrained import OfficialWeights, RunWeights, Weights, open_weights

__all__ = ["OfficialWeights", "RunWeights", "Weights", "digest_of", "load_official_checkpoint", "open_weights"]

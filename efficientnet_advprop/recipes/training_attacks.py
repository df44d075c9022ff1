"""The attack that each model is trained with under a scheme."""

import dataclasses

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.families import named_network
from efficientnet_advprop.recipes.schemes import SCHEMES


def training_attack(model: str, scheme: str) -> AttackSpec:
    """The attack that the published results of this model and scheme were trained with."""
    return dataclasses.replace(named_network(model).attack, **SCHEMES[scheme].attack)

"""The training attack of each model under each scheme."""

import dataclasses

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.families import named_network
from efficientnet_advprop.recipes.schemes import SCHEMES


def training_attack(model: str, scheme: str) -> AttackSpec:
    """The attack with which the published results of this model and scheme were trained."""
    return dataclasses.replace(named_network(model).attack, **SCHEMES[scheme].attack)

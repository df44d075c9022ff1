"""The attack that each model is trained with under a scheme."""

import dataclasses

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.families import named_network
from efficientnet_advprop.recipes.family import PGD1
from efficientnet_advprop.recipes.schemes import FAST_ADVPROP

# One step, whatever the model; running statistics together with the attack's weight gradient gave its authors NaN.
_FAST = dataclasses.replace(PGD1, batch_norm_mode="batch")


def training_attack(model: str, scheme: str) -> AttackSpec:
    """The attack that the published results of this model and scheme were trained with."""
    return _FAST if scheme == FAST_ADVPROP else named_network(model).attack

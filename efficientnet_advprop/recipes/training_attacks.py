"""The attack that each model is trained with under a scheme."""

import dataclasses

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.schemes import SCHEMES

# Small networks gain from the weakest attacker, large ones from the strongest (the paper's table of attackers).
_PGD1 = AttackSpec("pgd", "linf", epsilon_px=1.0, step_size_px=1.0, num_steps=1)
_PGD4 = AttackSpec("pgd", "linf", epsilon_px=3.0, step_size_px=1.0, num_steps=4)
_PGD5 = AttackSpec("pgd", "linf", epsilon_px=4.0, step_size_px=1.0, num_steps=5)
_WEAKER_ATTACKS = {
    "efficientnet-b0": _PGD1,
    "efficientnet-b1": _PGD1,
    "efficientnet-b2": _PGD1,
    "efficientnet-b3": _PGD4,
}


def training_attack(model: str, scheme: str) -> AttackSpec:
    """The attack that the published results of this model and scheme were trained with."""
    return dataclasses.replace(_WEAKER_ATTACKS.get(model, _PGD5), **SCHEMES[scheme].attack)

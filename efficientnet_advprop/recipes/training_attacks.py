"""The attack that each model is trained with under a scheme."""

import dataclasses

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.schemes import FAST_ADVPROP

# Small networks gain from the weakest attacker, large ones from the strongest (the paper's table of attackers).
_PGD1 = AttackSpec("pgd", "linf", epsilon_px=1.0, step_size_px=1.0, num_steps=1)
_PGD4 = AttackSpec("pgd", "linf", epsilon_px=3.0, step_size_px=1.0, num_steps=4)
_PGD5 = AttackSpec("pgd", "linf", epsilon_px=4.0, step_size_px=1.0, num_steps=5)
# One step, whatever the model; running statistics together with the attack's weight gradient gave its authors NaN.
_FAST = dataclasses.replace(_PGD1, batch_norm_mode="batch")
_WEAKER_ATTACKS = {
    "efficientnet-b0": _PGD1,
    "efficientnet-b1": _PGD1,
    "efficientnet-b2": _PGD1,
    "efficientnet-b3": _PGD4,
}


def training_attack(model: str, scheme: str) -> AttackSpec:
    """The attack that the published results of this model and scheme were trained with."""
    return _FAST if scheme == FAST_ADVPROP else _WEAKER_ATTACKS.get(model, _PGD5)

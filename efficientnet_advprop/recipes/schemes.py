"""Training schemes as data: which images go through which branch with which weight.

A scheme is a tuple of phases, a phase a tuple of terms. The step (`training/step.py`) runs any of them; a new scheme is
an entry of `SCHEMES`.
"""

import dataclasses
from collections.abc import Callable

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.networks import AUXILIARY_BRANCH, MAIN_BRANCH

# Views: keys of a batch that hold images. The second is the first's pictures, crops and flips with augmentation; in a
# scheme that names it the first goes without, in all others the first is augmented as the recipe says.
IMAGES_VIEW = "images"
AUGMENTED_VIEW = "images_augmented"


@dataclasses.dataclass(frozen=True)
class Term:
    """One summand of the loss: weight * mean cross-entropy of these images through this branch.

    Attributes:
        name: its name in logs; unique in its phase.
        view: key of the batch that holds its images: `IMAGES_VIEW` or `AUGMENTED_VIEW`.
        branch: the batch norms they go through. Terms of one branch run as one batch, so its statistics are those of
            their mixture.
        weight: factor on the mean loss.
        attack: makes the images adversarial first; None leaves them as they are.
    """

    name: str
    view: str
    branch: str
    weight: float
    attack: AttackSpec | None = None


@dataclasses.dataclass(frozen=True)
class Phase:
    """Terms in force until an epoch; `until_epoch=None` lasts to the end."""

    until_epoch: float | None
    terms: tuple[Term, ...]


@dataclasses.dataclass(frozen=True)
class TermWeights:
    """Factors on the clean and the adversarial terms; 1 and 1 is the paper's sum."""

    clean: float = 1.0
    adversarial: float = 1.0

    def validate(self) -> None:
        """Refuse negative weights.

        Raises:
            RecipeError: naming the weight.
        """
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise RecipeError(f"{field.name} weight {getattr(self, field.name):g} is below 0")


def _vanilla(attack: AttackSpec, weights: TermWeights) -> tuple[Phase, ...]:
    """Clean images through the main branch."""
    del attack
    return (Phase(None, (Term("clean", IMAGES_VIEW, MAIN_BRANCH, weights.clean),)),)


def _advprop(attack: AttackSpec, weights: TermWeights) -> tuple[Phase, ...]:
    """Clean images through the main branch, adversarial ones through the auxiliary (the paper's Algorithm 1)."""
    clean = Term("clean", IMAGES_VIEW, MAIN_BRANCH, weights.clean)
    adversarial = Term("adversarial", IMAGES_VIEW, AUXILIARY_BRANCH, weights.adversarial, attack)
    return (Phase(None, (clean, adversarial)),)


SCHEMES: dict[str, Callable[[AttackSpec, TermWeights], tuple[Phase, ...]]] = {
    "vanilla": _vanilla,
    "advprop": _advprop,
}


def scheme_phases(scheme: str, attack: AttackSpec, weights: TermWeights) -> tuple[Phase, ...]:
    """The phases of a scheme with this attack and these weights.

    Raises:
        RecipeError: for an unknown scheme; the message lists the known ones.
    """
    if scheme not in SCHEMES:
        raise RecipeError(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
    return SCHEMES[scheme](attack, weights)


def branches_of(phases: tuple[Phase, ...]) -> tuple[str, ...]:
    """The branches that a network needs for these phases: main first (inference uses it), then as they appear."""
    used = (term.branch for phase in phases for term in phase.terms)
    return tuple(dict.fromkeys((MAIN_BRANCH, *used)))


def views_of(phases: tuple[Phase, ...]) -> tuple[str, ...]:
    """The views of a batch that these phases read."""
    return tuple(dict.fromkeys(term.view for phase in phases for term in phase.terms))

"""Training schemes as data: which images go through which branch with which weight.

A scheme is a tuple of phases, a phase a tuple of terms. The objective (`training/objective.py`) runs any of them; a new
scheme is an entry of `SCHEMES`. Fast AdvProp alone has an objective of its own, as its attack is a training pass too.
"""

import dataclasses
from collections.abc import Callable

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.networks import AUGMENTED_BRANCH, AUXILIARY_BRANCH, MAIN_BRANCH

FAST_ADVPROP = "fast_advprop"

# Views: keys of a batch that hold images. The second is the first's images, crops and flips with augmentation; in a
# scheme that names it the first goes without, in all others the first is augmented as the recipe says.
IMAGES_VIEW = "images"
AUGMENTED_VIEW = "images_augmented"


@dataclasses.dataclass(frozen=True)
class Term:
    """One summand of the loss: weight * mean cross-entropy of these images through this branch.

    Attributes:
        name: its name in logs and among the weights; unique in its phase.
        view: key of the batch that holds its images, which its attack starts from: `IMAGES_VIEW` or `AUGMENTED_VIEW`.
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
    """Factors on the terms, by their names; all 1 is the paper's sum.

    Attributes:
        clean: of clean images.
        adversarial: of adversarial images.
        augmented: of AutoAugment's images in the fine-grained scheme.
        noise: of Fast AdvProp's images at their random start.
    """

    clean: float = 1.0
    adversarial: float = 1.0
    augmented: float = 1.0
    noise: float = 1.0

    def validate(self) -> None:
        """Refuse negative weights.

        Raises:
            RecipeError: naming the weight.
        """
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise RecipeError(f"{field.name} weight {getattr(self, field.name):g} is below 0")


@dataclasses.dataclass(frozen=True)
class SchemeSettings:
    """What a recipe decides about its scheme.

    Attributes:
        attack: of the adversarial terms.
        weights: of the terms.
        clean_from_epoch: where `adversarial_then_clean` turns to clean images.
    """

    attack: AttackSpec
    weights: TermWeights
    clean_from_epoch: float

    def clean(self) -> Term:
        """Clean images through the main branch."""
        return Term("clean", IMAGES_VIEW, MAIN_BRANCH, self.weights.clean)

    def adversarial(self, branch: str) -> Term:
        """Adversarial images, made and trained on through this branch."""
        return Term("adversarial", IMAGES_VIEW, branch, self.weights.adversarial, self.attack)

    def augmented(self) -> Term:
        """The clean images after AutoAugment, through a branch of their own."""
        return Term("augmented", AUGMENTED_VIEW, AUGMENTED_BRANCH, self.weights.augmented)

    def noise(self) -> Term:
        """Images at the random start of Fast AdvProp's attack."""
        return Term("noise", IMAGES_VIEW, AUXILIARY_BRANCH, self.weights.noise)


def _vanilla(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean images alone."""
    return (Phase(None, (settings.clean(),)),)


def _adversarial(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Adversarial images alone, through the only branch there is (Madry et al., arXiv 1706.06083)."""
    return (Phase(None, (settings.adversarial(MAIN_BRANCH),)),)


def _adversarial_then_clean(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Adversarial images first, then fine-tuning on clean ones (the paper's figure 2: half of the epochs each)."""
    first = Phase(settings.clean_from_epoch, (settings.adversarial(MAIN_BRANCH),))
    return (first, Phase(None, (settings.clean(),)))


def _joint(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean and adversarial images as one batch through one branch (Goodfellow et al., arXiv 1412.6572)."""
    return (Phase(None, (settings.clean(), settings.adversarial(MAIN_BRANCH))),)


def _advprop(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean images through the main branch, adversarial ones through the auxiliary (the paper's Algorithm 1)."""
    return (Phase(None, (settings.clean(), settings.adversarial(AUXILIARY_BRANCH))),)


def _fine_grained(settings: SchemeSettings) -> tuple[Phase, ...]:
    """AdvProp with a third branch for AutoAugment's images; main and adversarial images are not augmented.

    The paper does not say which images the attack starts from.
    """
    return (Phase(None, (settings.clean(), settings.augmented(), settings.adversarial(AUXILIARY_BRANCH))),)


def _fast_advprop(settings: SchemeSettings) -> tuple[Phase, ...]:
    """AdvProp with a fifth of the images, attacked in one step whose pass is trained on too (ICLR 2022)."""
    return (Phase(None, (settings.clean(), settings.noise(), settings.adversarial(AUXILIARY_BRANCH))),)


SCHEMES: dict[str, Callable[[SchemeSettings], tuple[Phase, ...]]] = {
    "vanilla": _vanilla,
    "adversarial": _adversarial,
    "adversarial_then_clean": _adversarial_then_clean,
    "joint": _joint,
    "advprop": _advprop,
    "fine_grained": _fine_grained,
    FAST_ADVPROP: _fast_advprop,
}


def scheme_phases(scheme: str, settings: SchemeSettings) -> tuple[Phase, ...]:
    """The phases of a scheme with these settings.

    Raises:
        RecipeError: for an unknown scheme; the message lists the known ones.
    """
    if scheme not in SCHEMES:
        raise RecipeError(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
    return SCHEMES[scheme](settings)


def published_weights(scheme: str) -> TermWeights:
    """The weights that a scheme was published with: plain sums, but for Fast AdvProp."""
    return TermWeights(adversarial=0.5, noise=0.5) if scheme == FAST_ADVPROP else TermWeights()


def branches_of(phases: tuple[Phase, ...]) -> tuple[str, ...]:
    """The branches that a network needs for these phases: main first (inference uses it), then as they appear."""
    used = (term.branch for phase in phases for term in phase.terms)
    return tuple(dict.fromkeys((MAIN_BRANCH, *used)))


def views_of(phases: tuple[Phase, ...]) -> tuple[str, ...]:
    """The views of a batch that these phases read."""
    return tuple(dict.fromkeys(term.view for phase in phases for term in phase.terms))

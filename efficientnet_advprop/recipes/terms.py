"""What a training scheme is made of: terms, which phases hold, and what a recipe decides about them."""

import dataclasses

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.networks import AUGMENTED_BRANCH, AUXILIARY_BRANCH, MAIN_BRANCH

# Views: keys of a batch that hold images. The second is the first's images, crops and flips with augmentation; in a
# scheme that names it the first goes without, in all others the first is augmented as the recipe says.
IMAGES_VIEW = "images"
AUGMENTED_VIEW = "images_augmented"

# Losses by name; `training/losses.py` holds them.
CROSS_ENTROPY = "cross_entropy"  # of the labels
KL_FROM_CLEAN = "kl_from_clean"  # of the predictions on the images of the term `clean`, which shares view and branch

CLEAN = "clean"
_FORWARD_PASS = 1 / 3  # of a pass, as a backward one takes two forward ones


@dataclasses.dataclass(frozen=True)
class Term:
    """One summand of the loss: weight * mean loss of these images through this branch.

    Attributes:
        name: its name in logs and among the weights; unique in its phase.
        view: key of the batch that holds its images, which its attack starts from: `IMAGES_VIEW` or `AUGMENTED_VIEW`.
        branch: the batch norms they go through. Terms of one branch run as one batch, so its statistics are those of
            their mixture.
        weight: factor on the mean loss.
        attack: makes the images adversarial first, by raising the loss; None leaves them as they are.
        loss: `CROSS_ENTROPY` or `KL_FROM_CLEAN`.
    """

    name: str
    view: str
    branch: str
    weight: float
    attack: AttackSpec | None = None
    loss: str = CROSS_ENTROPY

    def passes(self, attack_step: float) -> float:
        """Forward and backward passes per image, one for the term itself.

        The attack on a divergence from clean predictions needs these once: a forward pass more.

        Args:
            attack_step: what a step of the attack counts for.
        """
        if self.attack is None or not self.attack.perturbs:
            return 1.0
        return 1.0 + attack_step * self.attack.num_steps + (_FORWARD_PASS if self.loss == KL_FROM_CLEAN else 0.0)


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
        epochs: length of the run.
        clean_from_epoch: where `adversarial_then_clean` turns to clean images.
        fast_adversarial_share: fraction of each replica's batch that `fast_advprop` makes adversarial.
        batch_size: clean images per step on each replica.
        micro_batches: pieces that these are cut into.
    """

    attack: AttackSpec
    weights: TermWeights
    epochs: float
    clean_from_epoch: float
    fast_adversarial_share: float
    batch_size: int
    micro_batches: int

    def clean(self) -> Term:
        """Clean images through the main branch."""
        return Term(CLEAN, IMAGES_VIEW, MAIN_BRANCH, self.weights.clean)

    def adversarial(self, branch: str, loss: str = CROSS_ENTROPY) -> Term:
        """Adversarial images, made and trained on through this branch."""
        return Term("adversarial", IMAGES_VIEW, branch, self.weights.adversarial, self.attack, loss)

    def augmented(self) -> Term:
        """The clean images after AutoAugment, through a branch of their own."""
        return Term("augmented", AUGMENTED_VIEW, AUGMENTED_BRANCH, self.weights.augmented)

    def noise(self) -> Term:
        """Images at the random start of Fast AdvProp's attack."""
        return Term("noise", IMAGES_VIEW, AUXILIARY_BRANCH, self.weights.noise)

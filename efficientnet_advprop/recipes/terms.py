"""The parts of a training scheme: terms of the loss, phases of terms, and their settings."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.bounds import Bounded, Bounds
from efficientnet_advprop.recipes.networks import AUGMENTED_BRANCH, AUXILIARY_BRANCH, MAIN_BRANCH

# Views: keys of a batch that hold images. The augmented view has the same images, crops and flips as the first one and
# augmentation. In schemes that use it, the first view is not augmented; in all others it is, as the recipe says.
IMAGES_VIEW = "images"
AUGMENTED_VIEW = "images_augmented"

# Names of losses; `training/losses.py` defines them.
CROSS_ENTROPY = "cross_entropy"  # with the labels
KL_FROM_CLEAN = "kl_from_clean"  # KL(clean || own) of predictions; needs a term `clean` of the same view and branch

CLEAN = "clean"
_WEIGHT = Bounds("[0, 1e6]")
# The counting rule, in forward and backward passes. A backward pass costs about two forward passes: one for the
# gradient of the activations, one for that of the weights. An attack step is a forward pass and the first of these two.
FORWARD_PASS = 1 / 3
ATTACK_STEP = 2 / 3


@dataclasses.dataclass(frozen=True)
class Term:
    """One summand of the loss: weight * mean loss of these images through this branch.

    Attributes:
        name: its name in logs and in `TermWeights`; unique in its phase.
        view: the key of its images in the batch, `IMAGES_VIEW` or `AUGMENTED_VIEW`; its attack starts from them.
        branch: the batch norms it uses. Terms of one branch run as one batch and share its batch statistics.
        weight: factor on the mean loss.
        attack: makes the images adversarial by maximising the loss; None uses the images of the view.
        loss: `CROSS_ENTROPY` or `KL_FROM_CLEAN`.
    """

    name: str
    view: str
    branch: str
    weight: float
    attack: AttackSpec | None = None
    loss: str = CROSS_ENTROPY

    def passes(self, attack_step: float) -> float:
        """Forward and backward passes per image: one for the term itself, plus those of its attack.

        An attack on the divergence from clean predictions has one more forward pass, for these predictions.

        Args:
            attack_step: passes per attack step.
        """
        if self.attack is None or not self.attack.perturbs:
            return 1.0
        return 1.0 + attack_step * self.attack.num_steps + (FORWARD_PASS if self.loss == KL_FROM_CLEAN else 0.0)


@dataclasses.dataclass(frozen=True)
class Phase:
    """Terms that are trained up to an epoch.

    Attributes:
        until_epoch: its end; None is the end of the run.
        terms: of its loss.
        classifier_only: whether all weights but the classifier's stay as they are.
    """

    until_epoch: float | None
    terms: tuple[Term, ...]
    classifier_only: bool = False


def with_frozen_start(phases: Sequence[Phase], until_epoch: float) -> tuple[Phase, ...]:
    """The phases, with the classifier alone trained up to this epoch; 0 trains all weights from the start."""
    if not until_epoch:
        return tuple(phases)
    frozen = [phase for phase in phases if phase.until_epoch is not None and phase.until_epoch <= until_epoch]
    whole = phases[len(frozen) :]
    if not frozen or frozen[-1].until_epoch < until_epoch:
        frozen.append(dataclasses.replace(whole[0], until_epoch=until_epoch))
    return (*(dataclasses.replace(phase, classifier_only=True) for phase in frozen), *whole)


@dataclasses.dataclass(frozen=True)
class TermWeights(Bounded, of="weight of"):
    """Factors on the losses of the terms, by term name; all 1 is the sum of the paper.

    Attributes:
        clean: on the loss of clean images.
        adversarial: on the loss of adversarial images.
        augmented: on the loss of augmented images in the fine-grained scheme.
        noise: on the loss of Fast AdvProp's images at the random start.
    """

    clean: Annotated[float, _WEIGHT] = 1.0
    adversarial: Annotated[float, _WEIGHT] = 1.0
    augmented: Annotated[float, _WEIGHT] = 1.0
    noise: Annotated[float, _WEIGHT] = 1.0


@dataclasses.dataclass(frozen=True)
class SchemeSettings:
    """The settings of a recipe that its scheme uses.

    Attributes:
        attack: of the adversarial terms.
        weights: of the terms.
        epochs: length of the run.
        clean_from_epoch: epoch at which `adversarial_then_clean` switches to clean images.
        fast_adversarial_share: fraction of each replica's batch that `fast_advprop` makes adversarial.
        batch_size: clean images per step on each replica.
        micro_batches: number of equal pieces of each replica's batch.
    """

    attack: AttackSpec
    weights: TermWeights
    epochs: float
    clean_from_epoch: float
    fast_adversarial_share: float
    batch_size: int
    micro_batches: int

    def clean(self) -> Term:
        """The term of clean images, through the main branch."""
        return Term(CLEAN, IMAGES_VIEW, MAIN_BRANCH, self.weights.clean)

    def adversarial(self, branch: str, loss: str = CROSS_ENTROPY) -> Term:
        """The term of adversarial images; attack and training use this branch."""
        return Term("adversarial", IMAGES_VIEW, branch, self.weights.adversarial, self.attack, loss)

    def augmented(self) -> Term:
        """The term of augmented images, through their own branch."""
        return Term("augmented", AUGMENTED_VIEW, AUGMENTED_BRANCH, self.weights.augmented)

    def noise(self) -> Term:
        """The term of images at the random start of Fast AdvProp's attack."""
        return Term("noise", IMAGES_VIEW, AUXILIARY_BRANCH, self.weights.noise)

"""The training schemes: which images go through which branch with which weight and loss.

A scheme is one function here, which returns its phases, and what stands in the line above it. Of losses that
`training/losses.py` has, a new scheme needs nothing else: flags, studies and recipes read `SCHEMES`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.networks import AUXILIARY_BRANCH, MAIN_BRANCH
from efficientnet_advprop.recipes.terms import KL_FROM_CLEAN, Phase, SchemeSettings, Term, TermWeights

PhasesOf = Callable[[SchemeSettings], tuple[Phase, ...]]


def _has_no_limits(settings: SchemeSettings) -> None:
    """What a scheme validates that runs with all settings."""


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A way to train.

    Attributes:
        name: of the scheme, a key of `SCHEMES`.
        source: where it was published.
        phases: its phases under a recipe's settings.
        weights: that it was published with; all 1 is a plain sum of losses.
        attack: what it changes of its model's training attack, by field.
        own_fields: of the recipe, which schemes without them do not read.
        varies_strength: whether the attack may have other strengths than the recipe's; a study asks.
        objective: what computes its gradient, by name; `training/step.py` holds the objectives.
        validate: raises RecipeError for settings that the scheme cannot run with.
        own_passes: its passes per image, where its attack is not the terms'; None counts terms and attack steps.
    """

    name: str
    source: str
    phases: PhasesOf
    weights: TermWeights = TermWeights()
    attack: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    own_fields: tuple[str, ...] = ()
    varies_strength: bool = True
    objective: str = "terms"
    validate: Callable[[SchemeSettings], None] = _has_no_limits
    own_passes: Callable[[SchemeSettings], float] | None = None

    def passes_per_image(self, settings: SchemeSettings, attack_step: float) -> float:
        """Forward and backward passes per clean image, over the run's mean; vanilla's is 1.

        Args:
            settings: of the run.
            attack_step: what one step of an attack counts for.
        """
        if self.own_passes is not None:
            return self.own_passes(settings)
        passes = start = 0.0
        for phase in self.phases(settings):
            end = settings.epochs if phase.until_epoch is None else min(phase.until_epoch, settings.epochs)
            passes += (end - start) * sum(term.passes(attack_step) for term in phase.terms)
            start = end
        return passes / settings.epochs


SCHEMES: dict[str, Scheme] = {}


def scheme_named(name: str) -> Scheme:
    """The scheme of this name.

    Raises:
        RecipeError: for an unknown name; the message lists the known ones.
    """
    if name not in SCHEMES:
        raise RecipeError(f"unknown scheme {name!r}; known: {', '.join(SCHEMES)}")
    return SCHEMES[name]


def register_scheme(source: str, **facts: Any) -> Callable[[PhasesOf], PhasesOf]:
    """Make a function of settings the phases of a scheme that has its name.

    Args:
        source: where the scheme was published.
        facts: `Scheme`'s other fields.
    """

    def register(phases: PhasesOf) -> PhasesOf:
        SCHEMES[phases.__name__] = Scheme(phases.__name__, source, phases, **facts)
        return phases

    return register


def _whole_run(*terms: Term) -> tuple[Phase, ...]:
    return (Phase(None, terms),)


@register_scheme("Xie et al., CVPR 2020 (arXiv 1911.09665), the baseline")
def vanilla(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean images alone."""
    return _whole_run(settings.clean())


@register_scheme("Madry et al., ICLR 2018 (arXiv 1706.06083)")
def adversarial(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Adversarial images alone, through the only branch there is."""
    return _whole_run(settings.adversarial(MAIN_BRANCH))


def _validate_switch(settings: SchemeSettings) -> None:
    if not 0 < settings.clean_from_epoch < settings.epochs:
        raise RecipeError(
            f"clean_from_epoch {settings.clean_from_epoch:g} is not inside the run's {settings.epochs:g} epochs"
        )


@register_scheme("Xie et al., CVPR 2020, figure 2", own_fields=("clean_from_epoch",), validate=_validate_switch)
def adversarial_then_clean(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Adversarial images first, then fine-tuning on clean ones: half of the epochs each in the paper."""
    first = Phase(settings.clean_from_epoch, (settings.adversarial(MAIN_BRANCH),))
    return (first, Phase(None, (settings.clean(),)))


@register_scheme("Goodfellow et al., ICLR 2015 (arXiv 1412.6572)")
def joint(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean and adversarial images as one batch through one branch."""
    return _whole_run(settings.clean(), settings.adversarial(MAIN_BRANCH))


@register_scheme("Xie et al., CVPR 2020, Algorithm 1")
def advprop(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean images through the main branch, adversarial ones through the auxiliary."""
    return _whole_run(settings.clean(), settings.adversarial(AUXILIARY_BRANCH))


@register_scheme("Xie et al., CVPR 2020, section 4.2")
def fine_grained(settings: SchemeSettings) -> tuple[Phase, ...]:
    """AdvProp with a third branch for AutoAugment's images; main and adversarial images are not augmented.

    The paper does not say which images the attack starts from.
    """
    return _whole_run(settings.clean(), settings.augmented(), settings.adversarial(AUXILIARY_BRANCH))


def num_fast_adversarial(fraction: float, batch_size: int) -> int:
    """How many of a replica's images Fast AdvProp makes adversarial.

    Raises:
        RecipeError: when they would be none or all.
    """
    count = round(fraction * batch_size)
    if not 0 < count < batch_size:
        raise RecipeError(
            f"fast_adversarial_share {fraction:g} makes {count} of a replica's {batch_size} images adversarial: at "
            "least 1 has to be, and 1 has to stay clean"
        )
    return count


def _validate_fast_advprop(settings: SchemeSettings) -> None:
    """Refuse what an attack that is a training pass too cannot do."""
    attack = settings.attack
    if not attack.perturbs or attack.num_steps != 1 or attack.target != "untargeted":
        raise RecipeError(
            "scheme fast_advprop trains on the pass of its attack, which is one untargeted step: "
            f"not {attack.summary()}"
        )
    if attack.batch_norm_mode != "batch":
        raise RecipeError("scheme fast_advprop trains on the pass of its attack: attack_bn has to be batch")
    if settings.micro_batches > 1:
        raise RecipeError(
            "scheme fast_advprop and micro_batches above 1 exclude each other: replicas cannot exchange adversarial "
            "images inside the loop over micro-batches"
        )
    num_fast_adversarial(settings.fast_adversarial_share, settings.batch_size)


def _passes_of_fast_advprop(settings: SchemeSettings) -> float:
    """Its attack step is one of its training passes."""
    return 1 + num_fast_adversarial(settings.fast_adversarial_share, settings.batch_size) / settings.batch_size


@register_scheme(
    "Mei et al., ICLR 2022",
    weights=TermWeights(adversarial=0.5, noise=0.5),
    # One step, whatever the model; running statistics together with the attack's weight gradient gave its authors NaN.
    attack={"epsilon_px": 1.0, "step_size_px": 1.0, "num_steps": 1, "batch_norm_mode": "batch"},
    own_fields=("fast_adversarial_share",),
    varies_strength=False,
    objective="fast_advprop",
    validate=_validate_fast_advprop,
    own_passes=_passes_of_fast_advprop,
)
def fast_advprop(settings: SchemeSettings) -> tuple[Phase, ...]:
    """AdvProp with a fifth of the images, attacked in one step whose pass is trained on too."""
    return _whole_run(settings.clean(), settings.noise(), settings.adversarial(AUXILIARY_BRANCH))


def _validate_trades(settings: SchemeSettings) -> None:
    attack = settings.attack
    if attack.target != "untargeted":
        raise RecipeError(
            f"scheme trades attacks the predictions, not a class: attack_target {attack.target!r} has no use"
        )
    if attack.perturbs and not attack.random_start:
        raise RecipeError(
            "scheme trades needs attack_random_start: at the clean image the divergence from its predictions has no "
            "gradient"
        )


@register_scheme(
    "Zhang et al., ICML 2019 (arXiv 1901.08573)",
    weights=TermWeights(adversarial=6.0),
    attack={"start_std_px": 0.255},  # 0.001 of [0, 1]
    validate=_validate_trades,
)
def trades(settings: SchemeSettings) -> tuple[Phase, ...]:
    """TRADES: cross-entropy on clean images + beta * KL(clean || adversarial) through one branch.

    The weight of the adversarial term is the paper's beta, 1 / lambda. The attack raises the same divergence, from a
    normal start. Clean and adversarial images are one batch; the official code (github.com/yaodongyu/TRADES) gives them
    one pass each, so that batch norm normalises them apart and its running statistics follow both in turn.
    """
    return _whole_run(settings.clean(), settings.adversarial(MAIN_BRANCH, KL_FROM_CLEAN))

"""The training schemes: which images go through which branch, with which weight and loss.

A scheme is one function, which returns its phases, with the decorator above it. A new scheme that uses the losses of
`training/losses.py` needs nothing else: flags, studies and recipes read `SCHEMES`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.errors import RecipeError, require_known
from efficientnet_advprop.recipes.networks import AUXILIARY_BRANCH, MAIN_BRANCH
from efficientnet_advprop.recipes.terms import KL_FROM_CLEAN, Phase, SchemeSettings, Term, TermWeights

PhasesOf = Callable[[SchemeSettings], tuple[Phase, ...]]


def _has_no_limits(settings: SchemeSettings) -> None:
    """The validation of a scheme that accepts all settings."""


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A training scheme.

    Attributes:
        name: a key of `SCHEMES`.
        source: its publication.
        phases: its phases under the settings of a recipe.
        weights: its published term weights; all 1 is a plain sum of losses.
        attack: changes to the training attack of the model, by field.
        own_fields: fields of the recipe that only schemes listing them read.
        varies_strength: whether a study may train it with other attack strengths than the recipe's.
        objective: name of the objective that computes its gradient, a key of `OBJECTIVES` in `training/step.py`.
        validate: raises RecipeError for settings that the scheme does not allow.
        own_passes: its passes per image, for a scheme whose attack step is also a training pass; None counts terms and
            attack steps.
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

    def settings_for(self, attack: AttackSpec) -> dict[str, Any]:
        """The fields of a recipe that the scheme gives, for a network whose published training attack is `attack`."""
        attack = dataclasses.replace(attack, **self.attack)
        return {"scheme": self.name, "attack": attack, "term_weights": self.weights}

    def require_running_statistics(self, terms: Iterable[Term], network: str) -> None:
        """As `AttackSpec.require_running_statistics`, for terms whose attack is no training pass as in Fast AdvProp."""
        for term in terms if self.objective == "terms" else ():
            if term.attack is not None:
                term.attack.require_running_statistics(network)

    def passes_per_image(self, settings: SchemeSettings, attack_step: float) -> float:
        """Mean number of forward and backward passes per clean image over the run; vanilla has 1.

        Args:
            settings: of the run.
            attack_step: passes per attack step.
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
    """The scheme of this name; a RecipeError for an unknown name lists the known ones."""
    require_known("scheme", name, SCHEMES)
    return SCHEMES[name]


def register_scheme(source: str, **facts: Any) -> Callable[[PhasesOf], PhasesOf]:
    """A decorator that registers a function, settings -> phases, as the scheme of its name.

    Args:
        source: publication of the scheme.
        facts: other fields of `Scheme`.
    """

    def register(phases: PhasesOf) -> PhasesOf:
        SCHEMES[phases.__name__] = Scheme(phases.__name__, source, phases, **facts)
        return phases

    return register


def _whole_run(*terms: Term) -> tuple[Phase, ...]:
    return (Phase(None, terms),)


@register_scheme("Xie et al., CVPR 2020 (arXiv 1911.09665), the baseline")
def vanilla(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean images only."""
    return _whole_run(settings.clean())


@register_scheme("Madry et al., ICLR 2018 (arXiv 1706.06083)")
def adversarial(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Adversarial images only, through the main branch, the only one."""
    return _whole_run(settings.adversarial(MAIN_BRANCH))


def _validate_switch(settings: SchemeSettings) -> None:
    if not 0 < settings.clean_from_epoch < settings.epochs:
        raise RecipeError(
            f"clean_from_epoch {settings.clean_from_epoch:g} is not inside the run's {settings.epochs:g} epochs"
        )


@register_scheme("Xie et al., CVPR 2020, figure 2", own_fields=("clean_from_epoch",), validate=_validate_switch)
def adversarial_then_clean(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Adversarial images first, then fine-tuning on clean images; half of the epochs each in the paper."""
    first = Phase(settings.clean_from_epoch, (settings.adversarial(MAIN_BRANCH),))
    return (first, Phase(None, (settings.clean(),)))


@register_scheme("Goodfellow et al., ICLR 2015 (arXiv 1412.6572)")
def joint(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean and adversarial images as one batch through one branch."""
    return _whole_run(settings.clean(), settings.adversarial(MAIN_BRANCH))


@register_scheme("Xie et al., CVPR 2020, Algorithm 1")
def advprop(settings: SchemeSettings) -> tuple[Phase, ...]:
    """Clean images through the main branch, adversarial images through the auxiliary branch."""
    return _whole_run(settings.clean(), settings.adversarial(AUXILIARY_BRANCH))


@register_scheme("Xie et al., CVPR 2020, section 4.2")
def fine_grained(settings: SchemeSettings) -> tuple[Phase, ...]:
    """AdvProp with a third branch for images with AutoAugment; the other two branches get images without it.

    The paper does not say which images the attack starts from; here it starts from the images without AutoAugment.
    """
    return _whole_run(settings.clean(), settings.augmented(), settings.adversarial(AUXILIARY_BRANCH))


def num_fast_adversarial(fraction: float, batch_size: int) -> int:
    """The number of a replica's images that Fast AdvProp makes adversarial.

    Raises:
        RecipeError: when it is 0 or the whole batch.
    """
    count = round(fraction * batch_size)
    if not 0 < count < batch_size:
        raise RecipeError(
            f"fast_adversarial_share {fraction:g} makes {count} of a replica's {batch_size} images adversarial: at "
            "least 1 has to be adversarial and at least 1 clean"
        )
    return count


def _validate_fast_advprop(settings: SchemeSettings) -> None:
    """The attack pass is also a training pass: refuse other attacks, other statistics and micro-batches."""
    attack = settings.attack
    if not attack.perturbs or attack.num_steps != 1 or attack.target != "untargeted":
        raise RecipeError(
            "scheme fast_advprop trains on the pass of its attack, which has to be one untargeted step, not "
            f"{attack.summary()}"
        )
    if attack.batch_norm_mode != "batch":
        raise RecipeError(
            "scheme fast_advprop trains on the pass of its attack, whose norms have to use the batch's statistics: "
            "attack_bn has to be batch (in Python AttackSpec(batch_norm_mode='batch'), or no attack of your own)"
        )
    if settings.micro_batches > 1:
        raise RecipeError(
            "scheme fast_advprop and micro_batches above 1 exclude each other: replicas cannot exchange adversarial "
            "images inside the loop over micro-batches"
        )
    num_fast_adversarial(settings.fast_adversarial_share, settings.batch_size)


def _passes_of_fast_advprop(settings: SchemeSettings) -> float:
    """The attack step adds no pass: it is one of the training passes."""
    return 1 + num_fast_adversarial(settings.fast_adversarial_share, settings.batch_size) / settings.batch_size


@register_scheme(
    "Mei et al., ICLR 2022",
    weights=TermWeights(adversarial=0.5, noise=0.5),
    # One step for every model. Its authors report NaN when the attack pass, with its weight gradient, uses running
    # statistics.
    attack={"epsilon_px": 1.0, "step_size_px": 1.0, "num_steps": 1, "batch_norm_mode": "batch"},
    own_fields=("fast_adversarial_share",),
    varies_strength=False,
    objective="fast_advprop",
    validate=_validate_fast_advprop,
    own_passes=_passes_of_fast_advprop,
)
def fast_advprop(settings: SchemeSettings) -> tuple[Phase, ...]:
    """AdvProp with a fifth of the images adversarial; the pass of the one attack step is also a training pass."""
    return _whole_run(settings.clean(), settings.noise(), settings.adversarial(AUXILIARY_BRANCH))


def _validate_trades(settings: SchemeSettings) -> None:
    attack = settings.attack
    if attack.target != "untargeted":
        raise RecipeError(
            f"scheme trades attacks the predictions, not a class: attack_target {attack.target!r} must be untargeted"
        )
    if settings.weights.clean == 0:
        raise RecipeError("scheme trades uses the labels only in its clean term: clean_weight 0 has to be above 0")
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

    The weight of the adversarial term is the paper's beta, 1 / lambda. The attack maximises the same divergence, from a
    normal random start. Clean and adversarial images are one batch here. The official code
    (github.com/yaodongyu/TRADES) runs them in two passes: batch norm normalises each with its own batch statistics, and
    its running statistics follow both in turn.
    """
    return _whole_run(settings.clean(), settings.adversarial(MAIN_BRANCH, KL_FROM_CLEAN))

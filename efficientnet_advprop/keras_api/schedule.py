"""The terms of a scheme over the epochs of `fit`."""

import dataclasses
import warnings

import tensorflow as tf

from efficientnet_advprop.models.auxiliary_view import BATCH_NORMS
from efficientnet_advprop.recipes import (
    MAIN_BRANCH,
    AttackSpec,
    Phase,
    Recipe,
    SchemeSettings,
    Term,
    TermWeights,
    scheme_named,
)

_ANY_BATCH = 2**20  # the size of a batch is known when the step is traced, and checked again then
# What the first values of moving statistics may still weigh at the end of a run.
# In runs on digits with momentum 0.99, validation was at chance with 2.7 % left, at two thirds with 0.4 %, and as with
# momentum 0.9 with 0.01 %: the variance of the last layers is far from 1, where it starts.
_MOST_LEFT_OF_START = 0.001


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A scheme and its settings, without the number of epochs, which `fit` gives.

    Attributes:
        scheme: a key of `SCHEMES`.
        attack: of its adversarial terms.
        term_weights: factors on the losses of its terms.
        clean_from_epoch: first epoch, from 0, of clean images in `adversarial_then_clean`; None is half of the epochs.
        fast_adversarial_share: fraction of each batch that `fast_advprop` makes adversarial; None is the published one.
    """

    scheme: str
    attack: AttackSpec
    term_weights: TermWeights
    clean_from_epoch: int | None
    fast_adversarial_share: float | None

    def __post_init__(self) -> None:
        for kind, name in ((AttackSpec, "attack"), (TermWeights, "term_weights")):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} {getattr(self, name)!r} must be an instance of {kind.__name__}")
        for name in ("clean_from_epoch", "fast_adversarial_share"):
            if getattr(self, name) is not None and name not in scheme_named(self.scheme).own_fields:
                raise ValueError(f"{name} has no effect with scheme {self.scheme}")
        epoch, share = self.clean_from_epoch, self.fast_adversarial_share
        if epoch is not None and (not isinstance(epoch, int) or epoch < 1):
            raise ValueError(
                f"clean_from_epoch {epoch!r} must be a whole number from 1 on: fit switches between epochs"
            )
        if share is not None and not 0 < share < 1:
            raise ValueError(f"fast_adversarial_share {share!r} is outside (0, 1)")
        self.attack.validate()

    @property
    def share(self) -> float:
        """The fraction of each batch that `fast_advprop` makes adversarial."""
        return Recipe.fast_adversarial_share if self.fast_adversarial_share is None else self.fast_adversarial_share

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """The phases of a run of this many epochs.

        Raises:
            RecipeError: for settings that the scheme does not allow.
        """
        if "clean_from_epoch" in scheme_named(self.scheme).own_fields and epochs < 2:
            raise ValueError(f"scheme {self.scheme} needs at least 2 epochs, not {epochs}: fit switches between epochs")
        half = max(1, epochs // 2)
        settings = SchemeSettings(
            attack=self.attack,
            weights=self.term_weights,
            epochs=epochs,
            clean_from_epoch=half if self.clean_from_epoch is None else self.clean_from_epoch,
            fast_adversarial_share=self.share,
            batch_size=_ANY_BATCH,
            micro_batches=1,
        )
        scheme = scheme_named(self.scheme)
        scheme.validate(settings)
        return scheme.phases(settings)

    @property
    def all_phases(self) -> tuple[Phase, ...]:
        """The phases of a run that is long enough to have them all."""
        return self.phases((self.clean_from_epoch or 1) + 1)

    @property
    def all_terms(self) -> tuple[Term, ...]:
        """The terms of all phases, each name once."""
        return tuple({term.name: term for phase in self.all_phases for term in phase.terms}.values())

    def terms_of(self, epoch: int, epochs: int) -> tuple[Term, ...]:
        """The terms of an epoch, counted from 0."""
        return next(
            phase.terms for phase in self.phases(epochs) if phase.until_epoch is None or epoch < phase.until_epoch
        )


class FollowSchedule(tf.keras.callbacks.Callback):
    """Switches the terms of an `AdvProp` model at the epochs of its schedule."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Warn of moving statistics that this run is too short for."""
        if self.params.get("steps"):
            warn_of_momentum(self.model.model, self.params["steps"] * self.params["epochs"])

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Take the terms of the epoch."""
        self.model.train_on(self.model.schedule.terms_of(epoch, self.params["epochs"]))


def warn_of_momentum(model: tf.keras.Model, steps: int) -> None:
    """Warn when the moving statistics of batch norms will not be those of the data after this many steps.

    Keras' MobileNets have the momentum 0.999, NASNet 0.9997: after 1,000 steps a third of the statistics of such a norm
    are the values that it started from.
    """
    momentum = max(
        (layer.momentum for layer in model.submodules if isinstance(layer, BATCH_NORMS) and layer.trainable),
        default=0.0,
    )
    left = momentum**steps
    if left > _MOST_LEFT_OF_START:
        warnings.warn(
            f"{model.name} has batch norms of momentum {momentum:g}: after the run's {steps} steps their moving "
            f"statistics still hold {100 * left:.2g} % of the values that they began with, and `evaluate` may be far "
            "below `fit`; give these layers momentum=0.9 before they go to AdvProp",
            stacklevel=2,
        )


def branches_of(phases: tuple[Phase, ...]) -> tuple[str, ...]:
    """The branches of the phases' terms, the main one first."""
    used = (term.branch for phase in phases for term in phase.terms)
    return tuple(dict.fromkeys((MAIN_BRANCH, *used)))

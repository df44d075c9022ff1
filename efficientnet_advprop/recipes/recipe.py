"""A recipe: all settings that determine what a training run computes."""

import dataclasses
import math
from typing import Annotated

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.bounds import BATCH, EPOCHS, EPOCHS_OR_0, STEPS, Bounded, Bounds
from efficientnet_advprop.recipes.data_spec import DataSpec
from efficientnet_advprop.recipes.errors import RecipeError, require_known
from efficientnet_advprop.recipes.families import family_of, named_network
from efficientnet_advprop.recipes.networks import MAIN_BRANCH, NetworkSpec
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec
from efficientnet_advprop.recipes.schemes import scheme_named
from efficientnet_advprop.recipes.stored import added
from efficientnet_advprop.recipes.terms import (
    AUGMENTED_VIEW,
    Phase,
    SchemeSettings,
    Term,
    TermWeights,
    with_frozen_start,
)

GENERATORS = ("threefry", "philox")


@dataclasses.dataclass(frozen=True)
class Cadence(Bounded):
    """When and how a run logs, saves and evaluates; without effect on the trained weights.

    Attributes:
        iterations_per_loop: steps on the device between two log lines and checks for values that are not finite; the
            first loops of a run are shorter.
        steps_per_eval: steps between two evaluations; each follows a checkpoint.
        steps_per_checkpoint: largest number of steps between two checkpoints.
        eval_batch_size: images per evaluation step over all replicas; the last batch is padded and masked.
        keep_checkpoint_max: number of newest checkpoints to keep, in addition to the best one.
        eval_branch: the branch whose accuracy selects the best checkpoint, and which evaluation attacks.
    """

    iterations_per_loop: Annotated[int, STEPS]
    steps_per_eval: Annotated[int, STEPS]
    steps_per_checkpoint: Annotated[int, STEPS]
    eval_batch_size: Annotated[int, BATCH] = 64
    keep_checkpoint_max: Annotated[int, STEPS] = 5
    eval_branch: str = MAIN_BRANCH


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The origin of a recipe, and its expected result.

    Attributes:
        source: paper and table, or the experiments in which the settings were chosen.
        command: the command line that runs it.
        hardware: the intended hardware.
        expected: the expected result, or "not known".
        measured: whether this project has measured that result with this code.
    """

    source: str
    command: str
    hardware: str
    expected: str
    measured: bool


@dataclasses.dataclass(frozen=True)
class Recipe(Bounded):
    """All settings of one training run; stored as `recipe.json` in its model_dir.

    Attributes:
        network: the network and its constants.
        data: data set, crops, augmentation.
        optimizer: optimizer, learning rate, weight average.
        scheme: decides which images go through which branch; a key of `SCHEMES`.
        attack: makes the adversarial images of the scheme; unused by schemes without any.
        term_weights: factors on the scheme's terms.
        clean_from_epoch: epoch at which `adversarial_then_clean` switches to clean images; None is half of the run.
        fast_adversarial_share: fraction of each replica's batch that `fast_advprop` makes adversarial.
        train_batch_size: clean images per step over all replicas. AdvProp processes an adversarial image for each of
            them in addition; Fast AdvProp makes some of them adversarial.
        train_epochs: length of the run; one epoch is `data.num_train_images` clean images.
        train_steps: length of the run in steps; replaces `train_epochs`.
        label_smoothing: of every term's cross-entropy.
        micro_batches: number of equal pieces of each replica's batch. Gradients and losses are averaged over them;
            batch statistics are those of one piece.
        init_checkpoint: trained weights to start from, read once, at step 0; None starts from random weights.
        init_ema: whether to start from the checkpoint's averaged weights, or from its raw ones.
        keras_weights: weights of a Keras network to start from, read once, at step 0: "imagenet" for those that Keras
            downloads, or a file of `save_weights`; None starts from random weights.
        seed: of initial weights, order of images, augmentation, attack starts and dropout.
        generator: of attack starts, dropout and drop connect: "threefry", whose bits are the same on all devices,
            or "philox", TensorFlow's, of runs that began with it.
        freeze_epochs: epochs at the start in which the classifier alone is trained; for given weights.
        cadence: logging, saving and evaluation.
        provenance: origin and expected result; stored as `receipt`.
    """

    network: NetworkSpec
    data: DataSpec
    optimizer: OptimizerSpec
    scheme: str
    attack: AttackSpec
    train_batch_size: Annotated[int, BATCH]
    train_epochs: Annotated[float, EPOCHS]
    cadence: Cadence
    provenance: Provenance
    term_weights: TermWeights = TermWeights()
    clean_from_epoch: Annotated[float | None, EPOCHS_OR_0] = None
    fast_adversarial_share: Annotated[float, Bounds("(0, 1)")] = 0.2
    train_steps: Annotated[int | None, STEPS] = None
    label_smoothing: Annotated[float, Bounds("[0, 1)")] = 0.1
    micro_batches: Annotated[int, BATCH] = 1
    init_checkpoint: str | None = None
    init_ema: bool = True
    seed: Annotated[int, Bounds("[0, 2147483647]")] = 0
    keras_weights: str | None = added(since=3, neutral=None)
    generator: str = added(since=4, neutral="philox")
    freeze_epochs: Annotated[float, EPOCHS_OR_0] = added(since=5, neutral=0.0)

    @property
    def steps_per_epoch(self) -> float:
        """Steps per pass over the training images; need not be whole, as in the official code."""
        return self.data.num_train_images / self.train_batch_size

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.train_steps or max(1, math.floor(self.train_epochs * self.steps_per_epoch))

    def scheme_settings(self, num_replicas: int = 1) -> SchemeSettings:
        """The recipe's settings for its scheme, on each of this many replicas."""
        epochs = self.total_steps / self.steps_per_epoch
        return SchemeSettings(
            attack=self.attack,
            weights=self.term_weights,
            epochs=epochs,
            clean_from_epoch=epochs / 2 if self.clean_from_epoch is None else self.clean_from_epoch,
            fast_adversarial_share=self.fast_adversarial_share,
            batch_size=self.train_batch_size // num_replicas,
            micro_batches=self.micro_batches,
        )

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of the scheme, with this recipe's attack, weights, length and frozen epochs."""
        return with_frozen_start(scheme_named(self.scheme).phases(self.scheme_settings()), self.freeze_epochs)

    @property
    def branches(self) -> tuple[str, ...]:
        """The branches of the network: main first (inference uses it), then the others in the order of the terms."""
        used = (term.branch for phase in self.phases for term in phase.terms)
        return tuple(dict.fromkeys((MAIN_BRANCH, *used)))

    @property
    def views(self) -> tuple[str, ...]:
        """The views of a training batch that the scheme's terms use."""
        return tuple(dict.fromkeys(term.view for phase in self.phases for term in phase.terms))

    @property
    def attacking_terms(self) -> tuple[Term, ...]:
        """The terms whose attack changes images, in the order of the phases."""
        terms = (term for phase in self.phases for term in phase.terms)
        return tuple(term for term in terms if term.attack and term.attack.perturbs)

    def passes_per_image(self, attack_step: float = 1.0, num_replicas: int = 1) -> float:
        """Mean number of forward and backward passes per clean image over the run; vanilla has 1.

        Args:
            attack_step: passes per attack step; 1 is the count of the papers (AdvProp with K steps: K + 2).
            num_replicas: replicas that divide the global batch. Fast AdvProp rounds the number of its adversarial
                images on each.
        """
        return scheme_named(self.scheme).passes_per_image(self.scheme_settings(num_replicas), attack_step)

    def validate(self) -> None:
        """Refuse what cannot be run, before any device starts; the RecipeError names the value and what is allowed.

        Numbers outside of their bounds cannot get here: see `bounds.py`.
        """
        validate_network(self.network)
        self.data.validate()
        self.optimizer.validate()
        self.attack.validate()
        mixed = self.data.mixup_alpha or self.data.cutmix_alpha
        if mixed and self.attack.target == "random" and self.data.num_label_classes < 3:
            raise RecipeError("attack target random finds no class outside a mixed label of 2 classes")
        require_known("generator", self.generator, GENERATORS)
        STEPS.require("the number of steps", self.total_steps)
        if self.train_batch_size > self.data.num_train_images:
            available = self.data.num_train_images
            raise RecipeError(f"train_batch_size {self.train_batch_size} is more than the {available} training images")
        if self.micro_batches > 1 and self.network.sync_batch_norm:
            raise RecipeError(
                "micro_batches above 1 and sync_batch_norm exclude each other: replicas cannot exchange statistics "
                "inside the loop over micro-batches"
            )
        self._validate_scheme()
        self._validate_family()

    def _validate_scheme(self) -> None:
        """Refuse weights that are all 0, missing images, unknown branches, and what the scheme does not allow."""
        for phase in self.phases:
            if not any(term.weight > 0 for term in phase.terms):
                raise RecipeError(f"every term of scheme {self.scheme} has weight 0: nothing would be learned")
        if AUGMENTED_VIEW in self.views and self.data.augment_name == "none":
            raise RecipeError(f"scheme {self.scheme} trains on augmented images too: it needs --augment_name")
        if self.cadence.eval_branch not in self.branches:
            raise RecipeError(
                f"eval_branch {self.cadence.eval_branch!r}: the branches of scheme {self.scheme} are "
                f"{', '.join(self.branches)}"
            )
        scheme_named(self.scheme).validate(self.scheme_settings())

    def _validate_family(self) -> None:
        """Refuse what the family of the network cannot do."""
        name, of_keras = self.network.name, family_of(self.network.name).of_keras
        if self.keras_weights is not None and not of_keras:
            raise RecipeError(f"keras_weights {self.keras_weights} are for the networks keras:NAME, not for {name}")
        if self.keras_weights is not None and self.init_checkpoint is not None:
            raise RecipeError(
                f"init_checkpoint {self.init_checkpoint} and keras_weights {self.keras_weights} both give the initial "
                "weights: give one of them"
            )
        if self.freeze_epochs and self.init_checkpoint is None and self.keras_weights is None:
            raise RecipeError(
                f"freeze_epochs {self.freeze_epochs:g}: random weights are not worth freezing; give init_checkpoint"
            )
        if self.freeze_epochs and self.freeze_epochs * self.steps_per_epoch >= self.total_steps:
            raise RecipeError(
                f"freeze_epochs {self.freeze_epochs:g} is not below the run's "
                f"{self.total_steps / self.steps_per_epoch:g} epochs"
            )
        if of_keras:
            scheme_named(self.scheme).require_running_statistics(self.attacking_terms, name)


def validate_network(network: NetworkSpec) -> None:
    """Refuse a network that cannot be built; the RecipeError names the value and what is allowed."""
    named_network(network.name).check(network)

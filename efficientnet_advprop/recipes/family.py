"""What a family of networks is: its named networks with what is published of them, and how it trains on ImageNet."""

import dataclasses
from collections.abc import Mapping

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.data_spec import DataSpec
from efficientnet_advprop.recipes.networks import NetworkSpec
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec

# The paper's table of attackers: small networks gain most from the weakest, large ones from the strongest.
PGD1 = AttackSpec("pgd", "linf", epsilon_px=1.0, step_size_px=1.0, num_steps=1)
PGD4 = AttackSpec("pgd", "linf", epsilon_px=3.0, step_size_px=1.0, num_steps=4)
PGD5 = AttackSpec("pgd", "linf", epsilon_px=4.0, step_size_px=1.0, num_steps=5)


@dataclasses.dataclass(frozen=True)
class NamedNetwork:
    """A network that `--model` names.

    Attributes:
        spec: its published settings.
        attack: that its published results were trained with.
        published_top1: on ImageNet in %, by scheme.
        measured: what this project has measured with AdvProp on two CPU cores, by data set.
        is_deep: minutes to the first step on a laptop and seconds for each: the recipe on the digits is short.
    """

    spec: NetworkSpec
    attack: AttackSpec = PGD5
    published_top1: Mapping[str, float] = dataclasses.field(default_factory=dict)
    measured: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_deep: bool = False

    def expected_on(self, dataset: str, scheme: str) -> tuple[str, bool]:
        """What to expect of the small recipe on a data set, and whether this project has measured it."""
        measured = self.measured.get(dataset) if scheme == "advprop" else None
        return measured or "not known", measured is not None


@dataclasses.dataclass(frozen=True)
class ImagenetTraining:
    """How a family trains on ImageNet, whatever the scheme.

    Attributes:
        data: the images and what is done to them.
        optimizer: how weights move.
        train_batch_size: clean images per step.
        train_epochs: length of the run.
        label_smoothing: of every term's cross-entropy.
        steps_per_eval: steps between two evaluations.
        steps_per_checkpoint: steps between two checkpoints.
        source: paper and code of these settings.
        hardware: what they are meant for.
        top1_note: what the published top-1 was trained with, where it has to be said.
        averages_terms: the learning rate belongs to the mean of a scheme's losses, not to their sum.
    """

    data: DataSpec
    optimizer: OptimizerSpec
    train_batch_size: int
    train_epochs: float
    label_smoothing: float
    steps_per_eval: int
    steps_per_checkpoint: int
    source: str
    hardware: str
    top1_note: str = ""
    averages_terms: bool = False


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks of one kind. A module of `recipes/families` holds one, under the name `FAMILY`.

    Attributes:
        builder: module and class under `efficientnet_advprop.models` that build its networks, as `module:Class`.
        networks: the named ones.
        imagenet: how they train on ImageNet.
    """

    builder: str
    networks: tuple[NamedNetwork, ...]
    imagenet: ImagenetTraining

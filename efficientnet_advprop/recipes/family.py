"""A family of networks: its named networks with their published results, and its training settings on ImageNet."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.data_spec import DataSpec
from efficientnet_advprop.recipes.errors import RecipeError, require_known
from efficientnet_advprop.recipes.networks import PREPROCESSINGS, NetworkSpec
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec

# The paper's attacks: small networks gain most from the weakest one, large networks from the strongest.
PGD1 = AttackSpec("pgd", "linf", epsilon_px=1.0, step_size_px=1.0, num_steps=1)
PGD4 = AttackSpec("pgd", "linf", epsilon_px=3.0, step_size_px=1.0, num_steps=4)
PGD5 = AttackSpec("pgd", "linf", epsilon_px=4.0, step_size_px=1.0, num_steps=5)


@dataclasses.dataclass(frozen=True)
class NamedNetwork:
    """A network that `--model` names.

    Attributes:
        spec: its published settings.
        attack: the training attack of its published results.
        published_top1: published top-1 on ImageNet in %, by scheme.
        measured: this project's results with AdvProp on two CPU cores, by data set.
        is_deep: on a laptop the first step takes minutes and each further one seconds, so the digits recipe is shorter.
        digits_epochs: length of the digits recipe where it is not the short one of a deep network.
        fixed: the fields of the settings that its builder cannot change.
        min_image_size: the smallest side of its input, in pixels.
    """

    spec: NetworkSpec
    attack: AttackSpec = PGD5
    published_top1: Mapping[str, float] = dataclasses.field(default_factory=dict)
    measured: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_deep: bool = False
    digits_epochs: float = 8.0
    fixed: tuple[str, ...] = ()
    min_image_size: int = 8

    def adjusted(self, **changes: Any) -> NetworkSpec:
        """Its settings with those of the changes that it can take; a smaller image than its smallest becomes that."""
        taken = {field: value for field, value in changes.items() if field not in self.fixed}
        if "input_image_size" in taken:
            taken["input_image_size"] = max(taken["input_image_size"], self.min_image_size)
        return dataclasses.replace(self.spec, **taken)

    def check(self, spec: NetworkSpec) -> None:
        """Refuse settings that its builder cannot build; the RecipeError names the value and what is allowed."""
        if "preprocessing" not in self.fixed:
            require_known("preprocessing", spec.preprocessing, PREPROCESSINGS)
        for field in self.fixed:
            value, only = getattr(spec, field), getattr(self.spec, field)
            if value != only:
                raise RecipeError(f"{field} {value}: {spec.name} has {only} alone")
        if spec.input_image_size < self.min_image_size:
            raise RecipeError(
                f"input_image_size {spec.input_image_size}: {spec.name} takes images from {self.min_image_size} px on"
            )

    def expected_on(self, dataset: str, scheme: str) -> tuple[str, bool]:
        """The expected result of the recipe on a small data set, and whether this project has measured it."""
        measured = self.measured.get(dataset) if scheme == "advprop" else None
        return measured or "not known", measured is not None


@dataclasses.dataclass(frozen=True)
class ImagenetTraining:
    """The settings with which a family trains on ImageNet, under every scheme.

    Attributes:
        data: data set, crops, augmentation.
        optimizer: optimizer, learning rate, weight average.
        train_batch_size: clean images per step.
        train_epochs: length of the run.
        label_smoothing: of every term's cross-entropy.
        steps_per_eval: steps between two evaluations.
        steps_per_checkpoint: steps between two checkpoints.
        source: paper and code of these settings.
        hardware: the intended hardware.
        top1_note: settings of the published top-1 that a reader has to know; may be empty.
        averages_terms: whether the learning rate was tuned for the mean of a scheme's losses instead of their sum.
        flags: the flags of its command, besides model and scheme.
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
    flags: str = "--data_dir=IMAGENET --tpu=NAME"


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks of one architecture. Each module of `recipes/families` defines one, under the name `FAMILY`.

    Attributes:
        builder: the class under `efficientnet_advprop.models` that builds its networks, as `module:Class`.
        networks: its named networks.
        imagenet: their training settings on ImageNet.
        of_keras: whether they are Keras' own networks, whose graphs have fixed layers: they can start from Keras'
            weights, and have neither blocks to recompute nor batch statistics without an update.
    """

    builder: str
    networks: tuple[NamedNetwork, ...]
    imagenet: ImagenetTraining
    of_keras: bool = False

"""The benchmarks of an evaluation and their settings."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.benchmarks import (
    BENCHMARKS,
    IMAGENET_C_CORRUPTIONS,
    MADE_CORRUPTIONS,
    Benchmark,
    benchmark_of,
)
from efficientnet_advprop.recipes.bounds import ATTACK_STEPS, IMAGES, LENGTH_PX, Bounded, Bounds
from efficientnet_advprop.recipes.errors import RecipeError, require_known

ROBUSTNESS_RESIZES = ("model", "native")
SUCCESSES = ("any", "last")

# Common radii: L-infinity up to 8 of 255; L2 up to the full range of one pixel value.
_EPSILONS_PX = {"linf": (1.0, 2.0, 4.0, 8.0), "l2": (32.0, 64.0, 128.0, 255.0)}
# Step size times steps, in epsilon (Madry et al., arXiv 1706.06083): steps can reach every point of the ball.
_STEPS_REACH = 2.5


@dataclasses.dataclass(frozen=True)
class BenchmarkSpec(Bounded, of="benchmark"):
    """Benchmarks and their settings.

    Attributes:
        names: of `BENCHMARKS`.
        folders: of ImageNet's test sets by name; not needed for sets of TensorFlow Datasets.
        resize: of images of 224 px for a network with another input size: "model" (to the network's size) or "native"
            (their own size).
        norm: of the attack.
        epsilons_px: radii of the attack; empty: `_EPSILONS_PX` of the norm.
        num_steps: of the attack.
        restarts: of the attack.
        success: an attack succeeds if "any" point of any restart is misclassified, or if the "last" point of a single
            attack is, as in a run's `top1_pgd`. None: a study uses the criterion of its existing results.
        corruptions: of `MADE_CORRUPTIONS`, made on the fly; empty: ImageNet-C's fifteen.
        corrupted_branches: evaluated on images corrupted on the fly; empty: all branches.
        most_corrupted_images: maximum number of images corrupted on the fly, evenly spaced; None: no maximum.
        num_images: maximum number of images of each set, evenly spaced; None: all.
    """

    names: tuple[str, ...]
    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    resize: str = "model"
    norm: str = "linf"
    epsilons_px: Annotated[tuple[float, ...], LENGTH_PX] = ()  # 0 is the clean accuracy
    num_steps: Annotated[int, ATTACK_STEPS] = 10
    restarts: Annotated[int, Bounds("[1, 1000]")] = 1
    success: str | None = "any"
    corruptions: tuple[str, ...] = ()
    corrupted_branches: tuple[str, ...] = ()
    most_corrupted_images: Annotated[int | None, IMAGES] = None
    num_images: Annotated[int | None, IMAGES] = None

    @property
    def needs_own_images(self) -> bool:
        """Whether it reads the evaluation images of the network's own data set."""
        return any(BENCHMARKS[name].takes_own_images for name in self.names)

    @property
    def made_corruptions(self) -> tuple[str, ...]:
        """The corruptions that are made on the fly, in the order of `MADE_CORRUPTIONS`."""
        asked = self.corruptions or IMAGENET_C_CORRUPTIONS
        return tuple(name for name in MADE_CORRUPTIONS if name in asked)

    def attacks(self) -> list[AttackSpec]:
        """The attack at each radius, weakest first."""
        return [
            AttackSpec(
                norm=self.norm,
                epsilon_px=epsilon,
                step_size_px=_STEPS_REACH * epsilon / self.num_steps,
                num_steps=self.num_steps,
            )
            for epsilon in sorted(self.epsilons_px or _EPSILONS_PX[self.norm])
        ]

    def attack_in_words(self, benchmark: Benchmark = BENCHMARKS["pgd"]) -> str:
        """The settings that all attacks of a benchmark share, in a few words."""
        if benchmark.parameter_free:
            return f"{benchmark.title} {self.norm}, standard version, running statistics"
        return (
            f"PGD-{self.num_steps} {self.norm}, steps of {_STEPS_REACH:g} epsilon / {self.num_steps}, random start, "
            "untargeted, running statistics"
        )

    def validate(self) -> None:
        """Refuse invalid values.

        Raises:
            RecipeError: naming the value and what is allowed.
        """
        for name in self.names:
            benchmark_of(name)
        for name in self.corruptions:
            require_known("corruption", name, MADE_CORRUPTIONS)
        _refuse_repeated("benchmarks", self.names)
        _refuse_repeated("corruptions", self.corruptions)
        _refuse_repeated("pgd_epsilons", [f"{epsilon:g}" for epsilon in self.epsilons_px])
        sets = [name for name, benchmark in BENCHMARKS.items() if not benchmark.takes_own_images]
        for name in self.folders:
            if name not in sets:
                raise RecipeError(f"benchmark_dir of {name!r}; known: {', '.join(sets)}")
            if name not in self.names:
                raise RecipeError(f"benchmark_dir of {name} would have no effect: it is none of the benchmarks")
        if self.success == "last" and self.restarts > 1:
            raise RecipeError(f"pgd success last counts the last point of one attack: not of {self.restarts} restarts")
        for attack in self.attacks():
            attack.validate()


def _refuse_repeated(what: str, values: Sequence[str]) -> None:
    if len(set(values)) != len(values):
        raise RecipeError(f"{what} {', '.join(values)} repeats one")

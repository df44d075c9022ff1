"""What an evaluation measures beside the accuracy on its own images, as a value."""

import dataclasses
from collections.abc import Mapping

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.errors import RecipeError

# On the evaluation images of the network's own data set, and on test sets of ImageNet's classes.
OWN_BENCHMARKS = ("clean", "pgd", "corruptions")
IMAGENET_BENCHMARKS = (
    "imagenet",
    "imagenet_v2",
    "imagenet_a",
    "imagenet_r",
    "imagenet_sketch",
    "stylized",
    "imagenet_c",
)
BENCHMARKS = (*OWN_BENCHMARKS, *IMAGENET_BENCHMARKS)
# Their images are distributed at 224 px, cropped already.
CROPPED_BENCHMARKS = ("imagenet_c", "stylized")
CROPPED_PX = 224
IMAGENET_IMAGES = 50_000  # of its evaluation, and of each part of ImageNet-C
ROBUSTNESS_RESIZES = ("model", "native")

# Usual radii: up to 8 of 255 for every pixel, and up to one full pixel's range for an image as a whole.
_EPSILONS_PX = {"linf": (1.0, 2.0, 4.0, 8.0), "l2": (32.0, 64.0, 128.0, 255.0)}
# Madry et al. (arXiv 1706.06083) let the steps reach beyond the ball's border by this factor.
_STEPS_REACH = 2.5


@dataclasses.dataclass(frozen=True)
class BenchmarkSpec:
    """What is measured, and how.

    Attributes:
        names: of `BENCHMARKS`.
        folders: of ImageNet's test sets by name; those of TensorFlow Datasets need none.
        resize: how images of 224 px reach a network made for another size: "model" (resized to its size) or "native"
            (at their own size).
        norm: of the attack.
        epsilons_px: its radii; empty: `_EPSILONS_PX` of the norm.
        num_steps: its steps.
        restarts: its starts.
        num_images: measure on so many evenly spaced images of each set; None is all.
    """

    names: tuple[str, ...]
    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    resize: str = "model"
    norm: str = "linf"
    epsilons_px: tuple[float, ...] = ()
    num_steps: int = 10
    restarts: int = 1
    num_images: int | None = None

    @property
    def needs_own_images(self) -> bool:
        """Whether it reads the evaluation images of the network's own data set."""
        return any(name in OWN_BENCHMARKS for name in self.names)

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

    def attack_in_words(self) -> str:
        """All that the attacks have in common, in a few words."""
        return (
            f"PGD-{self.num_steps} {self.norm}, steps of {_STEPS_REACH:g} epsilon / {self.num_steps}, random start, "
            "untargeted, running statistics"
        )

    def validate(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            RecipeError: naming the value and what is allowed.
        """
        for name in self.names:
            if name not in BENCHMARKS:
                raise RecipeError(f"unknown benchmark {name!r}; known: {', '.join(BENCHMARKS)}")
        if len(set(self.names)) != len(self.names):
            raise RecipeError(f"benchmarks {', '.join(self.names)} repeats one")
        if len(set(self.epsilons_px)) != len(self.epsilons_px):
            raise RecipeError(f"pgd_epsilons {', '.join(f'{epsilon:g}' for epsilon in self.epsilons_px)} repeats one")
        for name in self.folders:
            if name not in IMAGENET_BENCHMARKS:
                raise RecipeError(f"benchmark_dir of {name!r}; known: {', '.join(IMAGENET_BENCHMARKS)}")
            if name not in self.names:
                raise RecipeError(f"benchmark_dir of {name} would have no effect: it is none of the benchmarks")
        for field in ("num_steps", "restarts"):
            if getattr(self, field) < 1:
                raise RecipeError(f"pgd {field} {getattr(self, field)}: at least 1 is needed")
        if self.num_images is not None and self.num_images < 1:
            raise RecipeError(f"benchmark_images {self.num_images}: at least 1 is needed")
        for attack in self.attacks():
            if not attack.epsilon_px > 0:
                raise RecipeError(f"pgd epsilon {attack.epsilon_px:g} px: above 0 is needed, 0 is the clean accuracy")
            attack.validate()

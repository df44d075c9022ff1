"""An attack as a value: what is maximised, how far, in how many steps."""

import dataclasses
import sys

from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.stored import added

METHODS = ("pgd", "ifgsm", "gd", "none")
NORMS = ("linf", "l2")
TARGETS = ("untargeted", "random")
BATCH_NORM_MODES = ("running", "batch")


@dataclasses.dataclass(frozen=True)
class AttackSpec:
    """One attacker; distances are pixels of [0, 255].

    Attributes:
        method: "pgd" (projected gradient descent), "ifgsm" (PGD from the clean image: no random start), "gd" (PGD
            that never projects to the ball) or "none" (no perturbation: the ablation that leaves a scheme its branches
            and terms but not its attack; the other fields are then read by nobody).
        norm: "linf" or "l2": what epsilon and step measure.
        epsilon_px: radius of the ball around the clean image.
        step_size_px: length of one step.
        num_steps: number of steps; each costs a forward pass and a backward pass to the image.
        random_start: start at a random point instead of at the clean image.
        target: "untargeted" (raise the true label's loss: the paper's formula) or "random" (lower the loss of a random
            class outside the label's support: the authors' later code).
        batch_norm_mode: "running" (running statistics of the term's branch) or "batch" (statistics of the batch under
            attack; nothing is assigned).
        start_std_px: a random start is the clean image and normal noise of this standard deviation, which the first
            step alone projects to the ball (TRADES); 0 is a uniformly random point of the ball.
    """

    method: str = "pgd"
    norm: str = "linf"
    epsilon_px: float = 4.0
    step_size_px: float = 1.0
    num_steps: int = 5
    random_start: bool = True
    target: str = "untargeted"
    batch_norm_mode: str = "running"
    start_std_px: float = added(since=2, neutral=0.0)

    @property
    def perturbs(self) -> bool:
        """Whether it moves images at all."""
        return self.method != "none"

    @property
    def has_ball(self) -> bool:
        """Whether epsilon decides where images may start or go."""
        return self.method != "gd" or (self.random_start and not self.start_std_px)

    def validate(self) -> None:
        """Refuse what cannot be run.

        Raises:
            RecipeError: naming the value and what is allowed.
        """
        for field, known in (
            ("method", METHODS),
            ("norm", NORMS),
            ("target", TARGETS),
            ("batch_norm_mode", BATCH_NORM_MODES),
        ):
            if getattr(self, field) not in known:
                raise RecipeError(f"unknown attack {field} {getattr(self, field)!r}; known: {', '.join(known)}")
        # No value moves by more than 255, but an image of many may by more, in Euclidean length.
        most, end = (255, "255]") if self.norm == "linf" else (sys.float_info.max, "inf)")
        if not 0 <= self.epsilon_px <= most:
            raise RecipeError(f"attack epsilon {self.epsilon_px:g} px is outside [0, {end}")
        if not 0 < self.step_size_px <= most:
            raise RecipeError(f"attack step size {self.step_size_px:g} px is outside (0, {end}")
        if not 0 <= self.start_std_px <= 255:
            raise RecipeError(f"attack start_std {self.start_std_px:g} px is outside [0, 255]")
        if self.num_steps < 1:
            raise RecipeError(f"an attack of {self.num_steps} steps: at least 1 is needed")
        if self.method == "ifgsm" and self.random_start:
            raise RecipeError("attack method ifgsm starts at the clean image: random_start must be false")

    def summary(self) -> str:
        """The attack in a few words, for logs and tables."""
        if not self.perturbs:
            return "no perturbation"
        start = "random start" if self.random_start else "clean start"
        if self.random_start and self.start_std_px:
            start = f"normal start of {self.start_std_px:g} px"
        return (
            f"{self.method.upper()}-{self.num_steps} {self.norm}, epsilon {self.epsilon_px:g} px, "
            f"step {self.step_size_px:g} px, {start}, {self.target}, {self.batch_norm_mode} statistics"
        )

"""The settings of an attack."""

import dataclasses
from typing import Annotated

from efficientnet_advprop.recipes.bounds import ATTACK_STEPS, LENGTH_PX, Bounded, Bounds
from efficientnet_advprop.recipes.errors import RecipeError, require_known
from efficientnet_advprop.recipes.stored import added

METHODS = ("pgd", "ifgsm", "gd", "none")
NORMS = ("linf", "l2")
TARGETS = ("untargeted", "random")
BATCH_NORM_MODES = ("running", "batch")
_LEAST_EPSILON_PX = 0.1  # 16/255 is less, the smallest epsilon of the literature more


def about_small_epsilon(name: str, epsilon_px: float) -> str:
    """A warning of an epsilon that seems to be on the scale of 0-1; empty for others.

    Args:
        name: what gives the epsilon, such as "epsilon_px".
        epsilon_px: the radius in pixels.
    """
    if not 0 < epsilon_px < _LEAST_EPSILON_PX:
        return ""
    return (
        f"{name} {epsilon_px:.3g} is less than a tenth of one pixel value: "
        "lengths are on the scale of 0-255, so 8/255 is 8"
    )


@dataclasses.dataclass(frozen=True)
class AttackSpec(Bounded, of="attack"):
    """One attack; lengths are in pixels of [0, 255].

    Attributes:
        method: "pgd" (projected gradient descent), "ifgsm" (PGD from the clean image), "gd" (PGD without projection to
            the ball) or "none" (no perturbation: an ablation that keeps the branches and terms of a scheme; the other
            fields are then unused).
        norm: "linf" or "l2", the norm of epsilon and of a step.
        epsilon_px: radius of the ball around the clean image.
        step_size_px: length of one step.
        num_steps: number of steps; each costs a forward pass and a backward pass to the image.
        random_start: start at a random point instead of the clean image.
        target: "untargeted" (increase the loss of the true label, the paper's formula) or "random" (decrease the loss
            of a random class of label probability 0, the authors' later code).
        batch_norm_mode: "running" (running statistics of the term's branch) or "batch" (statistics of the attacked
            batch; the running statistics do not change).
        start_std_px: 0 starts at a uniformly random point of the ball. Otherwise a random start is the clean image plus
            normal noise of this standard deviation, and only the first step projects it to the ball (TRADES).
    """

    method: str = "pgd"
    norm: str = "linf"
    epsilon_px: Annotated[float, Bounds("[0, 1e7]")] = 4.0
    step_size_px: Annotated[float, LENGTH_PX] = 1.0
    num_steps: Annotated[int, ATTACK_STEPS] = 5
    random_start: bool = True
    target: str = "untargeted"
    batch_norm_mode: str = "running"
    start_std_px: Annotated[float, Bounds("[0, 255]")] = added(since=2, neutral=0.0)

    @property
    def perturbs(self) -> bool:
        """Whether it changes images at all."""
        return self.method != "none"

    @property
    def has_ball(self) -> bool:
        """Whether epsilon has an effect, on the start or on the steps."""
        return self.method != "gd" or (self.random_start and not self.start_std_px)

    def validate(self) -> None:
        """Refuse what cannot be run; the RecipeError names the value and what is allowed."""
        require_known("attack method", self.method, METHODS)
        require_known("attack norm", self.norm, NORMS)
        require_known("attack target", self.target, TARGETS)
        require_known("attack batch_norm_mode", self.batch_norm_mode, BATCH_NORM_MODES)
        # A pixel changes by 255 at most; the Euclidean length of the change grows with the number of pixels.
        if self.norm == "linf":
            for field in ("epsilon_px", "step_size_px"):
                Bounds("[0, 255]").require(f"attack {field}", getattr(self, field))
        if self.method == "ifgsm" and self.random_start:
            raise RecipeError("attack method ifgsm starts at the clean image: random_start must be false")

    def require_running_statistics(self, network: str) -> None:
        """Refuse batch statistics in an attack on a network whose batch norms would update their averages by them."""
        if self.perturbs and self.batch_norm_mode != "running":
            raise RecipeError(
                f"attack batch_norm_mode {self.batch_norm_mode!r}: the batch norms of {network} have 'running' alone"
            )

    def summary(self) -> str:
        """The attack in one line, for logs and tables."""
        if not self.perturbs:
            return "no perturbation"
        start = "random start" if self.random_start else "clean start"
        if self.random_start and self.start_std_px:
            start = f"normal start of {self.start_std_px:g} px"
        return (
            f"{self.method.upper()}-{self.num_steps} {self.norm}, epsilon {self.epsilon_px:g} px, "
            f"step {self.step_size_px:g} px, {start}, {self.target}, {self.batch_norm_mode} statistics"
        )

    def about_reach(self) -> str:
        """What to say of an attack whose steps together are shorter than epsilon; empty for others."""
        reach = self.num_steps * self.step_size_px
        if not self.perturbs or not self.has_ball or reach >= self.epsilon_px:
            return ""
        steps = f"{self.num_steps} step{'s' * (self.num_steps != 1)} of {self.step_size_px:g} px"
        return (
            f"attack: {steps} move{'s' * (self.num_steps == 1)} at most {reach:g} px from the start, less than epsilon "
            f"{self.epsilon_px:g} px, which more or longer steps reach"
        )

"""The settings of optimizer, learning rate and weight average."""

import dataclasses
import itertools
import math

from efficientnet_advprop.recipes.errors import RecipeError, require_known

OPTIMIZERS = ("rmsprop", "momentum", "adam", "adamw")
SCHEDULES = ("exponential", "step", "cosine", "constant")
LEARNING_RATE_BATCH_SIZE = 256  # clean images of base_learning_rate; the rate scales linearly with the batch size


@dataclasses.dataclass(frozen=True)
class OptimizerSpec:
    """Optimizer, learning rate and weight average; the defaults are the official trainer's (`main.py`, `utils.py`).

    Attributes:
        optimizer: "rmsprop" (TF1's), "momentum" (SGD), "adam", or "adamw" (weight decay decoupled from the loss).
        base_learning_rate: the peak rate for a batch of 256 clean images.
        lr_schedule: "exponential" (drops at equal intervals), "step" (drops at given epochs), "cosine" (to zero at the
            last step) or "constant".
        lr_decay_epochs: epochs between two drops of the exponential schedule.
        lr_step_epochs: epochs at which the step schedule drops.
        lr_decay_factor: factor of each drop.
        lr_warmup_epochs: epochs of linear warm-up from 0, during which the schedule has no effect.
        rmsprop_decay: fraction of the old mean square kept per update.
        rmsprop_epsilon: added to the mean square inside the square root.
        momentum: of rmsprop and momentum; adam and adamw use Keras' defaults.
        weight_decay: factor on half the squared L2 norm of all weights except batch norm's; added to the loss (adamw:
            decoupled from it).
        decay_batch_norm: decay gamma and beta of every branch too, as PyTorch's optimizers do by default.
        moving_average_decay: decay of the weight average that evaluation and export use; 0 turns averaging off.
    """

    optimizer: str = "rmsprop"
    base_learning_rate: float = 0.016
    lr_schedule: str = "exponential"
    lr_decay_epochs: float = 2.4
    lr_step_epochs: tuple[float, ...] = ()
    lr_decay_factor: float = 0.97
    lr_warmup_epochs: float = 5.0
    rmsprop_decay: float = 0.9
    rmsprop_epsilon: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-5
    decay_batch_norm: bool = False
    moving_average_decay: float = 0.9999

    def peak_learning_rate(self, global_batch_size: int) -> float:
        """The peak rate for a global batch of this many clean images."""
        return self.base_learning_rate * global_batch_size / LEARNING_RATE_BATCH_SIZE

    def validate(self) -> None:
        """Refuse what cannot be run; the RecipeError names the value and what is allowed."""
        require_known("optimizer", self.optimizer, OPTIMIZERS)
        require_known("lr_schedule", self.lr_schedule, SCHEDULES)
        if not self.base_learning_rate > 0:
            raise RecipeError(f"base_learning_rate {self.base_learning_rate:g} is not above 0")
        if not self.lr_decay_epochs > 0:
            raise RecipeError(f"lr_decay_epochs {self.lr_decay_epochs:g} is not above 0")
        if self.lr_schedule == "step" and not self.lr_step_epochs:
            raise RecipeError("lr_schedule step needs lr_step_epochs, such as 30,60,90")
        if not all(before < after for before, after in itertools.pairwise((0.0, *self.lr_step_epochs, math.inf))):
            epochs = ",".join(f"{epoch:g}" for epoch in self.lr_step_epochs)
            raise RecipeError(f"lr_step_epochs {epochs} are not positive, finite and ascending")
        if self.lr_warmup_epochs < 0:
            raise RecipeError(f"lr_warmup_epochs {self.lr_warmup_epochs:g} is below 0")
        if self.weight_decay < 0:
            raise RecipeError(f"weight_decay {self.weight_decay:g} is below 0")
        for field in ("lr_decay_factor", "rmsprop_decay", "momentum", "moving_average_decay"):
            if not 0 <= getattr(self, field) <= 1:
                raise RecipeError(f"{field} {getattr(self, field):g} is outside [0, 1]")
        if self.moving_average_decay == 1:
            raise RecipeError("moving_average_decay 1 would never average; it must be below 1 (0: off)")

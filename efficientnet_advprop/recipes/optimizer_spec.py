"""The settings of optimizer, learning rate and weight average."""

import dataclasses
import itertools
from typing import Annotated

from efficientnet_advprop.recipes.bounds import EPOCHS, EPOCHS_OR_0, FRACTION, Bounded, Bounds
from efficientnet_advprop.recipes.errors import RecipeError, require_known

OPTIMIZERS = ("rmsprop", "momentum", "adam", "adamw")
SCHEDULES = ("exponential", "step", "cosine", "constant")
LEARNING_RATE_BATCH_SIZE = 256  # clean images of base_learning_rate; the rate scales linearly with the batch size


@dataclasses.dataclass(frozen=True)
class OptimizerSpec(Bounded):
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
    base_learning_rate: Annotated[float, Bounds("(0, 1e6]")] = 0.016
    lr_schedule: str = "exponential"
    lr_decay_epochs: Annotated[float, Bounds("[1e-6, 1e6]")] = 2.4  # an epoch has some 1e6 steps at most
    lr_step_epochs: Annotated[tuple[float, ...], EPOCHS] = ()
    lr_decay_factor: Annotated[float, FRACTION] = 0.97
    lr_warmup_epochs: Annotated[float, EPOCHS_OR_0] = 5.0
    rmsprop_decay: Annotated[float, FRACTION] = 0.9
    rmsprop_epsilon: Annotated[float, Bounds("(0, 1000]")] = 1e-3
    momentum: Annotated[float, FRACTION] = 0.9
    weight_decay: Annotated[float, Bounds("[0, 1000]")] = 1e-5
    decay_batch_norm: bool = False
    moving_average_decay: Annotated[float, Bounds("[0, 1)")] = 0.9999  # 1 would never average

    def peak_learning_rate(self, global_batch_size: int) -> float:
        """The peak rate for a global batch of this many clean images."""
        return self.base_learning_rate * global_batch_size / LEARNING_RATE_BATCH_SIZE

    def validate(self) -> None:
        """Refuse what cannot be run; the RecipeError names the value and what is allowed."""
        require_known("optimizer", self.optimizer, OPTIMIZERS)
        require_known("lr_schedule", self.lr_schedule, SCHEDULES)
        if self.lr_schedule == "step" and not self.lr_step_epochs:
            raise RecipeError("lr_schedule step needs lr_step_epochs, such as 30,60,90")
        if not all(before < after for before, after in itertools.pairwise(self.lr_step_epochs)):
            epochs = ",".join(f"{epoch:g}" for epoch in self.lr_step_epochs)
            raise RecipeError(f"lr_step_epochs {epochs} are not ascending")

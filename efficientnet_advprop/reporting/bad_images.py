"""The number of images per epoch that could not be read."""

import math
from collections.abc import Callable


class BadImagesByEpoch:
    """A training callback that reports the number of bad images after every epoch that has some.

    An epoch ends within a loop of steps; its number is that up to the end of the loop.

    Args:
        start_step: the current step.
        steps_per_epoch: converts steps to epochs; need not be whole.
        total_steps: the last step of the run, which may lie within an epoch.
        say: prints a line.
    """

    def __init__(self, start_step: int, steps_per_epoch: float, total_steps: int, say: Callable[[str], None]) -> None:
        self._steps_per_epoch, self._total_steps, self._say = steps_per_epoch, total_steps, say
        self._epoch = math.floor(start_step / steps_per_epoch)
        self._number = 0

    def train_values(self, step: int, values: dict[str, float]) -> None:
        """Add the number of the steps since the last call; report it at the end of an epoch."""
        self._number += round(values["bad_images"])
        epoch = math.floor(step / self._steps_per_epoch)
        if epoch > self._epoch or step >= self._total_steps:
            if self._number:
                self._say(
                    f"epoch {self._epoch + 1}: {self._number} bad images, replaced by others "
                    "(--mode=check_data lists them)"
                )
            self._epoch, self._number = epoch, 0

    def eval_values(self, step: int, values: dict[str, float]) -> None:
        """Nothing to do: the results of an evaluation include its number of bad images."""

"""How many images of an epoch could not be read."""

import math
from collections.abc import Callable


class BadImagesByEpoch:
    """Says at the end of every epoch how many bad images it had, if any.

    Epochs end between two looks at the device; the number is that of the looks until then.

    Args:
        start_step: where the run is now.
        steps_per_epoch: to tell epochs from steps.
        total_steps: where the run ends, within an epoch perhaps.
        say: takes the line.
    """

    def __init__(self, start_step: int, steps_per_epoch: float, total_steps: int, say: Callable[[str], None]) -> None:
        self._steps_per_epoch, self._total_steps, self._say = steps_per_epoch, total_steps, say
        self._epoch = math.floor(start_step / steps_per_epoch)
        self._number = 0

    def train_values(self, step: int, values: dict[str, float]) -> None:
        """Count."""
        self._number += round(values["bad_images"])
        epoch = math.floor(step / self._steps_per_epoch)
        if epoch > self._epoch or step >= self._total_steps:
            if self._number:
                self._say(f"epoch {self._epoch + 1}: {self._number} bad images, others stood in (--mode=check_data)")
            self._epoch, self._number = epoch, 0

    def eval_values(self, step: int, values: dict[str, float]) -> None:
        """Evaluations tell their own number."""

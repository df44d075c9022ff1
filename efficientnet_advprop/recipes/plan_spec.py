"""What `--mode=plan` plans."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

from efficientnet_advprop.recipes.bounds import BATCH, Bounded, Bounds
from efficientnet_advprop.recipes.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class PlanSpec(Bounded):
    """What to plan.

    Attributes:
        scheme: the scheme of the run.
        recipes: the run's recipe under each scheme that its flags allow, by scheme.
        refused: why the flags do not allow the other schemes.
        devices: names of machines; empty for one of each kind that has the precision.
        precision: of the layers' arithmetic; None is each device's 16-bit type.
        utilisation: fraction of the peak rate that is reached; None for what others reached.
        micro_batches: the only number of pieces of a batch to try; None leaves it to the plan.
    """

    scheme: str
    recipes: Mapping[str, Recipe]
    refused: Mapping[str, str]
    devices: tuple[str, ...] = ()
    precision: str | None = None
    utilisation: Annotated[float | None, Bounds("(0, 1]")] = None
    micro_batches: Annotated[int | None, BATCH] = None

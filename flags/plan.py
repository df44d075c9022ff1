"""Flags to the settings of a plan."""

import dataclasses
from collections.abc import Mapping

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    DATASETS,
    DEFAULT_MODEL,
    DEFAULT_SCHEME,
    SCHEMES,
    Bounds,
    Recipe,
    RecipeError,
    named_recipe,
)
from flags.checks import precision_of, refuse_unread
from flags.new_recipe import changes_of, dataset_of, recipe_on_data

_UTILISATION = Bounds("(0, 1]")


@dataclasses.dataclass(frozen=True)
class PlanSettings:
    """What to plan.

    Attributes:
        scheme: the scheme of the run.
        recipes: the run's recipe under each scheme that its flags allow, by scheme.
        refused: why the flags do not allow the other schemes.
        devices: names of machines; empty for one of each kind that has the precision.
        precision: of the layers' arithmetic; None is each device's 16-bit type.
        utilisation: fraction of the peak rate that is reached; None for the defaults.
        micro_batches: the number that was given; None leaves it to the plan.
        as_json: whether to print JSON.
    """

    scheme: str
    recipes: Mapping[str, Recipe]
    refused: Mapping[str, str]
    devices: tuple[str, ...]
    precision: str | None
    utilisation: float | None
    micro_batches: int | None
    as_json: bool


def plan_from_flags(values: absl_flags.FlagValues) -> PlanSettings:
    """Read the flags of `--mode=plan`; `refuse_contradictions` has checked them.

    The numbers of images and classes are those of the data set's recipe: no data are opened.

    Raises:
        RecipeError: for invalid values, or values that no scheme reads.
    """
    changes, dataset = changes_of(values), dataset_of(values)
    scheme = changes.get("scheme", DEFAULT_SCHEME)
    if values.devices == []:
        raise RecipeError("--devices= is empty")
    _UTILISATION.require("--utilisation", values.utilisation)
    missing = [f"--{name}" for name in ("num_train_images", "num_label_classes") if values[name].value is None]
    if dataset not in DATASETS and missing:
        raise RecipeError(
            f"--dataset={dataset} has no recipe of its own, and a plan opens no data: it needs {' and '.join(missing)}"
        )
    recipes: dict[str, Recipe] = {}
    refused: dict[str, str] = {}
    for name in SCHEMES:
        base = named_recipe(changes.get("network.name", DEFAULT_MODEL), dataset, name)
        recipe = recipe_on_data(base, None, {**changes, "scheme": name})
        try:
            recipe.validate()
        except RecipeError as error:
            if name == scheme:
                raise
            refused[name] = str(error)
        else:
            recipes[name] = recipe
    refuse_unread(list(recipes.values()), changes)
    return PlanSettings(
        scheme,
        recipes,
        refused,
        tuple(values.devices or ()),
        precision_of(values),
        values.utilisation,
        values.micro_batches,
        bool(values.json),
    )

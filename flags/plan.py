"""What to plan, from flags."""

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    DATASETS,
    DEFAULT_MODEL,
    DEFAULT_SCHEME,
    SCHEMES,
    PlanSpec,
    Recipe,
    RecipeError,
)
from flags.checks import precision_of, refuse_unread
from flags.new_recipe import changes_of, chosen_recipe, dataset_of, recipe_on_data, with_own_provenance


def plan_from_flags(values: absl_flags.FlagValues) -> PlanSpec:
    """Read the flags of `--mode=plan`; `refuse_contradictions` has checked them.

    The numbers of images and classes are those of the data set's recipe: no data are opened.

    Raises:
        RecipeError: for invalid values, or values that no scheme reads.
    """
    changes, dataset = changes_of(values), dataset_of(values)
    scheme = changes.get("scheme", DEFAULT_SCHEME)
    if values.devices == []:
        raise RecipeError("--devices= is empty")
    missing = [f"--{name}" for name in ("num_train_images", "num_label_classes") if values[name].value is None]
    if dataset not in DATASETS and missing:
        raise RecipeError(
            f"--dataset={dataset} has no recipe of its own, and a plan opens no data: it needs {' and '.join(missing)}"
        )
    recipes: dict[str, Recipe] = {}
    refused: dict[str, str] = {}
    for name in SCHEMES:
        base = chosen_recipe(changes.get("network.name", DEFAULT_MODEL), dataset, name, None, changes)
        recipe = recipe_on_data(base, None, {**changes, "scheme": name})
        try:
            recipe.validate()
        except RecipeError as error:
            if name == scheme:
                raise
            refused[name] = str(error)
        else:
            recipes[name] = with_own_provenance(base, recipe)
    refuse_unread(list(recipes.values()), changes)
    devices = tuple(values.devices or ())
    return PlanSpec(scheme, recipes, refused, devices, precision_of(values), values.utilisation, values.micro_batches)

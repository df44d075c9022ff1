"""The recipe of a new run, from flags: a named recipe with the numbers of the data and the values of the flags."""

from collections.abc import Mapping
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    DEFAULT_MODEL,
    DEFAULT_SCHEME,
    DataFacts,
    Recipe,
    RecipeError,
    WeightsFacts,
    differences,
    override,
    recipe_for,
    validate_network,
)
from efficientnet_advprop.recipes.data_spec import IMAGENET
from flags.checks import refuse_unread, refuse_unsuited
from flags.flag import TRAINING
from flags.recipe_flags import RECIPE_FLAGS


def changes_of(values: absl_flags.FlagValues) -> dict[str, Any]:
    """The recipe values that flags give, by path.

    Raises:
        RecipeError: for two different schemes.
    """
    changes = {flag.path: values[flag.name].value for flag in RECIPE_FLAGS if values[flag.name].present}
    scheme = changes.get("scheme")
    if values.advprop:
        if scheme not in (None, "advprop"):
            raise RecipeError(f"--advprop and --scheme={scheme} contradict each other")
        changes["scheme"] = "advprop"
    if values.advprop is False and scheme == "advprop":
        raise RecipeError("--noadvprop and --scheme=advprop contradict each other")
    return changes


def dataset_of(values: absl_flags.FlagValues) -> str:
    """The name of the data set: --dataset, else imagenet with --data_dir or for a plan, and digits for the rest."""
    return values.dataset or ("imagenet" if values.data_dir or values.mode == "plan" else "digits")


def new_recipe(
    values: absl_flags.FlagValues,
    data: DataFacts | None,
    weights: WeightsFacts | None,
    recorded: Recipe | None = None,
) -> Recipe:
    """The recipe of a run, which may start from given weights, or go on.

    Args:
        values: the flags.
        data: the numbers found in the data.
        weights: what --init_checkpoint holds.
        recorded: the recipe of the run that goes on; it has the values that no flag gives.

    Raises:
        RecipeError: for invalid values, flags without effect, or values that the data contradict.
    """
    changes, settings = changes_of(values), known_settings(weights.settings) if weights else {}
    if recorded is None:
        model = changes.get("network.name") or settings.get("network.name") or DEFAULT_MODEL
        base = chosen_recipe(model, dataset_of(values), changes.get("scheme", DEFAULT_SCHEME), data, changes, weights)
        recipe = recipe_on_data(base, data, {**settings, **changes})
    else:
        base, recipe = recorded, recipe_on_data(recorded, data, changes)
    if values.mode == "check_data":
        validate_network(recipe.network)
        recipe.data.validate()  # nothing is trained: other values do not matter
    elif values.mode in TRAINING:  # other modes use the recipe of their run
        recipe.validate()
        refuse_unsuited(values, [recipe])
    if values.mode in (*TRAINING, "check_data"):
        refuse_unread([recipe], changes)
    return with_own_provenance(base, recipe)


def chosen_recipe(
    model: str,
    dataset: str,
    scheme: str,
    data: DataFacts | None,
    changes: Mapping[str, Any],
    weights: WeightsFacts | None = None,
) -> Recipe:
    """The recipe of a model on a data set under a scheme, as `recipe_for`, with the numbers of the data.

    Args:
        model: the network.
        dataset: the data set.
        scheme: the scheme.
        data: the numbers found in the data.
        changes: recipe values that flags give, by path.
        weights: what --init_checkpoint holds.
    """
    given = {**numbers_found(data), **changes}
    if weights is None and changes.get("keras_weights") is not None:
        theirs = IMAGENET.num_label_classes
        is_other = given.get("data.num_label_classes") not in (None, theirs)
        weights = WeightsFacts(changes["keras_weights"], {}, theirs, of_other_classes=is_other)
    return recipe_for(model, dataset, scheme, given, weights)


def recipe_on_data(base: Recipe, data: DataFacts | None, changes: Mapping[str, Any]) -> Recipe:
    """A named recipe with the numbers found in the data, and with changes; not validated.

    Args:
        base: the named recipe.
        data: the numbers found in the data.
        changes: recipe values by path.

    Raises:
        RecipeError: when a change contradicts a number found.
    """
    given = {**numbers_found(data), **changes}
    recipe = with_changes(base, given)
    if data is not None:
        data.check(recipe.data)
        _require_counts_of_holdout(recipe, given)
    return recipe


def with_own_provenance(base: Recipe, recipe: Recipe) -> Recipe:
    """The recipe; its provenance states no expected result if it differs from the named recipe."""
    if not differences(base, recipe):
        return recipe
    return override(
        recipe, {"provenance.expected": "not known: the named recipe was changed", "provenance.measured": False}
    )


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with changes by path, and with their implied changes."""
    if changes.get("attack.method") == "ifgsm" and "attack.random_start" not in changes:
        changes = {**changes, "attack.random_start": False}  # I-FGSM is PGD without the random start
    if "train_epochs" in changes:
        changes = {**changes, "train_steps": None}
    return override(recipe, changes)


def numbers_found(data: DataFacts | None) -> dict[str, int]:
    """The numbers found in the data, by path in a recipe."""
    return {f"data.{field}": number for field, number in data.known().items()} if data else {}


def known_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The known settings of weights, by path."""
    return {path: value for path, value in settings.items() if value is not None}


def _require_counts_of_holdout(recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Refuse a holdout without its numbers of images: those of the named recipe are of the whole data set."""
    missing = [f"--{name}" for name in ("num_train_images", "num_eval_images") if f"data.{name}" not in given]
    if recipe.data.holdout_shards and missing:
        raise RecipeError(
            f"--holdout_shards={recipe.data.holdout_shards} needs {' and '.join(missing)} where images are not "
            "counted: 20 of ImageNet's 1,024 files hold 25,022 and leave 1,256,145"
        )

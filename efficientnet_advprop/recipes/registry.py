"""The named recipes, one for each model, data set and scheme."""

from collections.abc import Callable, Mapping
from typing import Any

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.families import named_network
from efficientnet_advprop.recipes.family import NamedNetwork
from efficientnet_advprop.recipes.on_imagenet import imagenet_recipe
from efficientnet_advprop.recipes.own_images import FEW_IMAGES, few_images_recipe, fine_tuning_recipe
from efficientnet_advprop.recipes.recipe import Recipe
from efficientnet_advprop.recipes.record import override
from efficientnet_advprop.recipes.schemes import Scheme, scheme_named
from efficientnet_advprop.recipes.small_sets import cifar10_recipe, digits_recipe, fake_recipe
from efficientnet_advprop.recipes.terms import AUGMENTED_VIEW
from efficientnet_advprop.recipes.weights_record import WeightsFacts

DEFAULT_MODEL = "efficientnet-b0"  # the official trainer's
DEFAULT_SCHEME = "vanilla"

# `top1_pgd` is the accuracy under this attack, for every training attack, so that runs can be compared.
EVALUATION_ATTACK = AttackSpec("pgd", "linf", epsilon_px=4.0, step_size_px=1.0, num_steps=10, random_start=True)

_RECIPES: dict[str, Callable[[NamedNetwork, Scheme], Recipe]] = {
    "digits": digits_recipe,
    "fake": fake_recipe,
    "cifar10": cifar10_recipe,
    "imagenet": imagenet_recipe,
}
# Those with a recipe of their own; any other name is looked up in TensorFlow Datasets.
DATASETS = tuple(_RECIPES)


def named_recipe(model: str, dataset: str, scheme: str) -> Recipe:
    """The recipe of a model on a data set under a scheme.

    A data set without its own recipe gets that of ImageNet; its numbers of images and classes must then be replaced.

    Raises:
        RecipeError: for an unknown model or scheme; the message lists the known ones.
    """
    make_recipe = _RECIPES.get(dataset, imagenet_recipe)
    recipe = make_recipe(named_network(model), scheme_named(scheme))
    recipe = override(recipe, {"data.dataset": dataset, "generator": "threefry"})
    if AUGMENTED_VIEW in recipe.views and recipe.data.augment_name == "none":
        recipe = override(recipe, {"data.augment_name": "autoaugment"})  # as in the paper
    return recipe


def recipe_for(
    model: str, dataset: str, scheme: str, given: Mapping[str, Any], weights: WeightsFacts | None = None
) -> Recipe:
    """The recipe that fits the number of images and the initial weights.

    Given weights are fine-tuned on other classes, and on few images. Few images without weights, and without a recipe
    of their own, get a shorter recipe than ImageNet's.

    Args:
        model: the network.
        dataset: the data set.
        scheme: the scheme.
        given: values that the data and the user give, by path. The recipe is the named one without
            `data.num_train_images`. What follows from the batch size and the length follows from the given ones.
        weights: trained weights to start from.

    Raises:
        RecipeError: as `named_recipe`.
    """
    named, images = named_recipe(model, dataset, scheme), given.get("data.num_train_images")
    if images is None:
        return named
    override(named, given)  # refuses values out of their bounds, before others are computed from them
    is_few = _RECIPES.get(dataset, imagenet_recipe) is imagenet_recipe and images < FEW_IMAGES
    if weights is not None and (weights.of_other_classes or is_few):
        return fine_tuning_recipe(named, given, weights.recipe)
    return few_images_recipe(named, given) if is_few else named

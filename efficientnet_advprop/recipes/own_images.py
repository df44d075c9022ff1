"""Recipes for images of a user's own: fine-tuning of given weights, and training on few images from scratch.

ImageNet's recipes are for a million images and a TPU. On a few hundred they would not start (a batch of 2048 images),
and their averages over ten thousand steps would keep the initial values.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from efficientnet_advprop.recipes.families import named_network
from efficientnet_advprop.recipes.networks import NetworkSpec
from efficientnet_advprop.recipes.on_imagenet import mean_of_terms
from efficientnet_advprop.recipes.recipe import Recipe
from efficientnet_advprop.recipes.record import override
from efficientnet_advprop.recipes.schemes import scheme_named
from efficientnet_advprop.recipes.terms import AUGMENTED_VIEW

FEW_IMAGES = 100_000  # below it, ImageNet's recipe does not fit

_FINE_TUNING = (
    "fine-tuning: optimizer, cosine, crops and flips alone, and batch norm momentum of Kornblith et al., CVPR 2019 "
    "(arXiv 1805.08974), as EfficientNet was transferred; number of steps of BiT (Kolesnikov et al., ECCV 2020, arXiv "
    "1912.11370); rate: a trial of this project (docs/fine_tuning.md); batch size and averages: its choice, not tuned"
)
_FROM_SCRATCH = (
    f"fewer than {FEW_IMAGES:,} images: optimizer and augmentation of ImageNet's recipe; length, batch size, averages "
    "and initial values: this project's choice, not tuned"
)
_CROPS = ("train_crop", "eval_crop", "flip", "resize")


def fine_tuning_recipe(named: Recipe, given: Mapping[str, Any], trained: Recipe | None = None) -> Recipe:
    """The recipe for training given weights on other classes.

    Args:
        named: the named recipe of network, data set and scheme.
        given: the values that the data and the user give, by path: `data.num_train_images`, and maybe the batch size
            and the length of the run, from which others follow.
        trained: the recipe of the run that the weights are of: its network is used as it is, and its crops for data
            without a recipe of their own. None for weights of another origin.
    """
    network, crops = named.network, {}
    if trained is not None:
        network = trained.network
        if named.data.dataset == "imagenet":
            crops = {f"data.{field}": getattr(trained.data, field) for field in _CROPS}
    changes = {
        "optimizer.optimizer": "momentum",
        "optimizer.base_learning_rate": 0.03,
        "optimizer.momentum": 0.9,
        # The fine-grained scheme has a branch for it.
        "data.augment_name": named.data.augment_name if AUGMENTED_VIEW in named.views else "none",
        "data.mixup_alpha": 0.0,
        "data.cutmix_alpha": 0.0,
        "provenance.source": _FINE_TUNING,
        "provenance.command": f"{_command(named)} --init_checkpoint=WEIGHTS",
    }
    network = _adjusted(network, classifier_init_scale=0.1)
    weights, _ = mean_of_terms(named, scheme_named(named.scheme))  # the rate is that of a single cross-entropy
    recipe = dataclasses.replace(named, network=network, term_weights=weights)
    images = given["data.num_train_images"]
    steps = 500 if images < 20_000 else 10_000 if images < 500_000 else 20_000
    return override(_of_length(recipe, given, steps), {**crops, **changes})


def few_images_recipe(named: Recipe, given: Mapping[str, Any]) -> Recipe:
    """The recipe for training on few images from random weights; arguments as for `fine_tuning_recipe`."""
    network = _adjusted(named.network, classifier_init_scale=0.1, zero_init_residual=True)
    images = given["data.num_train_images"]
    steps = max(2000, 100 * images // _batch_size(given))
    recipe = _of_length(dataclasses.replace(named, network=network), given, steps)
    return override(recipe, {"provenance.source": _FROM_SCRATCH, "provenance.command": _command(named)})


def batch_size_for(num_train_images: int) -> int:
    """The largest power of two, from 8 to 256, with which an epoch has eight steps or more."""
    fitting = max(1, num_train_images // 8)
    return min(256, max(8, 2 ** (fitting.bit_length() - 1)))


def _batch_size(given: Mapping[str, Any]) -> int:
    return given.get("train_batch_size", batch_size_for(given["data.num_train_images"]))


def _of_length(recipe: Recipe, given: Mapping[str, Any], steps: int) -> Recipe:
    """The recipe with this many steps, or the given ones, a cosine over them, and averages that follow within them."""
    batch_size = _batch_size(given)
    steps_per_epoch = given["data.num_train_images"] / batch_size
    if "train_epochs" in given:
        steps = max(1, math.floor(given["train_epochs"] * steps_per_epoch))
    steps = given.get("train_steps", steps)
    momentum = round(max(0.9, 1 - 10 / steps_per_epoch), 4)  # Kornblith et al.'s
    changes = {
        "train_batch_size": batch_size,
        "train_steps": steps,
        "train_epochs": round(steps / steps_per_epoch, 4),
        "optimizer.lr_schedule": "cosine",
        "optimizer.lr_warmup_epochs": round(steps / steps_per_epoch / 20, 4),
        "optimizer.moving_average_decay": round(max(0.0, 1 - 10 / steps), 4),
        "cadence.iterations_per_loop": 10,
        "cadence.steps_per_eval": max(1, steps // 5),
        "cadence.steps_per_checkpoint": max(1, steps // 5),
        "provenance.hardware": "any",
        "provenance.expected": "not known",
    }
    recipe = dataclasses.replace(recipe, network=_adjusted(recipe.network, batch_norm_momentum=momentum))
    return override(recipe, changes)


def _command(recipe: Recipe) -> str:
    return f"python main.py --model={recipe.network.name} --scheme={recipe.scheme} --data_dir=FOLDER"


def _adjusted(network: NetworkSpec, **changes: Any) -> NetworkSpec:
    """The network with those of the changes that its builder can make."""
    fixed = named_network(network.name).fixed
    return dataclasses.replace(network, **{field: value for field, value in changes.items() if field not in fixed})

"""Which passes over which pictures a set of benchmarks takes."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from efficientnet_advprop.data import (
    IMAGENET_CLASSES,
    IMAGENET_VARIANTS,
    Source,
    class_names,
    find_imagenet_c,
    open_imagenet_variant,
)
from efficientnet_advprop.evaluation import CORRUPTIONS
from efficientnet_advprop.recipes import (
    CROPPED_BENCHMARKS,
    CROPPED_PX,
    IMAGENET_BENCHMARKS,
    AttackSpec,
    BenchmarkSpec,
    Recipe,
    RecipeError,
    override,
)
from efficientnet_advprop.robustness import EXTRA, EXTRA_ALEXNET_ERRORS, GROUPS, SEVERITIES, SUBSETS


@dataclasses.dataclass(frozen=True)
class BenchmarkPass:
    """One pass over pictures.

    Attributes:
        key: of the part of the results.
        settings: all that decides its outcome beside the network.
        source: of the pictures; opened when its turn comes.
        recipe: by which they are cropped and resized.
        corruption: and its severity, where pictures are corrupted on the fly.
        attack: on the pictures.
    """

    key: str
    settings: dict[str, Any]
    source: Callable[[], Source]
    recipe: Recipe
    corruption: tuple[str, int] | None = None
    attack: AttackSpec | None = None

    @property
    def kind(self) -> str:
        """Passes of one kind are answered in one way, by one graph."""
        if self.attack is not None:
            return "attack"
        return self.key if self.key in SUBSETS else f"{self.recipe.network.input_image_size} px"

    @property
    def classes(self) -> tuple[int, ...] | None:
        """The classes that its pictures show, where they are a part of the network's by definition."""
        return SUBSETS.get(self.key)


def find_sets(spec: BenchmarkSpec) -> dict[str, Any]:
    """Find ImageNet's test sets that are asked for, without touching a device.

    Returns:
        By name a source, or of ImageNet-C what opens the source of each (corruption, severity).

    Raises:
        RecipeError: saying what was looked for and where.
    """
    corruptions = {**GROUPS, EXTRA: tuple(EXTRA_ALEXNET_ERRORS)}
    sets: dict[str, Any] = {}
    for name in spec.names:
        if name in IMAGENET_VARIANTS:
            sets[name] = open_imagenet_variant(name, spec.folders.get(name))
            _require_classes_of(name, sets[name])
        elif name == "imagenet_c":
            sets[name] = find_imagenet_c(spec.folders.get(name), corruptions, SEVERITIES)
    return sets


def plan_passes(
    recipe: Recipe, own: Source | None, spec: BenchmarkSpec, sets: Mapping[str, Any]
) -> list[BenchmarkPass]:
    """The passes of an evaluation, in their order.

    Args:
        recipe: of the network's own data.
        own: source of its evaluation pictures; None where no benchmark needs them.
        spec: what is measured.
        sets: of `find_sets`.
    """
    return [one for name in spec.names for one in _passes_of(name, recipe, own, spec, sets)]


def _passes_of(
    name: str, recipe: Recipe, own: Source | None, spec: BenchmarkSpec, sets: Mapping[str, Any]
) -> Iterator[BenchmarkPass]:
    """The passes of one benchmark."""
    if name in CROPPED_BENCHMARKS:
        size = CROPPED_PX if spec.resize == "native" else recipe.network.input_image_size
        recipe = override(recipe, {"data.eval_crop": "none", "network.input_image_size": size})
    settings = {
        "pictures": recipe.data.dataset if name not in IMAGENET_BENCHMARKS else name,
        "images": "all" if spec.num_images is None else f"{spec.num_images} evenly spaced",
        "input_image_size": recipe.network.input_image_size,
        "eval_crop": recipe.data.eval_crop,
        "interpolation": recipe.data.resize,
    }
    if name in CROPPED_BENCHMARKS:
        settings["resize"] = spec.resize
    if name == "clean":
        yield BenchmarkPass(name, settings, lambda: own, recipe)
    elif name == "corruptions":
        for corruption in CORRUPTIONS:
            for severity in SEVERITIES:
                key = f"{name}/{corruption}/{severity}"
                yield BenchmarkPass(key, settings, lambda: own, recipe, corruption=(corruption, severity))
    elif name == "pgd":
        branch = recipe.cadence.eval_branch
        for attack in spec.attacks():
            of_attack = {"branch": branch, "attack": dataclasses.asdict(attack), "restarts": spec.restarts}
            key = f"{name}/{attack.norm}/{attack.epsilon_px:g}"
            yield BenchmarkPass(key, {**settings, **of_attack}, lambda: own, recipe, attack=attack)
    elif name == "imagenet_c":
        for (corruption, severity), opened in sets[name].items():
            yield BenchmarkPass(f"{name}/{corruption}/{severity}", settings, opened, recipe)
    else:
        yield BenchmarkPass(name, settings, lambda: sets[name], recipe)


def _require_classes_of(name: str, source: Source) -> None:
    """Refuse pictures of classes that a set of 200 does not have: its rule would count them as wrong."""
    shown = getattr(source, "labels", ())
    if name in SUBSETS and (others := np.setdiff1d(shown, SUBSETS[name])).size:
        raise RecipeError(
            f"{name}: {source.facts.where} has a folder of {class_names(IMAGENET_CLASSES)[others[0]]} (label "
            f"{others[0]}), which is none of its {len(SUBSETS[name])} classes"
        )

"""Which passes over which images a set of benchmarks takes."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import (
    IMAGENET_CLASSES,
    ImagenetFiles,
    Source,
    class_names,
    find_imagenet_c,
    named_synsets,
    open_imagenet_variant,
)
from efficientnet_advprop.evaluation.class_subsets import SUBSETS
from efficientnet_advprop.evaluation.corruptions import CORRUPTIONS, require_libraries
from efficientnet_advprop.evaluation.imagenet_c import EXTRA, EXTRA_ALEXNET_ERRORS, GROUPS, SEVERITIES
from efficientnet_advprop.evaluation.part_keys import attack_key, corruption_key
from efficientnet_advprop.recipes import (
    CROPPED_BENCHMARKS,
    CROPPED_PX,
    IMAGENET_BENCHMARKS,
    AttackSpec,
    BenchmarkSpec,
    Recipe,
    RecipeError,
    first_line,
    override,
    refuse_other_classes,
)


@dataclasses.dataclass(frozen=True)
class BenchmarkPass:
    """One pass over images.

    Attributes:
        key: of the part of the results.
        settings: all that decides its outcome beside the network and what the key says; equal in all passes of a
            benchmark.
        source: of the images; opened when its turn comes.
        recipe: by which they are cropped and resized.
        corruption: and its severity, where images are corrupted on the fly.
        attack: on the images.
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
        """The classes that its images show, where they are a part of the network's by definition."""
        return SUBSETS.get(self.key)


def find_sets(spec: BenchmarkSpec, classes: Sequence[str]) -> dict[str, Any]:
    """Find ImageNet's test sets that are asked for, and what corruptions need, without touching a device.

    Args:
        spec: what is measured.
        classes: names of the network's classes, in label order.

    Returns:
        By name a source, or of ImageNet-C what opens the source of each (corruption, severity).

    Raises:
        RecipeError: saying what was looked for and where, or that the network has other classes.
    """
    if "corruptions" in spec.names:
        require_libraries()
    _require_imagenet_classes(spec, classes)
    sets: dict[str, Any] = {}
    for name in spec.names:
        if name not in IMAGENET_BENCHMARKS:
            continue
        try:
            sets[name] = _find_set(name, spec.folders.get(name))
        except (tf.errors.OpError, OSError) as error:
            raise RecipeError(f"{name}: cannot read {spec.folders.get(name)}: {first_line(error)}") from error
    return sets


def _find_set(name: str, folder: str | None) -> Any:
    if name == "imagenet_c":
        sets = find_imagenet_c(folder, {**GROUPS, EXTRA: tuple(EXTRA_ALEXNET_ERRORS)}, SEVERITIES)
        _require_cropped(name, next(iter(sets.values()))())
        return sets
    source = open_imagenet_variant(name, folder)
    _require_classes_of(name, source)
    if name in CROPPED_BENCHMARKS:
        _require_cropped(name, source)
    return source


def plan_passes(
    recipe: Recipe, own: Source | None, spec: BenchmarkSpec, sets: Mapping[str, Any]
) -> list[BenchmarkPass]:
    """The passes of an evaluation, in their order.

    Args:
        recipe: of the network's own data.
        own: source of its evaluation images; None where no benchmark needs them.
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
        **_set_of(name, recipe, own, sets),
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
                key = corruption_key(name, corruption, severity)
                yield BenchmarkPass(key, settings, lambda: own, recipe, corruption=(corruption, severity))
    elif name == "pgd":
        branch = recipe.cadence.eval_branch
        settings |= {"branch": branch, "attack": spec.attack_in_words(), "restarts": spec.restarts, "seed": recipe.seed}
        for attack in spec.attacks():
            key = attack_key(attack.norm, attack.epsilon_px, branch)
            yield BenchmarkPass(key, settings, lambda: own, recipe, attack=attack)
    elif name == "imagenet_c":
        for (corruption, severity), opened in sets[name].items():
            yield BenchmarkPass(corruption_key(name, corruption, severity), settings, opened, recipe)
    else:
        yield BenchmarkPass(name, settings, lambda: sets[name], recipe)


def _set_of(name: str, recipe: Recipe, own: Source | None, sets: Mapping[str, Any]) -> dict[str, Any]:
    """Which images a benchmark takes, wherever they are."""
    if name in IMAGENET_BENCHMARKS:
        source, settings = sets[name], {"pictures": name}
    else:
        source, settings = own, {"pictures": recipe.data.dataset, "of": recipe.data.num_eval_images}
        if recipe.data.holdout_shards:
            settings["holdout_shards"] = recipe.data.holdout_shards
    identity = getattr(source, "identity", None)
    return settings if identity is None else {**settings, "set": identity}


def _require_imagenet_classes(spec: BenchmarkSpec, classes: Sequence[str]) -> None:
    """Refuse test sets of ImageNet for a network that does not answer with its classes."""
    asked = next((name for name in spec.names if name in IMAGENET_BENCHMARKS), None)
    if asked is None:
        return
    imagenet = class_names(IMAGENET_CLASSES)
    if len(classes) != len(imagenet):
        raise RecipeError(f"{asked} shows classes of ImageNet, this network knows {len(classes)} others")
    if named_synsets(tuple(classes)) != imagenet:
        refuse_other_classes("the network", classes, asked, imagenet)


def _require_cropped(name: str, source: Source) -> None:
    """Refuse whole images in a set that is cropped to squares: they would be squeezed into one.

    The first image stands for all; whether one can be read at all is found out later.
    """
    if not isinstance(source, ImagenetFiles):
        return
    width, height = source.first_size() or (0, 0)
    if width != height:
        raise RecipeError(f"{name} shows squares of {CROPPED_PX} px; {source.facts.where} has one of {width}x{height}")


def _require_classes_of(name: str, source: Source) -> None:
    """Refuse images of classes that a set of 200 does not have: its rule would count them as wrong."""
    shown = getattr(source, "labels", ())
    if name in SUBSETS and (others := np.setdiff1d(shown, SUBSETS[name])).size:
        raise RecipeError(
            f"{name}: {source.facts.where} has a folder of {class_names(IMAGENET_CLASSES)[others[0]]} (label "
            f"{others[0]}), which is none of its {len(SUBSETS[name])} classes"
        )

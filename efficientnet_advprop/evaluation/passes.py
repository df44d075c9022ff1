"""The passes over images that benchmarks consist of."""

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
    find_corrupted_sets,
    named_synsets,
    open_imagenet_variant,
)
from efficientnet_advprop.evaluation.autoattack import AutoAttackCollector, require_autoattack, require_size
from efficientnet_advprop.evaluation.corruptions import require_libraries
from efficientnet_advprop.evaluation.imagenet_c import chosen_in_settings
from efficientnet_advprop.evaluation.part_keys import SEVERITIES, attack_key, corruption_key
from efficientnet_advprop.evaluation.predictions import PredictionCollector, through_branches
from efficientnet_advprop.evaluation.worst_case import under_attack
from efficientnet_advprop.recipes import (
    ATTACKED,
    BENCHMARKS,
    CORRUPTED,
    AttackSpec,
    Benchmark,
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
        key: of its part of the results.
        benchmark: of this part.
        settings: everything that determines the result beside the network and the key; equal in all passes of a
            benchmark.
        source: opens the source of the images, when the pass starts.
        recipe: determines how images are cropped and resized.
        num_images: maximum number of images, evenly spaced; None: all.
        branches: of the network; empty: all branches.
        corruption: name and severity, if images are corrupted on the fly.
        attack: on the images.
    """

    key: str
    benchmark: Benchmark
    settings: dict[str, Any]
    source: Callable[[], Source]
    recipe: Recipe
    num_images: int | None = None
    branches: tuple[str, ...] = ()
    corruption: tuple[str, int] | None = None
    attack: AttackSpec | None = None

    @property
    def kind(self) -> tuple[Any, ...]:
        """Passes of the same kind share a graph."""
        attacked = self.benchmark.name if self.attack else None
        return attacked, self.benchmark.classes, self.branches, self.recipe.network.input_image_size


def collector_for(strategy: tf.distribute.Strategy, model: tf.keras.Model, one: BenchmarkPass) -> PredictionCollector:
    """A collector of predictions for all passes of this kind; the model is evaluated in inference mode."""
    if one.attack is None:
        predict = through_branches(model, one.branches or model.branches)
        return PredictionCollector(strategy, predict, one.benchmark.classes)
    if one.benchmark.parameter_free:
        return AutoAttackCollector(strategy, model, one.settings["branch"], one.attack.norm, one.recipe.seed)
    branch, success, restarts = (one.settings[name] for name in ("branch", "success", "restarts"))
    return PredictionCollector(strategy, under_attack(model, branch, one.attack, success, restarts, one.recipe.seed))


def find_sets(spec: BenchmarkSpec, classes: Sequence[str]) -> dict[str, Any]:
    """Find ImageNet's test sets and the libraries of the corruptions, without using a device.

    Args:
        spec: the benchmarks.
        classes: names of the network's classes, in label order.

    Returns:
        A source by the benchmark's name; for ImageNet-C, functions that open the source of a (corruption, severity).

    Raises:
        RecipeError: when a set is not found or has other classes than the network, or a library is missing.
    """
    benchmarks = [BENCHMARKS[name] for name in spec.names]
    if any(benchmark.is_made_on_the_fly for benchmark in benchmarks):
        require_libraries(spec.made_corruptions)
    if any(benchmark.parameter_free for benchmark in benchmarks):
        require_autoattack(len(classes))
    with_sets = [benchmark for benchmark in benchmarks if not benchmark.takes_own_images]
    if with_sets:
        _require_imagenet_classes(with_sets[0].name, classes)
    sets: dict[str, Any] = {}
    for benchmark in with_sets:
        folder = spec.folders.get(benchmark.name)
        try:
            sets[benchmark.name] = _find_set(benchmark, folder)
        except (tf.errors.OpError, OSError) as error:
            raise RecipeError(f"{benchmark.name}: cannot read {folder}: {first_line(error)}") from error
    return sets


def _find_set(benchmark: Benchmark, folder: str | None) -> Any:
    if benchmark.kind == CORRUPTED:
        sets = find_corrupted_sets(benchmark, folder, SEVERITIES)
        _require_cropped(benchmark, next(iter(sets.values()))())
        return sets
    source = open_imagenet_variant(benchmark, folder)
    _require_classes_of(benchmark, source)
    _require_cropped(benchmark, source)
    return source


def plan_passes(
    recipe: Recipe, own: Source | None, spec: BenchmarkSpec, sets: Mapping[str, Any]
) -> list[BenchmarkPass]:
    """The passes of an evaluation in their order.

    Args:
        recipe: of the network.
        own: source of its own evaluation images; None if no benchmark needs it.
        spec: the benchmarks.
        sets: the result of `find_sets`.
    """
    return [one for name in spec.names for one in _passes_of(BENCHMARKS[name], recipe, own, spec, sets)]


def _passes_of(
    benchmark: Benchmark, recipe: Recipe, own: Source | None, spec: BenchmarkSpec, sets: Mapping[str, Any]
) -> Iterator[BenchmarkPass]:
    """The passes of one benchmark."""
    name = benchmark.name
    if benchmark.cropped_px:
        size = benchmark.cropped_px if spec.resize == "native" else recipe.network.input_image_size
        recipe = override(recipe, {"data.eval_crop": "none", "network.input_image_size": size})
    num_images, most = spec.num_images, spec.most_corrupted_images
    if benchmark.is_made_on_the_fly and most and most < recipe.data.num_eval_images:
        num_images = min(num_images or most, most)
    settings = {
        **_set_of(benchmark, recipe, own, sets),
        "images": "all" if num_images is None else f"{num_images} evenly spaced",
        "input_image_size": recipe.network.input_image_size,
        "eval_crop": recipe.data.eval_crop,
        "interpolation": recipe.data.resize,
    }
    if benchmark.cropped_px:
        settings["resize"] = spec.resize

    def one_pass(key: str, source: Callable[[], Source], **more: Any) -> BenchmarkPass:
        return BenchmarkPass(key, benchmark, settings, source, recipe, num_images, **more)

    if benchmark.is_made_on_the_fly:
        settings |= chosen_in_settings(spec.made_corruptions)
        for corruption in spec.made_corruptions:
            for severity in SEVERITIES:
                made = {"branches": spec.corrupted_branches, "corruption": (corruption, severity)}
                yield one_pass(corruption_key(name, corruption, severity), lambda: own, **made)
    elif benchmark.kind == CORRUPTED:
        for (corruption, severity), opened in sets[name].items():
            yield one_pass(corruption_key(name, corruption, severity), opened)
    elif benchmark.kind == ATTACKED:
        branch = recipe.cadence.eval_branch
        settings |= {"branch": branch, "attack": spec.attack_in_words(benchmark)}
        if benchmark.parameter_free:
            require_size(spec.norm, recipe.network.input_image_size)
            settings |= {"success": "any", "seed": recipe.seed}
        else:
            settings |= {"restarts": spec.restarts, "success": spec.success, "seed": recipe.seed}
        for attack in spec.attacks():
            yield one_pass(attack_key(name, attack.norm, attack.epsilon_px, branch), lambda: own, attack=attack)
    else:
        yield one_pass(name, lambda: own if benchmark.takes_own_images else sets[name])


def _set_of(benchmark: Benchmark, recipe: Recipe, own: Source | None, sets: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that identify the images of a benchmark, independent of their location."""
    if benchmark.takes_own_images:
        source, settings = own, {"dataset": recipe.data.dataset, "num_eval_images": recipe.data.num_eval_images}
        if recipe.data.holdout_shards:
            settings["holdout_shards"] = recipe.data.holdout_shards
    else:
        source, settings = sets[benchmark.name], {"dataset": benchmark.name}
    identity = getattr(source, "identity", None)
    return settings if identity is None else {**settings, "set": identity}


def _require_imagenet_classes(asked: str, classes: Sequence[str]) -> None:
    """Refuse test sets of ImageNet for a network with other classes."""
    imagenet = class_names(IMAGENET_CLASSES)
    if len(classes) != len(imagenet):
        raise RecipeError(f"{asked} has the 1,000 classes of ImageNet, this network has {len(classes)} others")
    if named_synsets(tuple(classes)) != imagenet:
        refuse_other_classes("the network", classes, asked, imagenet)


def _require_cropped(benchmark: Benchmark, source: Source) -> None:
    """Refuse uncropped images in a set of square images: they would be distorted.

    Only the first image is checked. Bad images are found later.
    """
    if not benchmark.cropped_px or not isinstance(source, ImagenetFiles):
        return
    width, height = source.first_size() or (0, 0)
    if width != height:
        raise RecipeError(
            f"{benchmark.name} has square images of {benchmark.cropped_px} px; {source.facts.where} has one of "
            f"{width}x{height}"
        )


def _require_classes_of(benchmark: Benchmark, source: Source) -> None:
    """Refuse images of classes outside of the benchmark's subset: all of them would count as wrong."""
    shown = getattr(source, "labels", ())
    if benchmark.classes and (others := np.setdiff1d(shown, benchmark.classes)).size:
        raise RecipeError(
            f"{benchmark.name}: {source.facts.where} has a folder of {class_names(IMAGENET_CLASSES)[others[0]]} (label "
            f"{others[0]}), which is none of its {len(benchmark.classes)} classes"
        )

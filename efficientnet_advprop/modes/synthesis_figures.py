"""Figures of images that networks make: generated from random seeds, and inpainted."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import MOST_PER_CLASS, Source, class_images
from efficientnet_advprop.evaluation import (
    OUTSIDE_WEIGHT,
    SEED_VARIANCE,
    gaussian_seeds,
    masked_images,
    synthesize,
)
from efficientnet_advprop.modes.shown_networks import Shown, ShownImages, ShownNetwork
from efficientnet_advprop.randomness import fold, run_seed
from efficientnet_advprop.recipes import (
    GENERATION,
    INPAINTING,
    AttackSpec,
    generation_attack,
    inpainting_attack,
    mask_side_px,
    seed_grain_px,
)
from efficientnet_advprop.reporting import Row, Section, image_rows, percent, progress_bar

_SYNTHESIS_SOURCE = "Santurkar et al., arXiv 1906.09453"
_GENERATION_PLACE, _INPAINTING_PLACE = 0, 1  # in the seed


def draw_generation(shown: Shown, training: Source, classes: Sequence[int]) -> Section:
    """Images of classes from random seeds.

    Args:
        shown: networks of the same classes.
        training: has the training images.
        classes: to generate; those without training images that can be read are left out.
    """
    first, seed = shown.networks[0], run_seed(shown.run.recipe.seed)
    grain = seed_grain_px(first.image_size)
    shown.run.say(f"{GENERATION}: reading training images of {len(classes)} class{'es' if classes[1:] else ''}")
    found = class_images(training, first.recipe, classes, shown.run.options.input)
    missing = [first.class_names[label] for label in classes if label not in found]
    lacks = f"no readable training image of {', '.join(missing)} was found"
    if not found:
        return shown.left_out(GENERATION, lacks)
    classes = [label for label in classes if label in found]
    places = [fold(seed, _GENERATION_PLACE, label) for label in classes]
    drawn = (gaussian_seeds(found[label], grain, 1, place) for label, place in zip(classes, places, strict=True))
    seeds = np.concatenate(list(drawn))
    numbers = sorted({len(images) for images in found.values()})

    def made(network: ShownNetwork, branch: str) -> tuple[np.ndarray, np.ndarray]:
        return _synthesized(shown, network, branch, GENERATION, seeds, classes, generation_attack)

    results = shown.for_each_branch(GENERATION, made)
    rows = [("random seed", seeds, [first.class_names[label] for label in classes])]
    text = (
        f"Class by class, from a sample of the normal distribution of the class's training images ({numbers[0]} to "
        f"{numbers[-1]} of each class, at most {MOST_PER_CLASS}; squares of {grain} px; variance {SEED_VARIANCE:g} "
        f"added, in units of [0, 1]), PGD lowers the loss of the class: {_settings(shown, generation_attack)}. "
        f"{_SYNTHESIS_SOURCE}. Images: the first training images of {training.facts.where}"
        f"{f'; {lacks}' if missing else ''}. "
        "Below each image: the probability of the class through the branch that made it."
    )
    return _synthesis_section(shown, GENERATION, text, rows, results, classes)


def draw_inpainting(shown: Shown) -> Section:
    """Images whose masked square is filled."""
    first, seed = shown.networks[0], fold(run_seed(shown.run.recipe.seed), _INPAINTING_PLACE)
    evaluated = ShownImages(shown.run, shown.networks)
    images, labels = evaluated.of(first, shown.number)
    side = mask_side_px(first.image_size)
    masked, masks = masked_images(images.astype(np.float32), side, seed)

    def made(network: ShownNetwork, branch: str) -> tuple[np.ndarray, np.ndarray]:
        return _synthesized(shown, network, branch, INPAINTING, masked, list(labels), inpainting_attack, masks)

    results = shown.for_each_branch(INPAINTING, made)
    none = [""] * len(images)
    rows = [("image", images, [first.class_names[label] for label in labels]), ("masked", masked, none)]
    text = (
        f"A random square of {side} px gets the image's mean colour; then PGD lowers the loss of the true class plus "
        f"{OUTSIDE_WEIGHT:g} x the mean squared change outside of the square (in units of [0, 1]): "
        f"{_settings(shown, inpainting_attack)}. {_SYNTHESIS_SOURCE}. Images: {evaluated.words}. "
        "Below each image: the probability of the class through the branch that made it."
    )
    return _synthesis_section(shown, INPAINTING, text, rows, results, labels)


def _synthesized(
    shown: Shown,
    network: ShownNetwork,
    branch: str,
    what: str,
    start: np.ndarray,
    classes: Sequence[int],
    attack_of: Callable[[int], AttackSpec],
    masks: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `synthesize`, at the network's own image size."""
    size, spec = network.image_size, attack_of(network.image_size)
    label = network.in_line(branch)
    return synthesize(
        shown.run.strategy,
        network.model,
        branch,
        _resized(start, size),
        classes,
        spec,
        lambda steps: progress_bar(steps, spec.num_steps, "step", f"{what}: {label}"),
        None if masks is None else _resized(masks, size),
    )


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    """Images or masks at a network's size; the same squares of pixels."""
    return images if images.shape[1] == size else tf.image.resize(images, [size, size], method="nearest").numpy()


def _settings(shown: Shown, attack_of: Callable[[int], AttackSpec]) -> str:
    """The steps of every image size among the networks."""
    sizes = dict.fromkeys(network.image_size for network in shown.networks)
    return "; ".join(
        f"{spec.num_steps} steps of {spec.step_size_px:.4g} px in L2, epsilon {spec.epsilon_px:.5g} px, at {size} px"
        for size, spec in ((size, attack_of(size)) for size in sizes)
    )


def _synthesis_section(
    shown: Shown,
    name: str,
    text: str,
    rows: Sequence[Row],
    results: Sequence[tuple[np.ndarray, np.ndarray]],
    classes: Sequence[int],
) -> Section:
    made, table = [], []
    for view, (images, of) in zip(shown.branches, results, strict=True):
        network, branch = view
        made.append((network.label(branch), images, [f"{one:.0%}" for one in of]))
        others = [
            other.probabilities(through, _resized(images, other.image_size))[range(len(images)), classes].mean()
            for other, through in shown.branches
            if (other, through) != view
        ]
        table.append([network.in_line(branch), percent(of.mean()), percent(np.mean(others)) if others else ""])
    title = name.capitalize()
    drawn = shown.draw(name, f"{title}.", image_rows, [*rows, *made], name)
    return Section(
        title, text, drawn, ("network, branch", "mean probability of the class, %", "by the others, %"), table
    )

"""The figures of a visualization: loss gradients, generated and inpainted images, adversarial examples."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import MOST_PER_CLASS, Source, class_images
from efficientnet_advprop.evaluation import (
    ATTACKED_IMAGES,
    OUTSIDE_WEIGHT,
    SEED_VARIANCE,
    adversarial_examples,
    gaussian_seeds,
    loss_gradients,
    masked_images,
    share_in_squares,
    synthesize,
)
from efficientnet_advprop.modes.loaded_network import LoadedNetwork
from efficientnet_advprop.modes.shown_networks import ShownImages, ShownNetwork
from efficientnet_advprop.randomness import fold, run_seed
from efficientnet_advprop.recipes import (
    ATTACK,
    EVALUATION_ATTACK,
    GENERATION,
    GRADIENTS,
    INPAINTING,
    AttackSpec,
    generation_attack,
    inpainting_attack,
    mask_side_px,
    seed_grain_px,
)
from efficientnet_advprop.reporting import (
    ReportFigures,
    Row,
    Section,
    image_rows,
    image_strip,
    percent,
    predicted,
    progress_bar,
    rescaled,
)

_AT_A_TIME = 16
_SQUARE_PX = 4
_SYNTHESIS_SOURCE = "Santurkar et al., arXiv 1906.09453"
_GENERATION_PLACE, _INPAINTING_PLACE = 0, 1  # in the seed


@dataclasses.dataclass(frozen=True)
class Shown:
    """What all figures need.

    Attributes:
        run: the first network's options, devices and seed.
        networks: those to show, the first one first.
        images: that they see.
        figures: writes the figures.
    """

    run: LoadedNetwork
    networks: Sequence[ShownNetwork]
    images: ShownImages
    figures: ReportFigures

    @property
    def number(self) -> int:
        """Number of columns."""
        return self.run.options.visualization.num_images

    def draw(self, name: str, caption: str, draw: Callable[..., Any], *arguments: Any) -> list[tuple[str, str]]:
        """Write a figure; returns its path and caption, nothing if the drawing failed."""
        before = len(self.figures.captions)
        self.figures.add(name, caption, draw, *arguments)
        return self.figures.captions[before:]

    @property
    def branches(self) -> list[tuple[ShownNetwork, str]]:
        """Every branch of every network."""
        return [(network, branch) for network in self.networks for branch in network.model.branches]

    def for_each_branch(self, what: str, compute: Callable[[ShownNetwork, str], Any]) -> list[Any]:
        """What is computed for each of `branches`; says how long each took."""
        results = []
        for network, branch in self.branches:
            started = time.monotonic()
            results.append(compute(network, branch))
            self.run.say(f"{what}: {_in_line(network, branch)}: {time.monotonic() - started:.0f} s")
        return results


def draw_gradients(shown: Shown) -> Section:
    """The gradient of the loss with respect to each pixel, through each branch."""
    table: list[list[str]] = []

    def row(network: ShownNetwork, branch: str) -> Row:
        of_all = [
            loss_gradients(network.model, *piece, branch)
            for piece in _pieces(*shown.images.of(network, ATTACKED_IMAGES))
        ]
        table.append([_in_line(network, branch), percent(share_in_squares(np.concatenate(of_all), _SQUARE_PX))])
        images, labels = shown.images.of(network, shown.number)
        gradients = loss_gradients(network.model, images, labels, branch)
        probabilities = network.probabilities(branch, images)
        captions = predicted(probabilities.argmax(1), probabilities.max(1), network.class_names)
        return network.label(branch), [255 * rescaled(one) for one in gradients], captions

    first = shown.networks[0]
    images, labels = shown.images.of(first, shown.number)
    names = [first.class_names[label] if shown.images.is_labelled else "" for label in labels]
    rows = shown.for_each_branch(GRADIENTS, row)
    text = (
        "The gradient of the cross-entropy with respect to each image, each clipped to its mean +- 3 standard "
        "deviations and rescaled, as in Tsipras et al. (arXiv 1805.12152); inference mode. "
        f"The loss is that of {'the true class' if shown.images.is_labelled else 'the class that the network predicts'}"
        ". Below each gradient: what this branch predicts. The table says how much of the squared gradient is left "
        f"after averaging over squares of {_SQUARE_PX} px, on up to {ATTACKED_IMAGES} images; of noise, "
        f"{percent(_SQUARE_PX**-2)} %."
    )
    caption = "Gradients of the loss with respect to the image."
    drawn = shown.draw(GRADIENTS, caption, image_rows, [("image", images, names), *rows], "loss gradients")
    return Section("Loss gradients", text, drawn, ("network, branch", "left of the squared gradient, %"), table)


def draw_generation(shown: Shown, training: Source, classes: Sequence[int]) -> Section:
    """Images of classes from random seeds.

    Args:
        shown: networks of the same classes.
        training: has the training images.
        classes: to generate; those without training images are left out.
    """
    first, seed = shown.networks[0], run_seed(shown.run.recipe.seed)
    grain = seed_grain_px(first.image_size)
    shown.run.say(f"{GENERATION}: reading training images of {len(classes)} classes")
    found = class_images(training, first.recipe, classes, shown.run.options.input)
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
        f"{_SYNTHESIS_SOURCE}. Below each image: the probability of the class through the branch that made it."
    )
    return _synthesis_section(shown, GENERATION, text, rows, results, classes)


def draw_inpainting(shown: Shown) -> Section:
    """Images whose masked square is filled."""
    first, seed = shown.networks[0], fold(run_seed(shown.run.recipe.seed), _INPAINTING_PLACE)
    images, labels = ShownImages(shown.run, shown.networks).of(first, shown.number)
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
        f"{_settings(shown, inpainting_attack)}. {_SYNTHESIS_SOURCE}. Below each image: the probability of the class "
        "through the branch that made it."
    )
    return _synthesis_section(shown, INPAINTING, text, rows, results, labels)


def draw_attack(shown: Shown) -> Section:
    """Adversarial examples, first those whose predictions change."""
    table: list[list[str]] = []
    drawn: list[tuple[str, str]] = []

    def attacked(network: ShownNetwork, branch: str) -> None:
        images, labels = shown.images.of(network, ATTACKED_IMAGES)
        batches = [
            {
                "images": tf.constant(some, tf.float32),
                "labels": tf.constant(of, tf.int32),
                "mask": tf.ones([len(some)]),
            }
            for some, of in _pieces(images, labels)
        ]
        run = shown.run
        examples = adversarial_examples(
            run.strategy, network.model, batches, branch, EVALUATION_ATTACK, len(images), run.recipe.seed
        )
        label = _in_line(network, branch)
        right = [(of == examples.labels).sum() for of in (examples.clean_classes, examples.adversarial_classes)]
        table.append([label, f"{examples.changed.sum()} of {len(images)}", *map(str, right)])
        caption = f"{label}: {examples.changes_in_words()}."
        few, names = examples.changed_first(shown.number), network.class_names
        name, is_labelled = f"{ATTACK}-{len(table)}", shown.images.is_labelled
        drawn.extend(shown.draw(name, caption, image_strip, few, names, caption, is_labelled))

    shown.for_each_branch(ATTACK, attacked)
    labels = "true class" if shown.images.is_labelled else "class that the network predicts for the clean image"
    text = (
        f"{EVALUATION_ATTACK.summary()}, through each branch, on up to {ATTACKED_IMAGES} images; it raises the loss of "
        f"the {labels}. Images whose prediction changes come first."
    )
    headers = ("network, branch", "predictions that change", "clean right", "adversarial right")
    if not shown.images.is_labelled:
        table, headers = [row[:2] for row in table], headers[:2]
    return Section("What the attack changes", text, drawn, headers, table)


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
    label = _in_line(network, branch)
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
        table.append([_in_line(*view), percent(of.mean()), percent(np.mean(others)) if others else ""])
    title = name.capitalize()
    drawn = shown.draw(name, f"{title}.", image_rows, [*rows, *made], name)
    return Section(
        title, text, drawn, ("network, branch", "mean probability of the class, %", "by the others, %"), table
    )


def _pieces(images: np.ndarray, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels, a few at a time."""
    starts = range(0, len(images), _AT_A_TIME)
    return [(images[start : start + _AT_A_TIME], labels[start : start + _AT_A_TIME]) for start in starts]


def _in_line(network: ShownNetwork, branch: str) -> str:
    return network.label(branch).replace("\n", ", ")

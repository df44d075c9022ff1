"""Figures of given images: the loss's gradients, and adversarial examples, which follow them."""

import numpy as np
import tensorflow as tf

from efficientnet_advprop.evaluation import (
    ATTACKED_IMAGES,
    adversarial_examples,
    loss_gradients,
    share_in_squares,
)
from efficientnet_advprop.modes.shown_networks import Shown, ShownNetwork
from efficientnet_advprop.recipes import ATTACK, EVALUATION_ATTACK, GRADIENTS
from efficientnet_advprop.reporting import Row, Section, image_rows, image_strip, percent, predicted, rescaled

_AT_A_TIME = 16
_SQUARE_PX = 4
_OF_PREDICTED = ", under the loss of the predicted class"


def draw_gradients(shown: Shown) -> Section:
    """The gradient of the loss with respect to each pixel, through each branch."""
    table: list[list[str]] = []

    def row(network: ShownNetwork, branch: str) -> Row:
        of_all = [
            loss_gradients(network.model, *piece, branch)
            for piece in _pieces(*shown.images.of(network, ATTACKED_IMAGES))
        ]
        table.append([network.in_line(branch), percent(share_in_squares(np.concatenate(of_all), _SQUARE_PX))])
        images, labels = shown.images.of(network, shown.number)
        gradients = loss_gradients(network.model, images, labels, branch)
        probabilities = network.probabilities(branch, images)
        captions = predicted(probabilities.argmax(1), probabilities.max(1), network.class_names)
        return network.label(branch), [255 * rescaled(one) for one in gradients], captions

    first = shown.networks[0]
    images, labels = shown.images.of(first, shown.number)
    is_labelled = shown.images.has_true_classes(first)
    names = [first.class_names[label] if is_labelled else "" for label in labels]
    rows = shown.for_each_branch(GRADIENTS, row)
    text = (
        "The gradient of the cross-entropy with respect to each image, each clipped to its mean +- 3 standard "
        "deviations and rescaled, as in Tsipras et al. (arXiv 1805.12152); inference mode. "
        f"The loss is that of {shown.class_in_words}. Images: {shown.images.words}. "
        "Below each gradient: what this branch predicts. The table says how much of the squared gradient is left "
        f"after averaging over squares of {_SQUARE_PX} px, on up to {ATTACKED_IMAGES} images; of noise, "
        f"{percent(_SQUARE_PX**-2)} %."
    )
    caption = "Gradients of the loss with respect to the image."
    drawn = shown.draw(GRADIENTS, caption, image_rows, [("image", images, names), *rows], "loss gradients")
    return Section("Loss gradients", text, drawn, ("network, branch", "left of the squared gradient, %"), table)


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
        label = network.in_line(branch)
        right = [(of == examples.labels).sum() for of in (examples.clean_classes, examples.adversarial_classes)]
        is_labelled = shown.images.has_true_classes(network)
        table.append(
            [label, f"{examples.changed.sum()} of {len(images)}", *(str(of) if is_labelled else "" for of in right)]
        )
        caption = f"{label}: {examples.changes_in_words()}{'' if is_labelled else _OF_PREDICTED}."
        few, names = examples.changed_first(shown.number), network.class_names
        drawn.extend(shown.draw(f"{ATTACK}-{len(table)}", caption, image_strip, few, names, caption, is_labelled))

    shown.for_each_branch(ATTACK, attacked)
    text = (
        f"{EVALUATION_ATTACK.summary()}, through each branch, on up to {ATTACKED_IMAGES} images; it raises the loss of "
        f"{shown.class_in_words}. Images: {shown.images.words}; those whose prediction changes come first."
    )
    headers = ("network, branch", "predictions that change", "clean right", "adversarial right")
    if not any(map(shown.images.has_true_classes, shown.networks)):
        table, headers = [row[:2] for row in table], headers[:2]
    return Section("What the attack changes", text, drawn, headers, table)


def _pieces(images: np.ndarray, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels, a few at a time."""
    starts = range(0, len(images), _AT_A_TIME)
    return [(images[start : start + _AT_A_TIME], labels[start : start + _AT_A_TIME]) for start in starts]

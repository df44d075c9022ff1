"""Rows of images as one PNG: training images before and after their transforms, adversarial images, gradients."""

import re
import textwrap
from collections.abc import Sequence

import matplotlib.figure
import numpy as np

from efficientnet_advprop.evaluation import AdversarialExamples
from efficientnet_advprop.reporting.figures import save

# Its label; its images [H, W, 3] with pixels in [0, 255]; a caption for each.
Row = tuple[str, Sequence[np.ndarray], Sequence[str]]

_IMAGE_INCHES = 1.3
_COLUMN_CHARACTERS, _CHARACTER_INCHES = 20, 0.0675


def write_contact_sheet(path: str, samples: Sequence[tuple[np.ndarray, np.ndarray, str]], title: str) -> bool:
    """Draw two rows: images as stored, and as they enter the network; returns whether that went well.

    Args:
        path: of the PNG, local or gs://.
        samples: (stored uint8 [H, W, 3], transformed float32 [S, S, 3] in [0, 255], name of the class); at least one.
        title: of the figure.
    """
    stored, transformed, names = zip(*samples, strict=True)

    def row(label: str, images: Sequence[np.ndarray]) -> Row:
        sizes = (f"{image.shape[1]} x {image.shape[0]} px" for image in images)
        return label, images, ["\n".join(caption) for caption in zip(names, sizes, strict=True)]

    return save(path, image_rows, [row("stored", stored), row("for training", transformed)], title)


def write_image_strip(path: str, examples: AdversarialExamples, names: Sequence[str], title: str) -> bool:
    """Write the figure of `image_strip`, which has the other arguments, as a PNG, local or gs://.

    Returns:
        Whether that went well; if not, a warning is printed.
    """
    return save(path, image_strip, examples, names, title)


def image_strip(
    examples: AdversarialExamples, names: Sequence[str], title: str, is_labelled: bool = True
) -> matplotlib.figure.Figure:
    """Three rows: clean images, adversarial images, and their difference, amplified around grey.

    Args:
        examples: at least one.
        names: of the classes, in label order.
        title: of the figure.
        is_labelled: whether the examples' labels are true ones; others are not shown.
    """
    difference = examples.adversarial - examples.clean
    largest = float(np.max(np.abs(difference)))
    factor = int(max(1, 127 // largest)) if largest > 0 else 1
    labels = [f"label {names[label]}\n" if is_labelled else "" for label in examples.labels]
    clean = predicted(examples.clean_classes, examples.clean_confidences, names)
    of_clean = [label + caption for label, caption in zip(labels, clean, strict=True)]
    of_adversarial = predicted(examples.adversarial_classes, examples.adversarial_confidences, names)
    rows = [
        ("clean", examples.clean, of_clean),
        ("adversarial", examples.adversarial, of_adversarial),
        (f"difference x {factor}\n(largest {largest:.1f} px)", 127.5 + factor * difference, [""] * len(of_clean)),
    ]
    return image_rows(rows, title)


def predicted(classes: Sequence[int], confidences: Sequence[float], names: Sequence[str]) -> list[str]:
    """Captions with each predicted class and its probability."""
    shown = zip(classes, confidences, strict=True)
    return [f"predicted {names[label]} ({100 * of:.0f}\N{NO-BREAK SPACE}%)" for label, of in shown]


def image_rows(rows: Sequence[Row], title: str) -> matplotlib.figure.Figure:
    """Rows of as many images each; small images are enlarged pixel by pixel.

    Long captions are broken between words. Columns are as wide as the longest word.
    """
    columns = len(rows[0][1])
    words = (word for _, _, captions in rows for caption in captions for word in re.split("[ \n]", caption))
    width = max(_COLUMN_CHARACTERS, *map(len, words))
    rows = [(label, images, [_in_lines(caption, width) for caption in captions]) for label, images, captions in rows]
    lines = [max(caption.count("\n") + bool(caption) for caption in captions) for _, _, captions in rows]
    height = sum(_IMAGE_INCHES + 0.15 * number for number in lines) + 0.6
    label_inches = 0.08 * max(len(line) for label, *_ in rows for line in label.split("\n"))
    figure = matplotlib.figure.Figure(
        figsize=(_CHARACTER_INCHES * width * columns + label_inches + 0.3, height), layout="constrained"
    )
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, (label, images, captions) in zip(axes, rows, strict=True):
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        for cell, image, caption in zip(row, images, captions, strict=True):
            cell.imshow(np.clip(image, 0, 255).astype(np.uint8), interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            cell.set_xlabel(caption, fontsize=8)
    figure.suptitle(textwrap.fill(title, int(12 * figure.get_figwidth())), fontsize=10)
    return figure


def rescaled(gradient: np.ndarray) -> np.ndarray:
    """A gradient [H, W, 3] as an image: clipped to mean +- 3 standard deviations, rescaled to [0, 1].

    The rule of Tsipras et al. (Robustness May Be at Odds with Accuracy, arXiv 1805.12152).
    """
    mean, deviation = gradient.mean(), gradient.std()
    if deviation == 0:
        return np.full_like(gradient, 0.5)
    return (np.clip((gradient - mean) / deviation, -3, 3) + 3) / 6


def _in_lines(caption: str, width: int) -> str:
    """The caption with line breaks between words, where a line would have more characters."""
    lines = caption.split("\n")
    return "\n".join(textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in lines)

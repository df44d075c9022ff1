"""Rows of images as one PNG: training images before and after their transforms, clean and adversarial images."""

from collections.abc import Sequence

import matplotlib.figure
import numpy as np

from efficientnet_advprop.reporting.figures import save

# Its label; its images [H, W, 3] with pixels in [0, 255]; a caption for each.
_Row = tuple[str, Sequence[np.ndarray], Sequence[str]]


def write_contact_sheet(path: str, samples: Sequence[tuple[np.ndarray, np.ndarray, str]], title: str) -> bool:
    """Draw two rows: images as stored, and as they enter the network; returns whether that went well.

    Args:
        path: of the PNG, local or gs://.
        samples: (stored uint8 [H, W, 3], transformed float32 [S, S, 3] in [0, 255], name of the class); at least one.
        title: of the figure.
    """
    stored, transformed, names = zip(*samples, strict=True)

    def row(label: str, images: Sequence[np.ndarray]) -> _Row:
        sizes = (f"{image.shape[1]} x {image.shape[0]} px" for image in images)
        return label, images, ["\n".join(caption) for caption in zip(names, sizes, strict=True)]

    return save(path, _rows, [row("stored", stored), row("for training", transformed)], title)


def write_image_strip(
    path: str, clean: np.ndarray, adversarial: np.ndarray, captions: Sequence[tuple[str, str]], title: str
) -> bool:
    """Draw three rows: clean images, adversarial images, and their difference, amplified around grey.

    Args:
        path: of the PNG, local or gs://.
        clean: float32 [N, H, W, 3] in [0, 255].
        adversarial: as `clean`.
        captions: for each image the captions of its clean and its adversarial version.
        title: of the figure.

    Returns:
        Whether that went well; if not, a warning is printed.
    """
    difference = adversarial - clean
    largest = float(np.max(np.abs(difference)))
    factor = int(max(1, 127 // largest)) if largest > 0 else 1
    of_clean, of_adversarial = zip(*captions, strict=True)
    rows = [
        ("clean", clean, of_clean),
        ("adversarial", adversarial, of_adversarial),
        (f"difference x {factor}\n(largest {largest:.1f} px)", 127.5 + factor * difference, [""] * len(clean)),
    ]
    return save(path, _rows, rows, title)


def _rows(rows: Sequence[_Row], title: str) -> matplotlib.figure.Figure:
    columns = len(rows[0][1])
    figure = matplotlib.figure.Figure(figsize=(1.5 * columns + 1.2, 1.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, (label, images, captions) in zip(axes, rows, strict=True):
        row[0].set_ylabel(label)
        for cell, image, caption in zip(row, images, captions, strict=True):
            cell.imshow(np.clip(image, 0, 255).astype(np.uint8))
            cell.set(xticks=[], yticks=[])
            cell.set_xlabel(caption, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure

"""Clean images, their adversarial versions and the amplified difference, as one PNG."""

from collections.abc import Sequence

import matplotlib.figure
import numpy as np

from efficientnet_advprop.reporting.figures import save


def write_image_strip(
    path: str, clean: np.ndarray, adversarial: np.ndarray, captions: Sequence[tuple[str, str]], title: str
) -> None:
    """Draw three rows: clean images, adversarial images, and their difference, amplified around grey.

    Args:
        path: of the PNG, local or gs://.
        clean: float32 [N, H, W, 3] in [0, 255].
        adversarial: as `clean`.
        captions: for each image the captions of its clean and its adversarial version.
        title: of the figure.
    """
    difference = adversarial - clean
    largest = float(np.max(np.abs(difference)))
    factor = int(max(1, 127 // largest)) if largest > 0 else 1
    rows = (
        ("clean", clean, [caption[0] for caption in captions]),
        ("adversarial", adversarial, [caption[1] for caption in captions]),
        (f"difference x {factor}\n(largest {largest:.1f} px)", 127.5 + factor * difference, [""] * len(clean)),
    )
    figure = matplotlib.figure.Figure(figsize=(1.5 * len(clean) + 1.2, 5.6), layout="constrained")
    axes = figure.subplots(len(rows), len(clean), squeeze=False)
    for row, (name, images, texts) in zip(axes, rows, strict=True):
        row[0].set_ylabel(name)
        for cell, image, text in zip(row, images, texts, strict=True):
            cell.imshow(np.clip(image, 0, 255).astype(np.uint8))
            cell.set(xticks=[], yticks=[])
            cell.set_xlabel(text, fontsize=8)
    figure.suptitle(title, fontsize=10)
    save(figure, path)

"""Training images before and after the training transforms, as one PNG."""

from collections.abc import Sequence

import matplotlib.figure
import numpy as np

from efficientnet_advprop.reporting.figures import save


def write_contact_sheet(path: str, samples: Sequence[tuple[np.ndarray, np.ndarray, str]], title: str) -> None:
    """Draw two rows: images as stored, and as they enter the network.

    Args:
        path: of the PNG, local or gs://.
        samples: (stored uint8 [H, W, 3], transformed float32 [S, S, 3] in [0, 255], name of the class); at least one.
        title: of the figure.
    """
    figure = matplotlib.figure.Figure(figsize=(1.5 * len(samples) + 0.8, 4.2), layout="constrained")
    axes = figure.subplots(2, len(samples), squeeze=False)
    for column, (before, after, name) in zip(axes.T, samples, strict=True):
        for cell, image in zip(column, (before, np.clip(after, 0, 255).astype(np.uint8)), strict=True):
            cell.imshow(image)
            cell.set(xticks=[], yticks=[])
            cell.set_xlabel(f"{name}\n{image.shape[1]} x {image.shape[0]} px", fontsize=7)
    axes[0, 0].set_ylabel("stored")
    axes[1, 0].set_ylabel("for training")
    figure.suptitle(title, fontsize=10)
    save(figure, path)

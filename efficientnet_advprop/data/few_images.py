"""A training set reduced to a few images per class."""

import numpy as np

from efficientnet_advprop.recipes import RecipeError


def first_of_each_class(labels: np.ndarray, number: int | None) -> np.ndarray:
    """Indices [M] of the first `number` images of each class, sorted; of all images for None.

    Args:
        labels: int [N]; every class occurs.
        number: images per class.

    Raises:
        RecipeError: when a class has fewer.
    """
    if number is None:
        return np.arange(len(labels))
    if number < 1:
        raise RecipeError(f"--train_images_per_class={number}: at least 1 is needed")
    fewest = int(np.bincount(labels).min())
    if number > fewest:
        raise RecipeError(f"--train_images_per_class={number} is more than the {fewest} images of the smallest class")
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:number] for label in np.unique(labels)]))

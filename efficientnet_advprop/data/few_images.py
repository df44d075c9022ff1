"""A training set cut down to a few images of each class."""

import numpy as np

from efficientnet_advprop.recipes import RecipeError


def first_of_each_class(labels: np.ndarray, number: int | None) -> np.ndarray:
    """The places [M] of the first so many images of each class, in their order; of all images for None.

    Args:
        labels: int [N]; every class is there.
        number: of images per class.

    Raises:
        RecipeError: when there are fewer of some class.
    """
    if number is None:
        return np.arange(len(labels))
    if number < 1:
        raise RecipeError(f"--train_images_per_class={number}: at least 1 is needed")
    fewest = int(np.bincount(labels).min())
    if number > fewest:
        raise RecipeError(f"--train_images_per_class={number} is more than the {fewest} images of the smallest class")
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:number] for label in np.unique(labels)]))

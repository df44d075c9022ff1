"""Noise: every value of an image for itself."""

import numpy as np


def gaussian_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise of this standard deviation, as a fraction of the range."""
    return image + 255 * rng.normal(0, deviation, image.shape)


def shot_noise(image: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Each value as a count of photons, of which white has so many."""
    return 255 * rng.poisson(image / 255 * photons) / photons


def impulse_noise(image: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """This fraction of the values becomes 0 or 255, one as likely as the other."""
    hit = rng.random(image.shape) < fraction
    return np.where(hit, 255 * rng.integers(0, 2, image.shape), image)

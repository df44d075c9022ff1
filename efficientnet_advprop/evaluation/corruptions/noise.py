"""Noise, independent for every value of an image."""

import numpy as np


def gaussian_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise; the standard deviation is a fraction of the range."""
    return image + 255 * rng.normal(0, deviation, image.shape)


def shot_noise(image: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Poisson noise, where white has this number of photons."""
    return 255 * rng.poisson(image / 255 * photons) / photons


def impulse_noise(image: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """This fraction of the values becomes 0 or 255 with equal probability."""
    hit = rng.random(image.shape) < fraction
    return np.where(hit, 255 * rng.integers(0, 2, image.shape), image)

"""Common corruptions made from clean pictures.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"
(ICLR 2019), whose code has one table of strengths for ImageNet at 224 px and one for CIFAR at 32 px. What is made
here is not the distributed ImageNet-C, which went through other crops and JPEG: its scores are not mCE.
"""

import io
from collections.abc import Callable

import numpy as np
import PIL.Image
import scipy.ndimage

SEVERITIES = (1, 2, 3, 4, 5)

# Pictures below this side get CIFAR-10-C's strengths: ImageNet-C's leave nothing of a picture of 32 px.
_SMALL_PX = 96

Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _gaussian_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise of this standard deviation, as a share of the range."""
    return image + 255 * rng.normal(0, deviation, image.shape)


def _shot_noise(image: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Each value as a count of photons, of which white has so many."""
    return 255 * rng.poisson(image / 255 * photons) / photons


def _gaussian_blur(image: np.ndarray, sigma_px: float, rng: np.random.Generator) -> np.ndarray:
    del rng
    return scipy.ndimage.gaussian_filter(image.astype(np.float64), (sigma_px, sigma_px, 0), mode="nearest")


def _contrast(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """This share of every channel's distance from its mean."""
    del rng
    means = image.mean(axis=(0, 1), keepdims=True)
    return means + share * (image - means)


def _pixelate(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Down to this share of the side, and up again."""
    del rng
    height, width = image.shape[:2]
    small = PIL.Image.fromarray(image).resize((int(width * share), int(height * share)), PIL.Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), PIL.Image.Resampling.BOX))


def _jpeg_compression(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    del rng
    encoded = io.BytesIO()
    PIL.Image.fromarray(image).save(encoded, "JPEG", quality=int(quality))
    return np.asarray(PIL.Image.open(encoded))


# Name -> (function, its argument at severities 1 to 5 for small pictures, and for large ones).
_CORRUPTIONS: dict[str, tuple[Corruption, tuple[float, ...], tuple[float, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "gaussian_blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0), (1, 2, 3, 4, 6)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (_jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
CORRUPTIONS = tuple(_CORRUPTIONS)


def corrupt(image: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """A corrupted copy of a picture.

    Args:
        image: uint8 [H, W, 3].
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: of this picture; the same seed, corruption and severity give the same result.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: for an unknown corruption or severity; the message lists the known ones.
    """
    if name not in _CORRUPTIONS:
        raise ValueError(f"unknown corruption {name!r}; known: {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity}: known are 1 to 5")
    function, small, large = _CORRUPTIONS[name]
    argument = (small if min(image.shape[:2]) < _SMALL_PX else large)[severity - 1]
    rng = np.random.default_rng([seed, CORRUPTIONS.index(name), severity])
    return np.clip(np.rint(function(image, argument, rng)), 0, 255).astype(np.uint8)

"""The strengths of corruptions, and the function that applies them.

Strengths are the authors' (hendrycks/robustness, `ImageNet-C/create_c`), for ImageNet at 224 px and for CIFAR at 32 px.
Corruptions made here are not the distributed ImageNet-C, which used other crops and JPEG: their scores are not mCE.
Values are rounded once, at the end. The authors truncate fractions, in some corruptions also between steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from efficientnet_advprop.evaluation.corruptions import blur, digital, noise, weather
from efficientnet_advprop.evaluation.imagenet_c import CIFAR_STRENGTHS_BELOW_PX, SEVERITIES
from efficientnet_advprop.recipes import MADE_CORRUPTIONS


class _Corruption(NamedTuple):
    """A function, and its strengths at severities 1 to 5 for small and for large images."""

    function: Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]
    small: tuple[Any, ...]
    large: tuple[Any, ...]


# ImageNet-C's are in pixels, as fractions of 244, which the authors say should have been the side of 224. Here they are
# fractions of 224. (imagecorruptions has other values, without the affine map.)
_LARGE_ELASTIC = tuple(
    tuple(fraction * 244 / 224 for fraction in fractions)
    for fractions in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
)

# All `MADE_CORRUPTIONS`: noise, blur, weather, digital, and one of ImageNet-C's extra corruptions.
_TABLE = {
    "gaussian_noise": _Corruption(
        noise.gaussian_noise, small=(0.04, 0.06, 0.08, 0.09, 0.10), large=(0.08, 0.12, 0.18, 0.26, 0.38)
    ),
    "shot_noise": _Corruption(noise.shot_noise, small=(500, 250, 100, 75, 50), large=(60, 25, 12, 5, 3)),
    "impulse_noise": _Corruption(
        noise.impulse_noise, small=(0.01, 0.02, 0.03, 0.05, 0.07), large=(0.03, 0.06, 0.09, 0.17, 0.27)
    ),
    "defocus_blur": _Corruption(
        blur.defocus_blur,
        small=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        large=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": _Corruption(
        blur.glass_blur,
        small=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        large=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": _Corruption(
        blur.motion_blur,
        small=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        large=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": _Corruption(
        blur.zoom_blur,
        small=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        large=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": _Corruption(
        weather.snow,
        small=(
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        large=(
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": _Corruption(
        weather.frost,
        small=((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
        large=((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    ),
    "fog": _Corruption(
        weather.fog,
        small=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        large=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": _Corruption(weather.brightness, small=(0.05, 0.1, 0.15, 0.2, 0.3), large=(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": _Corruption(digital.contrast, small=(0.75, 0.5, 0.4, 0.3, 0.15), large=(0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": _Corruption(
        digital.elastic_transform,
        small=((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        large=_LARGE_ELASTIC,
    ),
    "pixelate": _Corruption(digital.pixelate, small=(0.95, 0.9, 0.85, 0.75, 0.65), large=(0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": _Corruption(digital.jpeg_compression, small=(80, 65, 58, 50, 40), large=(25, 18, 15, 10, 7)),
    "gaussian_blur": _Corruption(blur.gaussian_blur, small=(0.4, 0.6, 0.7, 0.8, 1.0), large=(1, 2, 3, 4, 6)),
}
# Part of the seed: append new corruptions, since inserting one changes the images of the corruptions after it.
_NUMBERS = {name: number for number, name in enumerate(MADE_CORRUPTIONS)}


def corrupt(image: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """A corrupted copy of an image. Not thread-safe: fog uses NumPy's global generator.

    Args:
        image: uint8 [H, W, 3], 8 px or more to each side.
        name: one of `MADE_CORRUPTIONS`.
        severity: 1 to 5.
        seed: of this image; the same seed, corruption and severity give the same result.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: for an unknown corruption or severity; the message lists the known ones.
    """
    if name not in MADE_CORRUPTIONS:
        raise ValueError(f"unknown corruption {name!r}; known: {', '.join(MADE_CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity}: known are 1 to 5")
    function, small, large = _TABLE[name]
    strength = (small if min(image.shape[:2]) < CIFAR_STRENGTHS_BELOW_PX else large)[severity - 1]
    rng = np.random.default_rng([seed, _NUMBERS[name], severity])
    return np.clip(np.rint(function(image, strength, rng)), 0, 255).astype(np.uint8)

"""Weather: snow, frost, fog, and a brighter day."""

import contextlib
import functools
import importlib.resources
from collections.abc import Iterator

import numpy as np
import PIL.Image

from efficientnet_advprop.evaluation.corruptions.blur import smeared, zoomed
from efficientnet_advprop.evaluation.corruptions.libraries import imagecorruptions, opencv

# Of the six photographs, the authors' draw leaves out the last.
_FROST_FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
_GREY = np.array([0.299, 0.587, 0.114])  # fractions of red, green and blue in brightness, as of JPEG


def snow(
    image: np.ndarray, strength: tuple[float, float, float, float, int, float, float], rng: np.random.Generator
) -> np.ndarray:
    """An image made paler, and flakes over it, in two directions.

    Flakes are normal noise, enlarged, of which what is bright is kept, and falls. The strength: (mean and deviation of
    the noise, enlargement, least value kept, radius_px and sigma_px of the fall, fraction of the image left unpaled).
    """
    mean, deviation, factor, threshold, radius_px, sigma_px, fraction = strength
    noise = zoomed(rng.normal(mean, deviation, (*image.shape[:2], 1)).astype(np.float32), factor)
    flakes = np.where(noise < threshold, 0, np.clip(noise, 0, 1))
    falling = 255 * smeared(flakes[..., 0], radius_px, sigma_px, rng.uniform(-135, -45))[..., np.newaxis]
    grey = (image @ _GREY)[..., np.newaxis]
    pale = np.maximum(image, 1.5 * grey + 127.5)
    return fraction * image + (1 - fraction) * pale + falling + np.rot90(falling, k=2)


def frost(image: np.ndarray, strength: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """The image and a piece of a photograph of frost: (fraction of each, scale of the photograph).

    A photograph that would not cover the image is enlarged until it does.
    """
    image_fraction, frost_fraction, scale = strength
    height, width = image.shape[:2]
    photograph = _photograph_of_frost(_FROST_FILES[rng.integers(len(_FROST_FILES))])
    scale = max(scale, height / photograph.shape[0], width / photograph.shape[1])
    photograph = opencv().resize(photograph, None, fx=scale, fy=scale)
    row = rng.integers(photograph.shape[0] - height + 1)
    column = rng.integers(photograph.shape[1] - width + 1)
    return image_fraction * image + frost_fraction * photograph[row : row + height, column : column + width]


@functools.cache
def _photograph_of_frost(file: str) -> np.ndarray:
    """One of the library's, uint8 [H, W, 3], 527 to 900 px wide; kept, as decoding takes longer than all else."""
    with (importlib.resources.files(imagecorruptions().__package__) / "frost" / file).open("rb") as opened:
        return np.asarray(PIL.Image.open(opened).convert("RGB"))


def fog(image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Clouds of all sizes, darkened until the brightest value fits: (density, how much fainter half the size is)."""
    density, decay = strength
    library = imagecorruptions()
    height, width = image.shape[:2]
    with _global_generator_seeded_from(rng):
        clouds = library.plasma_fractal(library.next_power_of_2(max(height, width)), decay)[:height, :width, np.newaxis]
    brightest = image.max() / 255
    return (image + 255 * density * clouds) * brightest / (brightest + density)


@contextlib.contextmanager
def _global_generator_seeded_from(rng: np.random.Generator) -> Iterator[None]:
    """For what draws from NumPy's global generator, as the library's clouds do; afterwards it is what it was."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(rng.integers(2**32))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def brightness(image: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """A higher value of HSV, by this fraction of the range, under the same hue and saturation.

    The value is the largest channel, and at a fixed hue and saturation all channels are proportional to it.
    """
    del rng
    value = image.max(axis=-1, keepdims=True).astype(np.float64)
    brighter = np.minimum(value + 255 * fraction, 255)
    return np.where(value > 0, image * (brighter / np.maximum(value, 1)), brighter)

"""Weather: snow, frost, fog, brightness."""

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
    """A paler image with flakes in two directions.

    Flakes are enlarged Gaussian noise above a threshold, with motion blur. The strength: (mean and deviation of the
    noise, enlargement, threshold, radius_px and sigma_px of the motion, fraction of the original image).
    """
    mean, deviation, factor, threshold, radius_px, sigma_px, fraction = strength
    noise = zoomed(rng.normal(mean, deviation, (*image.shape[:2], 1)).astype(np.float32), factor)
    flakes = np.where(noise < threshold, 0, np.clip(noise, 0, 1))
    falling = 255 * smeared(flakes[..., 0], radius_px, sigma_px, rng.uniform(-135, -45))[..., np.newaxis]
    grey = (image @ _GREY)[..., np.newaxis]
    pale = np.maximum(image, 1.5 * grey + 127.5)
    return fraction * image + (1 - fraction) * pale + falling + np.rot90(falling, k=2)


def frost(image: np.ndarray, strength: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """A weighted sum of the image and a crop of a photograph of frost: (both weights, scale of the photograph).

    A photograph that is smaller than the image is enlarged to cover it.
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
    """A photograph of the library, uint8 [H, W, 3], 527 to 900 px wide; cached, as decoding is slow."""
    with (importlib.resources.files(imagecorruptions().__package__) / "frost" / file).open("rb") as opened:
        return np.asarray(PIL.Image.open(opened).convert("RGB"))


def fog(image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Plasma fractal clouds, scaled to the brightest value of the image: (density, decay of smaller clouds)."""
    density, decay = strength
    library = imagecorruptions()
    height, width = image.shape[:2]
    with _global_generator_seeded_from(rng):
        clouds = library.plasma_fractal(library.next_power_of_2(max(height, width)), decay)[:height, :width, np.newaxis]
    brightest = image.max() / 255
    return (image + 255 * density * clouds) * brightest / (brightest + density)


@contextlib.contextmanager
def _global_generator_seeded_from(rng: np.random.Generator) -> Iterator[None]:
    """Seed NumPy's global generator, which the library's clouds use, and restore it afterwards."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(rng.integers(2**32))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def brightness(image: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """The value of HSV increased by this fraction of the range, at the same hue and saturation.

    The value is the largest channel. At fixed hue and saturation all channels are proportional to it.
    """
    del rng
    value = image.max(axis=-1, keepdims=True).astype(np.float64)
    brighter = np.minimum(value + 255 * fraction, 255)
    return np.where(value > 0, image * (brighter / np.maximum(value, 1)), brighter)

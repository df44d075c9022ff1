"""Blur: defocus, frosted glass, motion, zoom; motion and zoom are also parts of snow."""

import numpy as np
import scipy.ndimage

from efficientnet_advprop.evaluation.corruptions.libraries import imagecorruptions, opencv


def gaussian_blur(image: np.ndarray, sigma_px: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian; the border is replicated."""
    del rng
    return _blurred(image, sigma_px)


def _blurred(image: np.ndarray, sigma_px: float) -> np.ndarray:
    return scipy.ndimage.gaussian_filter(image.astype(np.float64), (sigma_px, sigma_px, 0), mode="nearest")


def defocus_blur(image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A disk smoothed by a Gaussian: (radius_px, sigma_px)."""
    del rng
    radius_px, sigma_px = strength
    disk = imagecorruptions().disk(radius_px, sigma_px)
    return opencv().filter2D(image.astype(np.float32), -1, disk)


def glass_blur(image: np.ndarray, strength: tuple[float, int, int], rng: np.random.Generator) -> np.ndarray:
    """Blur, random moves of pixels to near positions, blur again: (sigma_px, farthest_px, rounds).

    The library's loop overwrites pixels instead of swapping them, as the authors' does. It is compiled by numba once a
    process, in two seconds, and numba has its own random state.
    """
    sigma_px, farthest_px, rounds = strength
    blurred = _blurred(image, sigma_px)
    height, width = image.shape[:2]
    shuffled = imagecorruptions()._shuffle_pixels_njit_glass_blur
    # The first of the three numbers is not read.
    moved = shuffled(height, width, blurred, (0, farthest_px, rounds), int(rng.integers(2**32)))
    return _blurred(moved, sigma_px)


def motion_blur(image: np.ndarray, strength: tuple[int, float], rng: np.random.Generator) -> np.ndarray:
    """Motion within 45 degrees of the horizontal: (radius_px, sigma_px)."""
    radius_px, sigma_px = strength
    return smeared(image.astype(np.float32), radius_px, sigma_px, rng.uniform(-45, 45))


def zoom_blur(image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """The mean of the image and its enlargements by 1, 1 + step, 1 + 2 step and so on: (end, step)."""
    del rng
    end, step = strength
    factors = np.arange(1, end, step)  # as the authors do: rounding includes the end for some strengths
    image = image.astype(np.float32)
    return (image + sum(zoomed(image, factor) for factor in factors)) / (len(factors) + 1)


def smeared(image: np.ndarray, radius_px: int, sigma_px: float, angle_degrees: float) -> np.ndarray:
    """Motion blur along a straight line, weighted by half a Gaussian; the border is replicated.

    As in ImageMagick, which the authors used: 2 `radius_px` + 1 pixels along the line, at rounded positions. The
    library's version is slower, and darker if the line is longer than the image.

    Args:
        image: float32 [H, W] or [H, W, C].
        radius_px: half the length of the line.
        sigma_px: of the Gaussian.
        angle_degrees: of the line, from the horizontal.
    """
    length = 2 * radius_px + 1
    distances, angle = np.arange(length), np.deg2rad(angle_degrees)
    rows, columns = (
        length - 1 + np.ceil(distances * along - 0.5).astype(int) for along in (np.sin(angle), np.cos(angle))
    )
    kernel = np.zeros((2 * length - 1, 2 * length - 1))
    np.add.at(kernel, (rows, columns), imagecorruptions().getMotionBlurKernel(length, sigma_px))
    cv2 = opencv()
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def zoomed(image: np.ndarray, factor: float) -> np.ndarray:
    """The center of an image, float32 [H, W, C], enlarged to the image's size by linear interpolation.

    Equals SciPy's zoom, which aligns the outermost pixels and takes ten times as long.
    """
    return _zoomed_rows(_zoomed_rows(image, factor).swapaxes(0, 1), factor).swapaxes(0, 1)


def _zoomed_rows(image: np.ndarray, factor: float) -> np.ndarray:
    height = len(image)
    cropped = int(np.ceil(height / factor))
    enlarged = round(cropped * factor)  # may be more than there were: the middle is kept
    places = np.arange(height) + (enlarged - height) // 2
    places = (height - cropped) // 2 + places * (cropped - 1) / (enlarged - 1)
    above = np.minimum(places.astype(int), height - 2)
    fraction_below = (places - above).astype(np.float32)[:, np.newaxis, np.newaxis]
    return image[above] + fraction_below * (image[above + 1] - image[above])

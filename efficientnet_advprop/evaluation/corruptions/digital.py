"""Digital: contrast, elastic transform, pixelation, JPEG."""

import io

import numpy as np
import PIL.Image
import scipy.ndimage

from efficientnet_advprop.evaluation.corruptions.libraries import opencv


def contrast(image: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Every channel's distance from its mean, multiplied by this fraction."""
    del rng
    means = image.mean(axis=(0, 1), keepdims=True)
    return means + fraction * (image - means)


def elastic_transform(image: np.ndarray, strength: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """A random affine map, then a smooth random move of every pixel: (distance, sigma, distance of corners).

    All are fractions of the short side. The moves are uniform noise within `distance`, smoothed by a Gaussian of this
    `sigma`.
    """
    height, width = image.shape[:2]
    distance_px, sigma_px, corner_px = (fraction * min(height, width) for fraction in strength)
    skewed = _skewed(image.astype(np.float32), corner_px, rng)
    rows, columns = np.mgrid[:height, :width]
    across, down = _smooth_moves((2, height, width), distance_px, sigma_px, rng)
    channels = [
        scipy.ndimage.map_coordinates(channel, (rows + down, columns + across), order=1, mode="reflect")
        for channel in np.moveaxis(skewed, -1, 0)
    ]
    return np.stack(channels, axis=-1)


def _skewed(image: np.ndarray, corner_px: float, rng: np.random.Generator) -> np.ndarray:
    """A random affine map that moves three corners of a central square by up to `corner_px` in each coordinate."""
    cv2 = opencv()
    height, width = image.shape[:2]
    reach = min(height, width) // 3
    # (x, y), as OpenCV has it.
    corners = np.float32([width // 2, height // 2]) + np.float32([(reach, reach), (reach, -reach), (-reach, -reach)])
    moved = corners + rng.uniform(-corner_px, corner_px, corners.shape).astype(np.float32)
    affine = cv2.getAffineTransform(corners, moved)
    return cv2.warpAffine(image, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def _smooth_moves(
    shape: tuple[int, int, int], distance_px: float, sigma_px: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise [2, H, W], each plane smoothed with reflected borders."""
    cv2 = opencv()
    side = 2 * int(3 * sigma_px + 0.5) + 1  # three deviations to each side
    smooth = [
        cv2.GaussianBlur(plane, (side, side), sigma_px, borderType=cv2.BORDER_REFLECT)
        for plane in rng.uniform(-1, 1, shape).astype(np.float32)
    ]
    return distance_px * np.stack(smooth)


def pixelate(image: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Reduce the sides to this fraction, and enlarge them again."""
    del rng
    height, width = image.shape[:2]
    small = PIL.Image.fromarray(image).resize((int(width * fraction), int(height * fraction)), PIL.Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), PIL.Image.Resampling.BOX))


def jpeg_compression(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """Encode as JPEG of this quality, and decode."""
    del rng
    encoded = io.BytesIO()
    PIL.Image.fromarray(image).save(encoded, "JPEG", quality=int(quality))
    return np.asarray(PIL.Image.open(encoded))

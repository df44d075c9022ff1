"""Corruptions at ImageNet's strengths, against the library as well, and at CIFAR's."""

import io
from pathlib import Path
from types import SimpleNamespace

import cv2
import imagecorruptions.corruptions as library
import matplotlib.colors
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage

from efficientnet_advprop.evaluation import SEVERITIES
from efficientnet_advprop.evaluation.corruptions import blur, corrupt, digital, noise, weather
from tests.test_corruptions import ALL, LARGE, SMALL, WITHOUT_CHANCE, grey, make_image


def assert_strength(name: str, image: np.ndarray, severity: int, function, strength) -> None:
    """The table has this strength there: the corruption is the function's result with it, rounded."""
    rng = np.random.default_rng([3, ALL.index(name), severity])
    expected = np.clip(np.rint(function(image, strength, rng)), 0, 255)
    np.testing.assert_array_equal(corrupt(image, name, severity, seed=3), expected)


@pytest.fixture(params=LARGE, ids=str)
def large(request) -> np.ndarray:
    return make_image(*request.param)


@pytest.fixture(params=SMALL, ids=str)
def small(request) -> np.ndarray:
    return make_image(*request.param)


# ImageNet's strengths.


def by_the_library(name: str, image: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
    """What the library makes, which draws from NumPy's global generator: as RandomState(seed) does."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    corrupted = getattr(library, name)(PIL.Image.fromarray(image), severity)
    np.random.set_state(state)  # noqa: NPY002
    return np.asarray(corrupted, np.float64)


@pytest.mark.parametrize("name", sorted(WITHOUT_CHANCE - {"pixelate"}))
def test_large_without_chance_as_the_library(name, large):
    for severity in SEVERITIES:
        expected = by_the_library(name, large, severity)
        assert np.abs(corrupt(large, name, severity, 0) - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("name", "function", "strengths"),
    [
        ("gaussian_noise", noise.gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
        ("shot_noise", noise.shot_noise, (60, 25, 12, 5, 3)),
        ("motion_blur", blur.motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    ],
)
def test_large_with_the_librarys_own_draws(name, function, strengths, large):
    for severity, strength in zip(SEVERITIES, strengths, strict=True):
        expected = by_the_library(name, large, severity, seed=5)
        ours = function(large, strength, np.random.RandomState(5))
        np.testing.assert_allclose(np.clip(ours, 0, 255), expected, atol=0.01)
        assert_strength(name, large, severity, function, strength)


def test_large_glass_as_the_library_with_its_seed(large):
    seed = int(np.random.default_rng(4).integers(2**32))
    expected = library.glass_blur(PIL.Image.fromarray(large), 2, seed=seed)
    ours = blur.glass_blur(large, (0.9, 2, 1), np.random.default_rng(4))
    assert np.abs(ours - expected).max() <= 1.01  # it cuts fractions off between its steps
    strengths = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
    for severity, strength in zip(SEVERITIES, strengths, strict=True):
        assert_strength("glass_blur", large, severity, blur.glass_blur, strength)


def test_large_snow_as_the_library_with_its_draws(large):
    strengths = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )
    for severity, strength in zip(SEVERITIES, strengths, strict=True):
        expected = by_the_library("snow", large, severity, seed=5)
        ours = np.clip(weather.snow(large, strength, np.random.RandomState(5)), 0, 255)
        if severity == 2 and large.shape[0] % 2 == 0:  # where the library does not keep the corner of what it enlarged
            assert np.abs(ours - expected).max() <= 1.01  # it rounds the flakes of each direction
        assert ours.mean() == pytest.approx(expected.mean(), rel=0.03)
        assert_strength("snow", large, severity, weather.snow, strength)


def test_large_fog_as_the_library_with_its_draws(large):
    strengths = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
    for severity, strength in zip(SEVERITIES, strengths, strict=True):
        expected = by_the_library("fog", large, severity, seed=5)
        ours = weather.fog(large, strength, SimpleNamespace(integers=lambda end: 5))
        np.testing.assert_allclose(ours, expected, atol=0.01)
        assert_strength("fog", large, severity, weather.fog, strength)


@pytest.mark.parametrize(
    ("shape", "strengths"),
    [
        ((224, 300), ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1))),
        ((32, 40), ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2))),
    ],
)
def test_frost_is_a_mixture_with_a_piece_of_the_librarys_photographs(shape, strengths):
    image, (height, width) = make_image(*shape), shape
    path = Path(library.__file__).parent / "frost" / "frost5.jpg"
    photograph = np.asarray(PIL.Image.open(path).convert("RGB"))
    for severity, strength in zip(SEVERITIES, strengths, strict=True):
        scaled = cv2.resize(photograph, None, fx=strength[2], fy=strength[2])
        expected = strength[0] * image + strength[1] * scaled[-height:, -width:]
        ours = weather.frost(image, strength, SimpleNamespace(integers=lambda end: end - 1))
        np.testing.assert_array_equal(ours, expected)
        assert_strength("frost", image, severity, weather.frost, strength)


def test_elastic_moves_as_the_librarys_with_its_draws():
    """The library has no affine part, and strengths of its own."""
    image = make_image(128, 128)
    ours = digital.elastic_transform(image, (250 * 0.05 * 0.005, 0.01, 0), np.random.RandomState(5))
    np.random.seed(5)  # noqa: NPY002
    np.random.uniform(size=6)  # noqa: NPY002  # our corners
    expected = library.elastic_transform(PIL.Image.fromarray(image), 1)
    np.testing.assert_allclose(ours, expected, atol=0.02)


def test_the_affine_part_of_elastic_moves_three_corners_of_a_square(small):
    """Red and green of the image tell where a pixel comes from."""
    height, width = small.shape[:2]
    side = min(height, width)
    reach = side // 3
    rows, columns = np.mgrid[:height, :width]
    middle = np.s_[height // 2 - reach : height // 2 + reach + 1, width // 2 - reach : width // 2 + reach + 1]
    places = np.stack([np.ones(small.shape[:2]), rows, columns], axis=-1)[middle].reshape(-1, 3)
    moves = []
    for seed in range(40):
        origin = corrupt(small, "elastic_transform", 1, seed)[middle].reshape(-1, 3)[:, :2] / 255 * (height, width)
        affine, *_ = np.linalg.lstsq(places, origin, rcond=None)
        assert np.abs(places @ affine - origin).mean() < 0.3
        corners = np.array([1, height // 2, width // 2]) + reach * np.array([(0, 1, 1), (0, -1, 1), (0, -1, -1)])
        moves.append(corners @ affine - corners[:, 1:])
    # What comes from there went the other way: by as much, as the moves are small.
    assert np.std(moves) == pytest.approx(0.08 * side / np.sqrt(3), rel=0.2)


def test_strengths_of_elastic():
    side, share = 224, 244 / 224
    strengths = {
        32: ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        side: ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
    }
    for severity in SEVERITIES:
        strength = strengths[32][severity - 1]
        assert_strength("elastic_transform", make_image(32, 40), severity, digital.elastic_transform, strength)
        strength = tuple(share * number for number in strengths[side][severity - 1])
        assert_strength("elastic_transform", make_image(side, side), severity, digital.elastic_transform, strength)


# CIFAR's strengths, and both of what has no counterpart in the library that can be fed with draws.


@pytest.mark.parametrize(
    ("side", "shares"), [(32, (0.01, 0.02, 0.03, 0.05, 0.07)), (128, (0.03, 0.06, 0.09, 0.17, 0.27))]
)
def test_impulse_noise_by_its_share(side, shares):
    for severity, share in zip(SEVERITIES, shares, strict=True):
        noisy = np.stack([corrupt(grey(side), "impulse_noise", severity, seed) for seed in range(20)])
        assert set(np.unique(noisy)) == {0, 127, 255}
        assert (noisy == 0).mean() == pytest.approx(share / 2, rel=0.15)
        assert (noisy == 255).mean() == pytest.approx(share / 2, rel=0.15)


def test_small_noise_by_its_deviation_on_grey_which_nothing_clips():
    for severity, deviation in zip(SEVERITIES, (0.04, 0.06, 0.08, 0.09, 0.10), strict=True):
        noisy = corrupt(grey(64), "gaussian_noise", severity, seed=0).astype(float) - 127
        assert noisy.std() / 255 == pytest.approx(deviation, rel=0.06)
    for severity, photons in zip(SEVERITIES, (500, 250, 100, 75, 50), strict=True):
        noisy = corrupt(grey(64), "shot_noise", severity, seed=0).astype(float)
        assert noisy.mean() == pytest.approx(127, abs=1)
        assert noisy.std() / 255 == pytest.approx(np.sqrt(127 / 255 / photons), rel=0.06)


def test_small_defocus_by_what_becomes_of_a_bright_pixel():
    """A disk within one pixel leaves the softening Gaussian, one of 1.5 px holds nine pixels."""
    point = np.zeros((33, 33, 3), np.uint8)
    point[16, 16] = 255

    def spread(severity):
        return corrupt(point, "defocus_blur", severity, 0)[14:19, 14:19, 0]

    for severity, sigma_px in ((1, 0.4), (2, 0.5), (3, 0.6)):
        line = np.exp(-(np.array([-1, 0, 1]) ** 2) / (2 * sigma_px**2))
        expected = np.pad(255 * np.outer(line, line) / line.sum() ** 2, 1)
        np.testing.assert_allclose(spread(severity), expected, atol=0.51)
    cross = 255 / 5 * np.array([(0, 1, 0), (1, 1, 1), (0, 1, 0)])
    np.testing.assert_allclose(spread(4), np.pad(cross, 1), atol=0.51)
    np.testing.assert_allclose(spread(5), np.pad(np.full((3, 3), 255 / 9), 1), atol=0.51)


def test_small_glass_moves_pixels_by_one():
    """Red and green tell where a pixel comes from; one round takes every pixel from above, the left, or itself."""
    rows, columns = np.mgrid[:32, :32]
    image = np.stack([8 * rows, 8 * columns, 0 * rows], axis=-1).astype(np.uint8)
    moved = corrupt(image, "glass_blur", 1, seed=0)
    offsets = (image.astype(int) - moved)[..., :2] / 8
    assert set(np.unique(offsets)) == {0, 1}
    assert offsets[2:, 2:].mean() == pytest.approx(0.5, abs=0.03)
    assert not offsets[:2].any()
    assert not offsets[:, :2].any()
    strengths = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))
    for severity, strength in zip(SEVERITIES, strengths, strict=True):
        assert_strength("glass_blur", image, severity, blur.glass_blur, strength)


def test_small_motion_as_the_librarys_line_at_cifars_strengths(small):
    strengths = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))
    for severity, strength in zip(SEVERITIES, strengths, strict=True):
        angle = np.random.default_rng([3, ALL.index("motion_blur"), severity]).uniform(-45, 45)
        expected = library._motion_blur(small, *strength, angle)
        assert np.abs(corrupt(small, "motion_blur", severity, seed=3) - expected).max() <= 0.51


@pytest.mark.parametrize("angle", [-135, -90, -60, 0, 20, 45])
def test_the_line_of_movement_as_the_librarys(angle):
    image = make_image(40, 50).astype(np.float32)
    np.testing.assert_allclose(blur.smeared(image, 7, 4, angle), library._motion_blur(image, 7, 4, angle), atol=0.01)


def test_movement_beyond_a_tiny_image_keeps_its_brightness():
    np.testing.assert_allclose(blur.smeared(np.full((8, 8), 0.5, np.float32), 20, 15, -100), 0.5, atol=1e-5)


def test_small_zoom_is_the_mean_over_the_middles_of_enlargements(small):
    height, width = small.shape[:2]
    for severity, end in zip(SEVERITIES, (1.06, 1.11, 1.16, 1.21, 1.26), strict=True):
        layers = [small.astype(float)]
        for factor in np.arange(1, end, 0.01):
            layer = library.clipped_zoom(small.astype(float), factor)
            row, column = (layer.shape[0] - height) // 2, (layer.shape[1] - width) // 2
            layers.append(layer[row : row + height, column : column + width])
        assert np.abs(corrupt(small, "zoom_blur", severity, 0) - np.mean(layers, axis=0)).max() <= 0.51


def test_small_snow_on_black_is_pale_between_the_flakes(small):
    strengths = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )
    for severity, strength in zip(SEVERITIES, strengths, strict=True):
        assert_strength("snow", small, severity, weather.snow, strength)
        if severity < 5:
            snowy = corrupt(np.zeros_like(small), "snow", severity, 0)
            assert snowy.min() == pytest.approx((1 - strength[-1]) * 127.5, abs=1)
            assert snowy.max() > snowy.min() + 30


def test_small_fog_by_its_clouds(small):
    height, width = small.shape[:2]
    strengths = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))
    for severity, (density, decay) in zip(SEVERITIES, strengths, strict=True):
        seed = np.random.default_rng([3, ALL.index("fog"), severity]).integers(2**32)
        np.random.seed(seed)  # noqa: NPY002
        clouds = library.plasma_fractal(128 if width > 64 else 32, decay)[:height, :width, np.newaxis]
        brightest = small.max() / 255
        expected = (small / 255 + density * clouds) * brightest / (brightest + density) * 255
        assert np.abs(corrupt(small, "fog", severity, seed=3) - expected).max() <= 0.51


def test_small_brightness_is_value_of_hsv(small):
    for severity, share in zip(SEVERITIES, (0.05, 0.1, 0.15, 0.2, 0.3), strict=True):
        hsv = matplotlib.colors.rgb_to_hsv(small / 255)
        hsv[..., 2] = np.minimum(hsv[..., 2] + share, 1)
        expected = 255 * matplotlib.colors.hsv_to_rgb(hsv)
        assert np.abs(corrupt(small, "brightness", severity, 0) - expected).max() <= 0.51


def test_small_blur_contrast_and_jpeg_by_their_definitions(small):
    for severity in SEVERITIES:
        sigma_px = (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1]
        blurred = scipy.ndimage.gaussian_filter(small[..., 0].astype(float), sigma_px, mode="nearest")
        assert np.abs(corrupt(small, "gaussian_blur", severity, 0)[..., 0] - blurred).max() <= 0.51
        share, mean = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1], small[..., 1].mean()
        contrast = mean + share * (small[..., 1] - mean)
        assert np.abs(corrupt(small, "contrast", severity, 0)[..., 1] - contrast).max() <= 0.51
        file = io.BytesIO()
        PIL.Image.fromarray(small).save(file, "JPEG", quality=(80, 65, 58, 50, 40)[severity - 1])
        np.testing.assert_array_equal(corrupt(small, "jpeg_compression", severity, 0), PIL.Image.open(file))


@pytest.mark.parametrize(
    ("shape", "shares"),
    [((32, 40), (0.95, 0.9, 0.85, 0.75, 0.65)), ((128, 224), (0.6, 0.5, 0.4, 0.3, 0.25))],
)
def test_pixelate_shrinks_by_means_and_repeats_pixels(shape, shares):
    """Of sides at which no pixel lies in the middle between two of the coarse ones."""
    image, (height, width) = make_image(*shape), shape
    for severity, share in zip(SEVERITIES, shares, strict=True):
        coarse = PIL.Image.fromarray(image).resize((int(width * share), int(height * share)), PIL.Image.Resampling.BOX)
        expected = np.asarray(coarse.resize((width, height), PIL.Image.Resampling.NEAREST))
        pixelated = corrupt(image, "pixelate", severity, 0)
        np.testing.assert_array_equal(pixelated, expected)
        if height == 128:
            np.testing.assert_array_equal(pixelated, by_the_library("pixelate", image, severity))

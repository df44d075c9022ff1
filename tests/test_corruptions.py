"""Corruptions: definitions, strengths, seeds."""

import itertools

import numpy as np
import pytest
import scipy.ndimage

from efficientnet_advprop.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt


@pytest.fixture(params=[32, 128])
def image(request) -> np.ndarray:
    """A smooth picture with an edge."""
    side = request.param
    rows, columns = np.mgrid[:side, :side] / side
    picture = np.stack([255 * rows, 255 * columns, 255 * (rows > columns)], axis=-1)
    return picture.astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_moves_the_picture_further_with_every_severity_and_repeats(name, image):
    distances = []
    for severity in SEVERITIES:
        corrupted = corrupt(image, name, severity, seed=3)
        assert corrupted.dtype == np.uint8
        assert corrupted.shape == image.shape
        np.testing.assert_array_equal(corrupted, corrupt(image, name, severity, seed=3))
        distances.append(np.abs(corrupted.astype(float) - image).mean())
    assert distances[0] > 0
    assert all(weaker < stronger for weaker, stronger in itertools.pairwise(distances)), distances


def test_noise_depends_on_the_seed_and_blur_does_not(image):
    for name in CORRUPTIONS:
        same = np.array_equal(corrupt(image, name, 3, seed=1), corrupt(image, name, 3, seed=2))
        assert same == ("noise" not in name), name


def test_strengths_of_small_and_large_pictures_are_the_published_ones():
    """Noise by its standard deviation on grey, which nothing clips."""
    for side, strengths in ((32, (0.04, 0.06, 0.08, 0.09, 0.10)), (128, (0.08, 0.12, 0.18, 0.26, 0.38))):
        grey = np.full((side, side, 3), 127, np.uint8)
        for severity, expected in zip(SEVERITIES[:3], strengths, strict=False):
            noise = corrupt(grey, "gaussian_noise", severity, seed=0).astype(float) - 127
            assert noise.std() / 255 == pytest.approx(expected, rel=0.06)


def test_blur_contrast_and_pixelation_by_their_definitions(image):
    side = image.shape[0]
    small = side < 96
    blurred = scipy.ndimage.gaussian_filter(image[..., 0].astype(float), 0.7 if small else 3, mode="nearest")
    assert np.abs(corrupt(image, "gaussian_blur", 3, 0)[..., 0] - blurred).max() <= 0.51
    share = 0.4 if small else 0.2
    mean = image[..., 1].mean()
    assert np.abs(corrupt(image, "contrast", 3, 0)[..., 1] - (mean + share * (image[..., 1] - mean))).max() <= 0.51
    if not small:  # a quarter of the side: blocks of four equal pixels
        blocks = corrupt(image, "pixelate", 5, 0).reshape(side // 4, 4, side // 4, 4, 3)
        assert np.ptp(blocks, axis=(1, 3)).max() == 0
        np.testing.assert_allclose(blocks.mean(axis=(1, 3)), image.reshape(blocks.shape).mean(axis=(1, 3)), atol=1.01)


def test_unknown_names_and_severities_are_refused(image):
    with pytest.raises(ValueError, match="unknown corruption 'haze'; known: gaussian_noise"):
        corrupt(image, "haze", 1, 0)
    with pytest.raises(ValueError, match="severity 6"):
        corrupt(image, "contrast", 6, 0)

"""Corruptions: names, seeds, sizes, side effects. For strengths see test_corruption_strengths.py."""

import itertools
import subprocess
import sys
from pathlib import Path

import imagecorruptions
import numpy as np
import pytest

from efficientnet_advprop.evaluation import SEVERITIES
from efficientnet_advprop.evaluation.corruptions import corrupt, table
from efficientnet_advprop.evaluation.imagenet_c import ALEXNET_ERRORS
from efficientnet_advprop.recipes import (
    EXTRA_CORRUPTIONS,
    GROUPS,
    IMAGENET_C_CORRUPTIONS,
    MADE_CORRUPTIONS,
    STUDY_BENCHMARKS,
)

ALL = MADE_CORRUPTIONS
WITHOUT_CHANCE = {
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
}
# The others vary more from image to image than from one severity to the next.
GROWS_WITH_EVERY_SEVERITY = WITHOUT_CHANCE | {"gaussian_noise", "shot_noise", "impulse_noise"}
SMALL, LARGE = [(32, 32), (45, 70)], [(128, 128), (101, 140)]


def make_image(height: int, width: int) -> np.ndarray:
    """Red grows downwards, green to the right, blue has an edge."""
    rows, columns = np.mgrid[:height, :width]
    rows, columns = rows / height, columns / width
    return np.stack([255 * rows, 255 * columns, 255 * (rows > columns)], axis=-1).astype(np.uint8)


def grey(side: int) -> np.ndarray:
    return np.full((side, side, 3), 127, np.uint8)


def distance(image: np.ndarray, other: np.ndarray) -> float:
    return np.abs(image.astype(float) - other).mean()


@pytest.fixture(params=SMALL + LARGE, ids=str)
def image(request) -> np.ndarray:
    return make_image(*request.param)


@pytest.mark.parametrize("name", ALL)
def test_each_changes_the_image_is_repeatable_and_has_no_side_effects(name, image):
    clean, state = image.copy(), np.random.get_state()  # noqa: NPY002
    distances = []
    for severity in SEVERITIES:
        corrupted = corrupt(image, name, severity, seed=3)
        assert (corrupted.dtype, corrupted.shape) == (np.uint8, image.shape)
        np.testing.assert_array_equal(corrupted, corrupt(image, name, severity, seed=3))
        distances.append(distance(corrupted, image))
    assert min(distances) > 0
    if name in GROWS_WITH_EVERY_SEVERITY:
        assert all(weaker < stronger for weaker, stronger in itertools.pairwise(distances)), distances
    np.testing.assert_array_equal(image, clean)
    for before, after in zip(state, np.random.get_state(), strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", ["glass_blur", "motion_blur", "snow", "fog"])
def test_severity_5_is_stronger_than_1_on_average(name, image):
    """Except elastic_transform, whose affine part gets weaker, and frost, which depends more on the photograph."""
    weakest, strongest = (
        np.mean([distance(corrupt(image, name, severity, seed), image) for seed in range(10)]) for severity in (1, 5)
    )
    assert strongest > 1.2 * weakest


@pytest.mark.parametrize("name", ALL)
def test_the_seed_matters_in_random_corruptions(name, image):
    same = np.array_equal(corrupt(image, name, 3, seed=1), corrupt(image, name, 3, seed=2))
    assert same == (name in WITHOUT_CHANCE)


@pytest.mark.parametrize("name", ALL)
def test_any_size(name):
    for shape in ((8, 8), (8, 13), (95, 9), (97, 97), (600, 431)):
        assert corrupt(make_image(*shape), name, 5, seed=0).shape == (*shape, 3)
        assert corrupt(np.zeros((*shape, 3), np.uint8), name, 2, seed=0).shape == (*shape, 3)


def test_names_are_imagenet_cs_in_its_order_and_groups():
    assert tuple(imagecorruptions.get_corruption_names("common")) == IMAGENET_C_CORRUPTIONS
    for group, names in GROUPS.items():
        assert list(names) == imagecorruptions.get_corruption_names(group)
    assert set(STUDY_BENCHMARKS.corruptions) < set(ALL)
    assert tuple(table._TABLE) == ALL
    assert tuple(ALEXNET_ERRORS) == (*IMAGENET_C_CORRUPTIONS, *EXTRA_CORRUPTIONS)


def test_the_noise_of_a_study_is_the_same_as_with_six_corruptions():
    """Their numbers are part of the seed."""
    image = make_image(32, 32)
    rng = np.random.default_rng([7, 0, 2])
    expected = np.clip(np.rint(image + 255 * rng.normal(0, 0.06, image.shape)), 0, 255)
    np.testing.assert_array_equal(corrupt(image, "gaussian_noise", 2, seed=7), expected)
    rng = np.random.default_rng([7, 1, 2])
    expected = np.clip(np.rint(255 * rng.poisson(image / 255 * 250) / 250), 0, 255)
    np.testing.assert_array_equal(corrupt(image, "shot_noise", 2, seed=7), expected)


def test_unknown_names_and_severities_are_refused():
    with pytest.raises(ValueError, match="unknown corruption 'haze'; known: gaussian_noise"):
        corrupt(grey(32), "haze", 1, 0)
    with pytest.raises(ValueError, match="severity 6"):
        corrupt(grey(32), "contrast", 6, 0)


def test_the_import_and_the_corruptions_of_a_study_need_no_numba():
    code = """
import sys
import efficientnet_advprop.evaluation
from efficientnet_advprop.evaluation.corruptions import corrupt, require_libraries
from efficientnet_advprop.recipes import STUDY_BENCHMARKS
import numpy
require_libraries(STUDY_BENCHMARKS.corruptions)
for name in STUDY_BENCHMARKS.corruptions:
    corrupt(numpy.zeros((32, 32, 3), numpy.uint8), name, 1, 0)
print({"imagecorruptions", "llvmlite", "numba", "skimage"} & set(sys.modules))
"""
    root = Path(__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"

"""The sixteen operations of AutoAugment and RandAugment against NumPy, PIL, TensorFlow and Addons."""

import math
import warnings

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from efficientnet_advprop.data.augment import OPERATIONS, addons, apply, plain_tensorflow
from efficientnet_advprop.data.augment.autoaugment import RANDAUGMENT_PIXELS, level_to_argument


def images(min_side):
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=min_side, max_side=12)
    return hnp.arrays(np.uint8, shapes.map(lambda shape: (*shape, 3)))


IMAGES = images(min_side=1)
ANGLES = st.sampled_from([30.0, -45.0, 60.0, 90.0, 180.0]) | st.floats(
    -360, 360, width=32
)  # some meet halves of pixels
DISTANCES = st.integers(-30, 30).map(lambda halves: halves / 2) | st.floats(-2e9, 2e9, width=32)
few_examples = hypothesis.settings(deadline=None, max_examples=40)


def blend(other, image, factor):
    mixed = np.float32(other) + np.float32(factor) * (np.float32(image) - np.float32(other))
    return np.clip(mixed, 0, 255).astype(np.uint8)


def grey(image):
    return (image @ [0.2989, 0.5870, 0.1140])[..., np.newaxis].astype(int)


def warped(image, source_of):
    """Each pixel (x, y) from the nearest to source_of(x, y), 128 where that lies outside."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    source_x, source_y = (np.floor(np.asarray(value) + 0.5).astype(int) for value in source_of(x, y))
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    result = np.full_like(image, 128)
    result[inside] = image[source_y[inside], source_x[inside]]
    return result


def assert_within_one_grey_level(result, expected):
    assert result.dtype == tf.uint8 and result.shape == expected.shape
    assert np.abs(result.numpy().astype(int) - expected.astype(int)).max() <= 1


def test_the_sixteen_operations():
    names = (
        "AutoContrast Brightness Color Contrast Cutout Equalize Invert Posterize Rotate Sharpness ShearX ShearY "
        "Solarize SolarizeAdd TranslateX TranslateY"
    )
    assert " ".join(sorted(OPERATIONS)) == names


@few_examples
@hypothesis.given(IMAGES, st.integers(0, 255), st.integers(-300, 300), st.integers(1, 8), st.floats(-1, 6, width=32))
def test_pointwise_operations(image, threshold, addition, bits, factor):
    wide = image.astype(int)
    grey_levels = tf.image.rgb_to_grayscale(image).numpy()
    for name, argument, expected in (
        ("Invert", None, 255 - wide),
        ("Solarize", threshold, np.where(wide < threshold, wide, 255 - wide)),
        ("SolarizeAdd", addition, np.where(wide < 128, np.clip(wide + addition, 0, 255), wide)),
        ("Posterize", bits, wide & ~(2 ** (8 - bits) - 1)),
        ("Brightness", factor, blend(0, image, factor)),
        ("Color", factor, blend(grey_levels, image, factor)),
        ("Contrast", factor, blend(min(255, image.shape[0] * image.shape[1] // 256), image, factor)),
    ):
        np.testing.assert_array_equal(apply(name, image, argument), expected, err_msg=name)


@few_examples
@hypothesis.given(IMAGES)
def test_auto_contrast_and_equalize_are_pils(image):
    assert_within_one_grey_level(apply("AutoContrast", image), np.array(ImageOps.autocontrast(Image.fromarray(image))))
    np.testing.assert_array_equal(apply("Equalize", image), np.array(ImageOps.equalize(Image.fromarray(image))))


def test_histograms_of_a_photograph(photograph):
    dull = (photograph // 3 + 40) * np.array([1, 0, 1], np.uint8)  # the second channel is constant
    for image in (photograph, dull):
        pil = Image.fromarray(image)
        assert_within_one_grey_level(apply("AutoContrast", image), np.array(ImageOps.autocontrast(pil)))
        np.testing.assert_array_equal(apply("Equalize", image), np.array(ImageOps.equalize(pil)))
    np.testing.assert_array_equal(apply("AutoContrast", dull)[..., 1], dull[..., 1])


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.7, 1.0, 1.9, 5.14])
def test_blends_of_a_photograph(photograph, factor):
    # Grey and smooth images may differ from PIL's by one level of rounding, which the factor magnifies.
    tolerance = 1 + abs(1 - factor)
    pil = Image.fromarray(photograph)
    for name, enhance in (("Color", ImageEnhance.Color), ("Brightness", ImageEnhance.Brightness)):
        difference = apply(name, photograph, factor).numpy().astype(int) - np.array(enhance(pil).enhance(factor))
        assert np.abs(difference).max() <= tolerance, name
    assert_within_one_grey_level(apply("Contrast", photograph, factor), blend(200 * 230 // 256, photograph, factor))
    smooth = np.array(pil.filter(ImageFilter.SMOOTH))  # PIL rounds where the original truncates
    expected = blend(smooth, photograph, factor).astype(int)
    expected[[0, -1]], expected[:, [0, -1]] = photograph[[0, -1]], photograph[:, [0, -1]]
    assert np.abs(apply("Sharpness", photograph, factor).numpy() - expected).max() <= tolerance


def test_color_and_sharpness_truncate(photograph):
    wide = photograph.astype(int)
    total = sum(wide[dy : 198 + dy, dx : 228 + dx] for dy in range(3) for dx in range(3)) + 4 * wide[1:-1, 1:-1]
    expected = photograph.copy()
    expected[1:-1, 1:-1] = blend(total // 13, photograph[1:-1, 1:-1], 0.3)
    assert_within_one_grey_level(apply("Sharpness", photograph, 0.3), expected)
    assert_within_one_grey_level(apply("Color", photograph, 0.3), blend(grey(photograph), photograph, 0.3))


@pytest.mark.parametrize(
    ("name", "argument", "source_of"),
    [
        ("ShearX", 0.27, lambda x, y: (x + 0.27 * y, y)),
        ("ShearX", -0.31, lambda x, y: (x - 0.31 * y, y)),
        ("ShearY", 0.27, lambda x, y: (x, y + 0.27 * x)),
        ("TranslateX", 30, lambda x, y: (x + 30, y)),
        ("TranslateX", -12.6, lambda x, y: (x - 12.6, y)),
        ("TranslateY", 45, lambda x, y: (x, y + 45)),
    ],
)
def test_shear_and_translate(photograph, name, argument, source_of):
    expected = warped(photograph, source_of)
    # A coordinate half-way between two pixels, in float32 on one side, may be rounded either way.
    differs = (apply(name, photograph, argument).numpy() != expected).any(-1)
    assert differs.mean() < 1e-3


@pytest.mark.parametrize("degrees", [24, -9.5, 84])
def test_rotate(photograph, degrees):
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    center_y, center_x = (photograph.shape[0] - 1) / 2, (photograph.shape[1] - 1) / 2

    def source_of(x, y):
        x, y = x - center_x, y - center_y
        return cosine * x - sine * y + center_x, sine * x + cosine * y + center_y

    differs = (apply("Rotate", photograph, degrees).numpy() != warped(photograph, source_of)).any(-1)
    assert differs.mean() < 2e-3
    corner = apply("Rotate", photograph, degrees)[0, 0]
    np.testing.assert_array_equal(corner, [128] * 3)


def projected(image, source_of):
    """The official operations' kernel; the rotation's matrix, in float32 as there, decides between two pixels."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[np.newaxis],
        transforms=tf.cast(source_of, tf.float32)[tf.newaxis],
        output_shape=image.shape[:2],
        fill_value=128.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )[0]


@few_examples
@hypothesis.given(IMAGES, ANGLES, st.floats(-1, 1, width=32), DISTANCES)
def test_geometric_operations_are_tensorflows_projective_transform_to_the_bit(image, degrees, shear, distance):
    size = np.float32(image.shape[:2])
    rotation = plain_tensorflow.rotation(tf.constant(degrees) * (math.pi / 180), size[0], size[1])[0]
    for name, argument, source_of in (
        ("Rotate", degrees, rotation),
        ("ShearX", shear, [1, shear, 0, 0, 1, 0, 0, 0]),
        ("ShearY", shear, [1, 0, 0, shear, 1, 0, 0, 0]),
        ("TranslateX", distance, [1, 0, distance, 0, 1, 0, 0, 0]),
        ("TranslateY", distance, [1, 0, 0, 0, 1, distance, 0, 0]),
    ):
        expected = projected(image, source_of)
        np.testing.assert_array_equal(apply(name, image, argument), expected, err_msg=name)


@pytest.mark.parametrize("degrees", [30, -60, 90, 24])
def test_a_graph_of_known_size_is_not_rearranged(degrees):
    """Grappler reorders sums of three terms, and a rotation by 30 degrees meets halves of pixels."""
    image = np.random.default_rng(0).integers(0, 256, (31, 64, 3), np.uint8)
    rotated = tf.function(lambda argument: apply("Rotate", tf.constant(image), argument), autograph=False)
    np.testing.assert_array_equal(rotated(tf.constant(degrees, tf.float32)), apply("Rotate", image, degrees))


@pytest.mark.skipif(addons.rotation is plain_tensorflow.rotation, reason="TensorFlow Addons is not installed")
def test_operations_are_those_of_addons_to_the_bit(photograph):
    """On 4.6 million values: a photograph, low contrast, one value, and noise in several shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        from tensorflow_addons import image as theirs
    rng = np.random.default_rng(0)
    images = [photograph, photograph // 8 + 90, np.full((40, 31, 3), 7, np.uint8)]
    images += [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in [(1, 1), (5, 7), (31, 64), (64, 31)]]
    for image in map(tf.constant, images):
        np.testing.assert_array_equal(apply("Equalize", image), theirs.equalize(image))
        for degrees, pixels in zip(rng.uniform(-180, 180, 16), rng.uniform(-70, 70, 16), strict=True):
            angle = tf.constant(degrees, tf.float32) * (math.pi / 180.0)
            height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
            np.testing.assert_array_equal(
                plain_tensorflow.rotation(angle, height, width), addons.rotation(angle, height, width)
            )
            rotated = theirs.rotate(image, angle, fill_value=128.0)
            np.testing.assert_array_equal(apply("Rotate", image, degrees), rotated)
            moved = theirs.transform(image, [1.0, 0.0, pixels, 0.0, 1.0, 0.0, 0.0, 0.0], fill_value=128.0)
            np.testing.assert_array_equal(apply("TranslateX", image, pixels), moved)


def test_a_rotation_is_counterclockwise():
    photograph = np.zeros((21, 21, 3), np.uint8)
    photograph[10, 17:] = 255  # to the right of the centre
    assert apply("Rotate", photograph, 90)[1, 10, 0] == 255


def test_cutout_is_a_square_around_any_pixel():
    photograph = np.zeros((30, 40, 3), np.uint8)
    centers = set()
    for seed in range(150):
        covered = apply("Cutout", photograph, 4, (seed, 0)).numpy() == 128
        rows, columns = np.flatnonzero(covered.any((1, 2))), np.flatnonzero(covered.any((0, 2)))
        assert covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert covered.sum() == 3 * len(rows) * len(columns)
        assert 4 <= len(rows) <= 8 and 4 <= len(columns) <= 8
        centers.add((rows[-1], columns[-1]))
    ends = np.array(sorted(centers))
    assert ends[:, 0].min() <= 5 and ends[:, 0].max() == 29 and ends[:, 1].min() <= 6 and ends[:, 1].max() == 39
    for nothing in (0, -3):
        np.testing.assert_array_equal(apply("Cutout", photograph, nothing), photograph)


def test_arguments_above_level_10_wrap_as_in_the_original(photograph):
    argument = {name: level_to_argument(name, 28, RANDAUGMENT_PIXELS) for name in OPERATIONS}
    assert (argument["Solarize"], argument["Posterize"], argument["TranslateX"]) == (716, 11, 280)
    np.testing.assert_array_equal(
        apply("Solarize", photograph, 716), np.where(photograph < 204, photograph, 255 - photograph.astype(int))
    )
    np.testing.assert_array_equal(apply("Solarize", photograph, 256), 255 - photograph.astype(int))
    for bits in (11, 0):
        np.testing.assert_array_equal(apply("Posterize", photograph, bits), photograph & 128)
    np.testing.assert_array_equal(apply("Posterize", photograph, 8), photograph)
    np.testing.assert_array_equal(apply("TranslateX", photograph, 280), np.full_like(photograph, 128))


def test_wrong_calls_are_refused(photograph):
    with pytest.raises(ValueError, match="unknown operation 'Blur'; known: AutoContrast, Equalize, "):
        apply("Blur", photograph, 1)
    with pytest.raises(ValueError, match="Rotate needs an argument"):
        apply("Rotate", photograph)
    with pytest.raises(ValueError, match="Invert takes a uint8 image, not float32"):
        apply("Invert", photograph.astype(np.float32))

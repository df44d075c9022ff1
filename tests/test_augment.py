"""The sixteen operations against NumPy and PIL, and what AutoAugment and RandAugment draw."""

import math
import warnings

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sklearn.datasets import load_sample_image

from efficientnet_advprop.data.augment import (
    OPERATIONS,
    addons,
    apply,
    augmentation_of,
    autoaugment,
    plain_tensorflow,
    randaugment,
)
from efficientnet_advprop.data.augment.autoaugment import (
    AUTOAUGMENT_PIXELS,
    POLICY_V0,
    RANDAUGMENT_PIXELS,
    Steps,
    apply_steps,
    draw_autoaugment,
    draw_randaugment,
    level_to_argument,
)
from efficientnet_advprop.recipes import named_recipe, override

IDENTITY = len(OPERATIONS)
SIGNED = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")


def images(min_side):
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=min_side, max_side=12)
    return hnp.arrays(np.uint8, shapes.map(lambda shape: (*shape, 3)))


IMAGES = images(min_side=1)
ANGLES = st.sampled_from([30.0, -45.0, 60.0, 90.0, 180.0]) | st.floats(
    -360, 360, width=32
)  # some meet halves of pixels
DISTANCES = st.integers(-30, 30).map(lambda halves: halves / 2) | st.floats(-2e9, 2e9, width=32)
few_examples = hypothesis.settings(deadline=None, max_examples=40)


@pytest.fixture(scope="module")
def photograph():
    """A photograph, not square."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[100:300, 200:430])


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


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("Rotate", 8, 24),
        ("ShearX", 9, 0.27),
        ("TranslateY", 9, 225),
        ("Cutout", 9, 90),
        ("Posterize", 6, 2),
        ("Posterize", 2, 0),
        ("Solarize", 3, 76),
        ("SolarizeAdd", 7, 77),
        ("Color", 0, 0.1),
        ("Sharpness", 10, 1.9),
        ("Equalize", 5, 0),
    ],
)
def test_levels(name, level, expected):
    assert level_to_argument(name, level, AUTOAUGMENT_PIXELS) == pytest.approx(expected)


def test_pixel_scale_multiplies_what_is_counted_in_pixels_alone():
    small = RANDAUGMENT_PIXELS.scaled(32 / 224)
    for name in OPERATIONS:
        full, scaled = (level_to_argument(name, 10, pixels) for pixels in (RANDAUGMENT_PIXELS, small))
        if name.startswith("Translate"):
            assert scaled == pytest.approx(full * 32 / 224)
        elif name == "Cutout":
            assert (full, scaled) == (40, 5)
        else:
            assert scaled == full


def test_the_policy_is_complete():
    """Counts and sums of the published table: a typing error would change one of them."""
    steps = [step for pair in POLICY_V0 for step in pair]
    assert len(POLICY_V0) == 25 and {step.operation for step in steps} <= set(OPERATIONS)
    counts = {name: sum(step.operation == name for step in steps) for name in OPERATIONS}
    assert counts == dict.fromkeys(OPERATIONS, 0) | {
        "Equalize": 12, "Color": 9, "Rotate": 7, "Solarize": 8, "ShearX": 2, "ShearY": 4, "SolarizeAdd": 2,
        "Posterize": 2, "AutoContrast": 2, "Invert": 1, "TranslateY": 1,
    }  # fmt: skip
    assert sum(step.level for step in steps) == 240
    assert sum(step.probability for step in steps) == pytest.approx(29.8)
    first, last = POLICY_V0[0], POLICY_V0[-1]
    assert [(step.operation, step.probability, step.level) for step in (*first, *last)] == [
        ("Equalize", 0.8, 1),
        ("ShearY", 0.8, 4),
        ("Color", 0.8, 6),
        ("Rotate", 0.4, 5),
    ]


def drawn(draw, count):
    """Operations and arguments of many draws, [count, S] each."""
    seeds = tf.stack([tf.range(count), tf.fill([count], 5)], axis=1)
    draw_all = tf.function(
        lambda: tf.map_fn(draw, seeds, fn_output_signature=Steps(tf.int32, tf.float32)), autograph=False
    )
    return [values.numpy() for values in draw_all()]


def test_randaugment_draws_every_operation_equally_often_and_either_sign():
    operations, arguments = drawn(lambda seed: draw_randaugment(seed, 3, 9), 3000)
    assert operations.shape == (3000, 3)
    counts = np.bincount(operations.ravel(), minlength=IDENTITY)
    assert len(counts) == IDENTITY
    expected = operations.size / IDENTITY
    assert ((counts - expected) ** 2 / expected).sum() < 40  # chi-square, 15 degrees: 99.95 % lie below
    pairs = np.bincount(operations[:, 0] * IDENTITY + operations[:, 1], minlength=IDENTITY**2)
    assert ((pairs - 3000 / 256) ** 2 / (3000 / 256)).sum() < 340  # 255 degrees: the layers are independent
    for index, name in enumerate(OPERATIONS):
        found = arguments[operations == index]
        level = np.float32(level_to_argument(name, 9, RANDAUGMENT_PIXELS))
        if name in SIGNED:
            assert set(found) == {-level, level} and 0.4 < (found > 0).mean() < 0.6
        else:
            assert set(found) == {level}


def test_autoaugment_draws_sub_policies_equally_often_and_operations_with_their_probability():
    count = 12_000
    operations, arguments = drawn(draw_autoaugment, count)
    expected = np.zeros((2, IDENTITY + 1))
    for pair in POLICY_V0:
        for slot, step in enumerate(pair):
            nothing = (
                level_to_argument(step.operation, step.level, AUTOAUGMENT_PIXELS) == 0 and step.operation in SIGNED
            )
            probability = 0 if nothing else step.probability
            expected[slot, OPERATIONS.index(step.operation)] += probability / 25
            expected[slot, IDENTITY] += (1 - probability) / 25
    for slot in range(2):
        fractions = np.bincount(operations[:, slot], minlength=IDENTITY + 1) / count
        np.testing.assert_allclose(fractions, expected[slot], atol=0.016)  # 3.5 standard deviations of the largest
        assert not fractions[expected[slot] == 0].any()
    moved = arguments[operations[:, 1] == OPERATIONS.index("TranslateY"), 1]
    assert set(moved) == {-225, 225} and 0.4 < (moved > 0).mean() < 0.6


def test_steps_are_applied_one_after_another(photograph):
    order = [OPERATIONS.index("Invert"), IDENTITY, OPERATIONS.index("Brightness")]
    result = apply_steps(photograph, Steps(tf.constant(order), tf.constant([0.0, 0.0, 0.5])), tf.constant([0, 0]))
    np.testing.assert_array_equal(result, apply("Brightness", 255 - photograph, 0.5))


def test_steps_without_effect_are_not_run():
    operations, _ = drawn(lambda seed: draw_randaugment(seed, 2, 5), 300)
    enhanced = {OPERATIONS.index(name) for name in ("Color", "Contrast", "Brightness", "Sharpness")}
    assert IDENTITY in operations and not enhanced & set(operations.ravel())  # factor 1 at level 5


@pytest.mark.parametrize("augment", [autoaugment, randaugment])
def test_the_seed_alone_decides_the_result_in_and_out_of_a_pipeline(photograph, augment):
    seeds = [[seed, 3] for seed in range(12)]
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(lambda seed: augment(tf.constant(photograph), seed))
    results = list(dataset.as_numpy_iterator())
    assert dataset.element_spec == tf.TensorSpec(photograph.shape, tf.uint8)
    for seed, result in zip(seeds, results, strict=True):
        np.testing.assert_array_equal(result, augment(tf.constant(photograph), tf.constant(seed)))
    assert len({result.tobytes() for result in results}) > 6


def test_a_recipe_chooses_its_augmentation(photograph):
    recipe = named_recipe("efficientnet-b0", "digits", "vanilla")
    assert augmentation_of(recipe.data) is None
    changed = override(
        recipe, {"data.augment_name": "randaugment", "data.randaug_num_layers": 1, "data.randaug_magnitude": 28}
    )
    seed = tf.constant([4, 1])
    np.testing.assert_array_equal(
        augmentation_of(changed.data)(photograph, seed), randaugment(photograph, seed, 1, 28, pixel_scale=32 / 224)
    )
    changed = override(recipe, {"data.augment_name": "autoaugment", "data.augment_pixel_scale": 1.0})
    np.testing.assert_array_equal(augmentation_of(changed.data)(photograph, seed), autoaugment(photograph, seed))

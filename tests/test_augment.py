"""What AutoAugment and RandAugment draw, and at which magnitude it is applied."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data.augment import OPERATIONS, apply, augmentation_of, autoaugment, randaugment
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

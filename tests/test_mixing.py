"""MixUp and CutMix, and the views that a training batch holds."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import open_source, train_dataset
from efficientnet_advprop.data.augment import augmentation_of, cutmix, mixup
from efficientnet_advprop.data.preprocessing import augmented, preprocess_train
from efficientnet_advprop.recipes import SCHEMES, Phase, RecipeError, Scheme, Term, named_recipe, override

BATCH, CLASSES = 9, 4  # odd: the middle image is its own counterpart


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    views = {name: rng.uniform(0, 255, (BATCH, 12, 20, 3)).astype(np.float32) for name in ("images", "other")}
    return views, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, BATCH)]


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_is_a_weighted_mean_with_the_reversed_batch(batch, alpha):
    views, labels = batch
    mixed, mixed_labels = mixup(views, tf.constant(labels), alpha, tf.constant([3, 1]))
    difference = views["images"] - views["images"][::-1]
    # The weights, back from the pixels; the middle image is left as it was.
    shares = np.array(
        [
            1.0 if i == BATCH // 2 else np.vdot(m - other, d) / np.vdot(d, d)
            for i, (m, other, d) in enumerate(
                zip(mixed["images"].numpy(), views["images"][::-1], difference, strict=True)
            )
        ],
        np.float32,
    )
    assert len(set(shares.round(4))) > BATCH / 2 and shares.min() >= 0.5 and shares.max() <= 1
    for name, images in views.items():
        share = shares[:, None, None, None]
        np.testing.assert_allclose(mixed[name], images * share + images[::-1] * (1 - share), atol=1e-3)
    share = shares[:, None]
    np.testing.assert_allclose(
        np.delete(mixed_labels, BATCH // 2, 0),
        np.delete(labels * share + labels[::-1] * (1 - share), BATCH // 2, 0),
        atol=1e-5,
    )
    np.testing.assert_allclose(tf.reduce_sum(mixed_labels, 1), 1, rtol=1e-6)


def mixup_coefficients(alpha, count):
    labels = tf.one_hot(tf.range(count) % 2, 2)  # in an even batch, every counterpart has the other label
    _, mixed = mixup({"images": tf.zeros([count, 1, 1, 3])}, labels, alpha, tf.constant([0, 1]))
    return tf.reduce_max(mixed, 1).numpy()


def test_mixups_weights_are_betas_larger_half():
    uniform = np.sort(mixup_coefficients(1.0, 4000))
    np.testing.assert_allclose(uniform, np.linspace(0.5, 1, 4000), atol=0.025)
    few = mixup_coefficients(0.2, 4000)
    assert 0.85 < few.mean() < 0.95  # E max(l, 1 - l) is 0.90 for Beta(0.2, 0.2)
    for alpha in (1e-3, 1e-6):  # where Gamma's samples underflow
        assert (mixup_coefficients(alpha, 500) > 0.99).mean() > 0.98


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_a_box_and_the_labels_are_weighted_by_area(batch, seed):
    views, labels = batch
    mixed, mixed_labels = cutmix(views, tf.constant(labels), 1.0, tf.constant([seed, 1]))
    boxes = (mixed["images"].numpy() != views["images"]).all(-1)
    for index, box in enumerate(boxes):
        rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        assert box.sum() == len(rows) * len(columns)
        if len(rows):
            assert np.ptp(rows) + 1 == len(rows) and np.ptp(columns) + 1 == len(columns)
        for name, images in views.items():
            expected = np.where(box[..., None], images[::-1][index], images[index])
            np.testing.assert_array_equal(mixed[name][index], expected)
        if index != BATCH // 2:
            kept = 1 - box.mean()
            np.testing.assert_allclose(
                mixed_labels[index], kept * labels[index] + (1 - kept) * labels[::-1][index], atol=1e-6
            )
    np.testing.assert_allclose(tf.reduce_sum(mixed_labels, 1), 1, rtol=1e-6)


def test_cutmixs_boxes_cover_a_uniform_fraction_before_clipping():
    count = 2000
    images = tf.reshape(tf.cast(tf.range(count) % 2, tf.float32), [count, 1, 1, 1]) * tf.ones([count, 64, 64, 3])
    mixed, _ = cutmix({"images": images}, tf.zeros([count, 2]), 1.0, tf.constant([0, 0]))
    pasted = tf.reduce_mean(tf.abs(mixed["images"] - images), [1, 2, 3]).numpy()
    # Of a side s, centred anywhere, s - s^2 / 4 is inside on average; with s^2 uniform the square's mean is 0.321.
    assert pasted.mean() == pytest.approx(0.321, abs=0.02)
    assert pasted.max() > 0.9
    assert mixed["images"].numpy().mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_seed_alone_decides_the_mixture(batch, mix):
    views, labels = batch
    first, again, other = (mix(views, tf.constant(labels), 1.0, tf.constant([seed, 0])) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0]["images"], again[0]["images"])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0]["images"].numpy() != other[0]["images"].numpy()).any()


def digits_recipe(scheme="vanilla", **changes):
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return override(named_recipe("efficientnet-b0", "digits", scheme), {"train_batch_size": 8, **changes})


def batches(recipe, count, start_step=0):
    source = open_source(recipe.data, None)
    dataset = train_dataset(source, recipe, tf.distribute.InputContext(1, 0, 1), start_step)
    return list(dataset.take(count).as_numpy_iterator())


@pytest.mark.parametrize(
    "changes",
    [
        {"data__augment_name": "autoaugment"},
        {"data__augment_name": "randaugment", "data__mixup_alpha": 0.2},
        {"data__cutmix_alpha": 1.0},
    ],
)
def test_a_resumed_stream_continues_pixel_by_pixel(changes):
    recipe = digits_recipe(**changes)
    whole, resumed, plain = batches(recipe, 5), batches(recipe, 2, start_step=3), batches(digits_recipe(), 5)
    assert set(whole[0]) == {"images", "labels", "mask", "bad"}
    for one, other in zip(whole[3:], resumed, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert any((one["images"] != other["images"]).any() for one, other in zip(whole, plain, strict=True))


def test_batches_are_mixed_with_seeds_of_their_own():
    recipe = digits_recipe(data__mixup_alpha=1.0)
    weights = [np.sort(batch["labels"].max(1)).round(4).tolist() for batch in batches(recipe, 3)]
    assert weights[0] != weights[1] != weights[2]


@pytest.fixture
def schemes_of_views(monkeypatch):
    """Schemes `two_views`, the second of which comes with the second phase, and `augmented_view`."""
    plain, augmented = (Term(view, view, "main", 1.0) for view in ("images", "images_augmented"))
    two_views = (Phase(1.0, (plain,)), Phase(None, (plain, augmented)))
    for name, phases in (("two_views", two_views), ("augmented_view", (Phase(None, (augmented,)),))):
        monkeypatch.setitem(SCHEMES, name, Scheme(name, "this test", lambda settings, phases=phases: phases))


@pytest.mark.parametrize("augment_name", ["autoaugment", "randaugment"])
def test_views_differ_in_augmentation_alone(schemes_of_views, augment_name):
    changes = {"data__augment_name": augment_name, "data__flip": True}
    both = batches(digits_recipe("two_views", **changes), 2)
    plain = batches(digits_recipe(data__flip=True), 2)
    single = batches(digits_recipe(**changes), 2)
    alone = batches(digits_recipe("augmented_view", **changes), 2)
    assert set(both[0]) == {"images", "images_augmented", "labels", "mask", "bad"}
    assert set(alone[0]) == {"images_augmented", "labels", "mask", "bad"}
    for views, unaugmented, in_one, augmented_alone in zip(both, plain, single, alone, strict=True):
        np.testing.assert_array_equal(views["images"], unaugmented["images"])
        np.testing.assert_array_equal(views["images_augmented"], in_one["images"])
        np.testing.assert_array_equal(views["images_augmented"], augmented_alone["images_augmented"])
        np.testing.assert_array_equal(views["labels"], in_one["labels"])
        assert (views["images"] != views["images_augmented"]).any()


def test_views_are_mixed_alike(schemes_of_views):
    recipe = digits_recipe("two_views", data__augment_name="randaugment", data__cutmix_alpha=1.0)
    (mixed,), (plain,) = batches(recipe, 1), batches(override(recipe, {"data.cutmix_alpha": 0.0}), 1)
    for name in ("images", "images_augmented"):
        pasted = (mixed[name] != plain[name]).any(-1)
        same_as_counterpart = (mixed[name] == plain[name][::-1]).all(-1)
        assert pasted.any() and same_as_counterpart[pasted].all()
    np.testing.assert_allclose(mixed["labels"].sum(1), 1, rtol=1e-6)
    assert (mixed["labels"].max(1) < 1).any()


def test_a_scheme_of_augmented_images_needs_an_augmentation(schemes_of_views):
    assert digits_recipe("two_views").data.augment_name == "autoaugment"
    with pytest.raises(RecipeError, match="scheme two_views trains on augmented images too: it needs --augment_name"):
        digits_recipe("two_views", data__augment_name="none").validate()


def test_preprocessing_augments_whole_grey_levels_after_crop_and_flip():
    encoded = tf.io.encode_png(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    recipe = digits_recipe(data__augment_name="randaugment")
    augmentation, seed = augmentation_of(recipe.data), tf.constant([2, 5])
    plain = preprocess_train(encoded, 48, seed)
    image = augmented(plain, seed, augmentation)
    assert image.dtype == tf.float32 and image.shape == (48, 48, 3)
    np.testing.assert_array_equal(image, np.rint(image))
    untouched = augmented(plain, seed, lambda image, _: image)
    np.testing.assert_array_equal(untouched, np.floor(plain))

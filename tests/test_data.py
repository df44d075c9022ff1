"""Digits, and the batches made of them."""

import math

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from efficientnet_advprop.data import eval_dataset, find_source, open_source, train_dataset
from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import EVALUATION, TRAIN
from efficientnet_advprop.recipes import InputOptions, RecipeError, named_recipe, override

NUM_TRAIN, NUM_EVAL = 1437, 360


def digits_recipe(**changes):
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return override(named_recipe("efficientnet-b0", "digits", "advprop"), changes)


def host(index=0, hosts=1, replicas=1):
    return tf.distribute.InputContext(hosts, index, replicas)


def take(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def joined(batches):
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


@pytest.fixture(scope="module")
def digits():
    return open_source(digits_recipe().data, None)


def test_the_split_is_a_stratified_fifth_with_scikit_learns_labels(digits):
    """Each 8x8 image is found again in scikit-learn's, under its own label, in exactly one of the two parts."""
    original = load_digits()
    label_of = {image.tobytes(): label for image, label in zip(original.images, original.target, strict=True)}
    parts = {}
    recipe = digits_recipe(network__input_image_size=8, data__train_crop="none")
    for part, examples in {
        "train": digits.train_records(recipe, host(), 0, InputOptions()).unbatch().map(lambda _, record, seed: record),
        "eval": digits.records(recipe, EVALUATION).map(lambda _, record: record),
    }.items():
        parts[part] = set()
        for image, label in examples.take(NUM_TRAIN).as_numpy_iterator():
            key = np.rint(image[..., 0] * 16.0 / 255.0).astype(np.float64).tobytes()
            assert label == label_of[key]
            parts[part].add(key)
    assert (len(parts["train"]), len(parts["eval"])) == (NUM_TRAIN, NUM_EVAL)
    assert not parts["train"] & parts["eval"]
    counts = np.bincount([label_of[key] for key in parts["eval"]])
    assert counts.min() >= 34 and counts.max() <= 38
    assert digits.class_names == tuple("0123456789")


def test_batches_have_static_shapes_and_pixels_in_range(digits):
    recipe = digits_recipe()
    train = train_dataset(digits, recipe, host(replicas=2))
    assert {name: (tuple(spec.shape), spec.dtype) for name, spec in train.element_spec.items()} == {
        "images": ((16, 32, 32, 3), tf.float32),
        "labels": ((16, 10), tf.float32),
        "mask": ((16,), tf.float32),
        "bad": ((16,), tf.float32),
    }
    evaluation = eval_dataset(digits, recipe, host())
    assert evaluation.element_spec["labels"] == tf.TensorSpec([72], tf.int32)
    for batch in (*take(train, 3), *take(evaluation, 3)):
        assert batch["images"].min() >= 0 and 200 < batch["images"].max() <= 255
        np.testing.assert_array_equal(batch["images"][..., 0], batch["images"][..., 2])
        np.testing.assert_array_equal(batch["mask"], 1)


@pytest.mark.parametrize("start_step", [1, 44, 45, 100])  # an epoch is 44.9 steps
def test_a_resumed_stream_continues_pixel_by_pixel(digits, start_step):
    recipe = digits_recipe(data__flip=True)
    whole = take(train_dataset(digits, recipe, host()), start_step + 3)
    resumed = take(train_dataset(digits, recipe, host(), start_step), 3)
    assert_same(joined(whole[start_step:]), joined(resumed))


def test_the_seed_decides_order_and_augmentation(digits):
    first, again, other = (
        joined(take(train_dataset(digits, digits_recipe(seed=seed), host()), 2)) for seed in (3, 3, 4)
    )
    assert_same(first, again)
    assert (first["labels"] != other["labels"]).any()


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_every_image_comes_once_per_epoch_over_all_hosts(hosts):
    num_images, batch_size, epochs = 50, 6, 3  # 150 positions are 25 batches; epochs end inside batches
    recipe = digits_recipe(train_batch_size=batch_size)
    streams = []
    for index in range(hosts):
        order = training_order(num_images, recipe, host(index, hosts, hosts), 0).unbatch()
        streams.append(take(order, num_images * epochs // hosts))
    steps = [np.reshape([index for index, _ in stream], (-1, batch_size // hosts)) for stream in streams]
    sequence = np.concatenate(steps, axis=1).reshape(epochs, num_images)  # step by step, host by host
    for epoch in sequence:
        assert sorted(epoch) == list(range(num_images))
    assert (sequence[0] != sequence[1]).any()
    seeds = {tuple(seed) for stream in streams for _, seed in stream}
    assert len(seeds) == num_images * epochs


@pytest.mark.parametrize("hosts", [1, 2])
def test_replicas_together_see_the_single_devices_batch(digits, hosts):
    recipe = digits_recipe()
    single = take(train_dataset(digits, recipe, host(), 43), 3)
    replicas = 4
    shares = [
        take(train_dataset(digits, recipe, host(index, hosts, replicas), 43), 3 * replicas // hosts)
        for index in range(hosts)
    ]
    per_step = replicas // hosts
    for step, batch in enumerate(single):
        pieces = [piece for share in shares for piece in share[step * per_step : (step + 1) * per_step]]
        assert_same(joined(pieces), batch)


def test_a_strategy_hands_the_replicas_the_single_devices_batch(digits, two_replicas):
    recipe = digits_recipe()
    strategy = two_replicas
    batches = iter(strategy.distribute_datasets_from_function(lambda context: train_dataset(digits, recipe, context)))
    for single in take(train_dataset(digits, recipe, host()), 2):
        images = strategy.experimental_local_results(next(batches)["images"])
        np.testing.assert_array_equal(np.concatenate([part.numpy() for part in images]), single["images"])


@pytest.mark.parametrize(
    ("hosts", "replicas", "batch_size"), [(1, 1, 60), (1, 1, 64), (1, 2, 50), (2, 4, 100), (4, 4, 256)]
)
def test_evaluation_counts_every_image_once(digits, hosts, replicas, batch_size):
    recipe = digits_recipe(cadence__eval_batch_size=batch_size)
    everything = []
    for index in range(hosts):
        batches = list(eval_dataset(digits, recipe, host(index, hosts, replicas)).as_numpy_iterator())
        assert len(batches) == math.ceil(NUM_EVAL / batch_size) * replicas // hosts
        everything += batches
    batch = joined(everything)
    real = batch["mask"] == 1
    assert real.sum() == NUM_EVAL
    assert not batch["images"][~real].any() and not batch["mask"][~real].any()
    expected = joined(list(eval_dataset(digits, digits_recipe(), host()).as_numpy_iterator()))
    for name, values in (("images", batch["images"]), ("labels", batch["labels"])):
        order = [sorted(row.tobytes() for row in rows) for rows in (values[real], expected[name])]
        assert order[0] == order[1]


def test_evaluation_images_are_the_same_whatever_the_training_seed(digits):
    first, other = (take(eval_dataset(digits, digits_recipe(seed=seed), host()), 1)[0] for seed in (0, 1))
    assert_same(first, other)


@pytest.mark.parametrize(
    ("changes", "data_dir", "message"),
    [
        ({}, "/images", "--data_dir=/images would have no effect"),
        ({"data__num_train_images": 1500}, None, "num_train_images is 1500, but digits holds 1437 training images"),
        ({"data__num_eval_images": 300}, None, "num_eval_images is 300, but digits holds 360 evaluation images"),
        ({"data__num_label_classes": 12}, None, "num_label_classes is 12, but digits holds 10 classes"),
    ],
)
def test_what_does_not_fit_the_recipe_is_refused(changes, data_dir, message):
    with pytest.raises(RecipeError) as raised:
        open_source(digits_recipe(**changes).data, data_dir)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_the_first_images_of_each_class_make_a_small_training_set():
    few, whole = find_source("digits", None, train_images_per_class=3), find_source("digits", None)
    assert few.facts.known() == {"num_label_classes": 10, "num_train_images": 30, "num_eval_images": NUM_EVAL}
    recipe = digits_recipe(data__num_train_images=30, data__train_images_per_class=3)
    records = {
        name: [record for _, record in source.records(recipe, TRAIN).as_numpy_iterator()]
        for name, source in (("few", few), ("whole", whole))
    }
    expected, seen = [], [0] * 10
    for image, label in records["whole"]:
        if seen[label] < 3:
            expected.append((image, label))
        seen[label] += 1
    assert len(records["few"]) == 30
    for (image, label), (expected_image, expected_label) in zip(records["few"], expected, strict=True):
        np.testing.assert_array_equal(image, expected_image)
        assert label == expected_label
    assert open_source(recipe.data, None).facts == few.facts
    with pytest.raises(RecipeError, match="--train_images_per_class=200 is more than the 139 images"):
        find_source("digits", None, train_images_per_class=200)
    with pytest.raises(RecipeError, match="--train_images_per_class=0: at least 1"):
        find_source("digits", None, train_images_per_class=0)

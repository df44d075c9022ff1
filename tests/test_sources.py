"""All sources of encoded images under the same tests: labels, hosts, counts, order and refusals."""

import collections
import io
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from efficientnet_advprop.data import check_options, eval_dataset, find_source, train_dataset
from efficientnet_advprop.data.source import TRAIN
from efficientnet_advprop.recipes import InputOptions, RecipeError, named_recipe, override
from tests.test_tfrecord import write_split

NUM_CLASSES, NUM_TRAIN, NUM_EVAL = 3, 20, 11
CLASSES = ("ant", "bee", "cat")


def grey_png(value):
    """An image whose grey value is its number; image i has class i % 3."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Greys(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=CLASSES)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, NUM_TRAIN), "test": self._generate_examples(100, NUM_EVAL)}

    def _generate_examples(self, first, number):
        for index in range(number):
            yield index, {"image": io.BytesIO(grey_png(first + index)), "label": index % NUM_CLASSES}


class NoLabels(Greys):
    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"image": tfds.features.Image()})
        )


def write_class_folders(folder, evaluation="val"):
    for split, first, number in (("train", 0, NUM_TRAIN), (evaluation, 100, NUM_EVAL)):
        for index in range(number):
            path = folder / split / CLASSES[index % NUM_CLASSES] / f"{index}.{('png', 'jpg', 'JPEG')[index % 3]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(grey_png(first + index))  # PNGs under JPEG names among them
    (folder / "train" / "ant" / "notes.txt").write_text("not an image")
    (folder / "train" / ".DS_Store").write_text("")


def write_tfrecords(folder):
    for split, first, number in (("train", 0, NUM_TRAIN), ("validation", 100, NUM_EVAL)):
        for shard in range(3):
            with tf.io.TFRecordWriter(str(folder / f"{split}-{shard:05d}-of-00003")) as writer:
                for index in range(number)[shard::3]:
                    writer.write(example(grey_png(first + index), index % NUM_CLASSES + 1))
    (folder / "classes.txt").write_text("\n".join(CLASSES))


def example(image=None, label=None):
    features = {}
    if image is not None:
        features["image/encoded"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    if label is not None:
        features["image/class/label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.fixture(params=["tfrecords", "class folders", "tfds"])
def source(request, tmp_path):
    if request.param == "tfds":
        tfds.builder("greys", data_dir=tmp_path).download_and_prepare()
        return find_source("greys", str(tmp_path))
    (write_tfrecords if request.param == "tfrecords" else write_class_folders)(tmp_path)
    return find_source("imagenet", str(tmp_path))


def recipe_of(**changes):
    small = {
        "network.input_image_size": 16,
        "data.num_label_classes": NUM_CLASSES,
        "data.num_train_images": NUM_TRAIN,
        "data.num_eval_images": NUM_EVAL,
        "data.train_crop": "none",
        "data.eval_crop": "none",
        "data.flip": False,
        "data.augment_name": "none",
        "train_batch_size": 4,
        "cadence.eval_batch_size": 4,
    }
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return override(named_recipe("efficientnet-b0", "imagenet", "advprop"), small | changes)


def host(index=0, hosts=1, replicas=1):
    return tf.distribute.InputContext(hosts, index, replicas)


def images(batches):
    """(grey value, label) of the images that count."""
    found = []
    for batch in batches:
        labels = batch["labels"] if batch["labels"].ndim == 1 else batch["labels"].argmax(axis=1)
        values = np.rint(batch["images"].mean(axis=(1, 2, 3))).astype(int)
        found += [(value, label) for value, label, mask in zip(values, labels, batch["mask"], strict=True) if mask]
    return found


def trained_on(source, recipe, steps, start_step=0, context=None, **options):
    batches = train_dataset(source, recipe, context or host(), start_step, InputOptions(**options))
    return images(batches.take(steps).as_numpy_iterator())


def test_facts_and_class_names(source):
    assert source.facts.known() == {
        "num_label_classes": NUM_CLASSES,
        "num_train_images": NUM_TRAIN,
        "num_eval_images": NUM_EVAL,
    }
    assert source.class_names == CLASSES


def test_labels_are_right_and_every_image_comes_once_per_epoch(source):
    first, second = (trained_on(source, recipe_of(), 5, start_step) for start_step in (0, 5))
    assert first != second
    for epoch in (first, second):
        assert sorted(epoch) == [(index, index % NUM_CLASSES) for index in range(NUM_TRAIN)]


def test_two_hosts_see_every_image_once_per_epoch(source):
    """With sharding by file, hosts end an epoch at different steps: each is followed to the end of its shard."""
    shares = [trained_on(source, recipe_of(), 10, context=host(index, 2, 2)) for index in range(2)]
    everything = [(index, index % NUM_CLASSES) for index in range(NUM_TRAIN)]
    assert any(sorted(shares[0][:count] + shares[1][: NUM_TRAIN - count]) == everything for count in range(NUM_TRAIN))


@pytest.mark.parametrize("use_cache", [False, True])
def test_files_that_do_not_divide_over_hosts_are_sharded_by_record(tmp_path, use_cache):
    """Four files on three hosts: sharded by file, one host would see its images half as often as the others."""
    write_split(tmp_path, "train", (5, 5, 5, 5))
    write_split(tmp_path, "validation", (NUM_EVAL,))
    source = find_source("imagenet", str(tmp_path))
    recipe = recipe_of(train_batch_size=3, data__num_label_classes=5)
    seen = [trained_on(source, recipe, 20, context=host(index, 3, 3), use_cache=use_cache) for index in range(3)]
    counts = collections.Counter(image for share in seen for image in share)
    assert len(counts) == NUM_TRAIN
    assert set(counts.values()) <= {2, 3, 4}


@pytest.mark.parametrize("hosts", [1, 2])
def test_evaluation_counts_every_image_once(source, hosts):
    shares = [eval_dataset(source, recipe_of(), host(index, hosts, 2)).as_numpy_iterator() for index in range(hosts)]
    counted = [image for share in shares for image in images(share)]
    assert sorted(counted) == [(100 + index, index % NUM_CLASSES) for index in range(NUM_EVAL)]


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("use_cache", [False, True])
def test_deterministic_resumes_at_the_exact_image(source, hosts, use_cache):
    for index in range(hosts):
        context = host(index, hosts, hosts)
        whole = trained_on(source, recipe_of(), 9, context=context, deterministic=True, use_cache=use_cache)
        for start_step in (3, 6):
            options = {"deterministic": True, "use_cache": use_cache}
            rest = trained_on(source, recipe_of(), 9 - start_step, start_step, context, **options)
            assert rest and rest == whole[-len(rest) :]


def test_class_folders_resume_exactly_by_default(tmp_path):
    write_class_folders(tmp_path)
    source = find_source("imagenet", str(tmp_path))
    assert trained_on(source, recipe_of(), 6, 3) == trained_on(source, recipe_of(), 9)[12:]


def test_the_first_files_of_each_class_are_those_by_name(tmp_path):
    write_class_folders(tmp_path)
    paths = [path for path, _ in find_source("imagenet", str(tmp_path)).records(None, TRAIN).as_numpy_iterator()]
    few = find_source("imagenet", str(tmp_path), train_images_per_class=2)
    assert few.facts.num_train_images == 2 * NUM_CLASSES
    by_class = [[path for path in paths if f"/{name}/".encode() in path][:2] for name in CLASSES]
    assert [path for path, _ in few.records(None, TRAIN).as_numpy_iterator()] == [
        path for paths in by_class for path in paths
    ]


def test_few_images_per_class_needs_labels_known_before_reading(tmp_path):
    write_tfrecords(tmp_path)
    assert "the labels of TFRecords are known only" in refusal("imagenet", tmp_path, train_images_per_class=2)
    with pytest.raises(RecipeError, match="random images"):
        find_source("fake", None, train_images_per_class=2)


def test_a_cache_reads_the_files_once(tmp_path):
    write_tfrecords(tmp_path)
    source = find_source("imagenet", str(tmp_path))
    batches = train_dataset(source, recipe_of(), host(), 0, InputOptions(use_cache=True)).as_numpy_iterator()
    values = [images([next(batches)]) for _ in range(5)]
    for path in tmp_path.glob("train-*"):
        path.unlink()
    again = [images([next(batches)]) for _ in range(10)]
    for epoch in (values, again[:5], again[5:]):
        assert sorted(image for batch in epoch for image in batch) == [
            (index, index % NUM_CLASSES) for index in range(NUM_TRAIN)
        ]
    assert values != again[:5] != again[5:]


def test_holdout_takes_the_first_training_files(tmp_path):
    write_tfrecords(tmp_path)
    source = find_source("imagenet", str(tmp_path), holdout_shards=1)
    held_out = [(index, index % NUM_CLASSES) for index in range(NUM_TRAIN)[::3]]
    assert (source.facts.num_train_images, source.facts.num_eval_images) == (NUM_TRAIN - 7, 7)
    recipe = recipe_of(data__num_train_images=NUM_TRAIN - 7, data__num_eval_images=7, train_batch_size=1)
    assert sorted(images(eval_dataset(source, recipe, host()).as_numpy_iterator())) == held_out
    assert not set(trained_on(source, recipe, NUM_TRAIN - 7)) & set(held_out)
    assert "holdout_shards 3 holds out all of the 3 training files" in refusal("imagenet", tmp_path, holdout_shards=3)
    assert "holdout_shards -1: at least 0" in refusal("imagenet", tmp_path, holdout_shards=-1)


def test_a_cache_of_what_has_no_records_is_refused(tmp_path):
    write_class_folders(tmp_path)
    with pytest.raises(RecipeError, match="--use_cache would have no effect"):
        check_options(find_source("imagenet", str(tmp_path)), InputOptions(use_cache=True))


def test_fake_images_are_a_function_of_their_number():
    recipe = override(named_recipe("efficientnet-b0", "fake", "advprop"), {"network.input_image_size": 8})
    source = find_source("fake", None)
    first, again = (next(train_dataset(source, recipe, host(), 1).as_numpy_iterator()) for _ in range(2))
    np.testing.assert_array_equal(first["images"], again["images"])
    assert first["images"].shape == (32, 8, 8, 3) and len({image.tobytes() for image in first["images"]}) == 32
    assert sum(batch["mask"].sum() for batch in eval_dataset(source, recipe, host()).as_numpy_iterator()) == 128


def refusal(dataset, data_dir, **options):
    with pytest.raises(RecipeError) as raised:
        find_source(dataset, str(data_dir) if data_dir else None, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_class_folders_that_do_not_fit_are_refused(tmp_path):
    write_class_folders(tmp_path, evaluation="validation")
    assert find_source("imagenet", str(tmp_path)).facts.num_eval_images == NUM_EVAL
    assert "class folders have no shards" in refusal("imagenet", tmp_path, holdout_shards=2)
    (tmp_path / "validation" / "dog").mkdir()
    assert re.search(r"class folder .*validation/dog has no JPEG, PNG, GIF or BMP files", refusal("imagenet", tmp_path))
    (tmp_path / "validation" / "dog" / "1.png").write_bytes(grey_png(1))
    assert "has no folder of training images for dog" in refusal("imagenet", tmp_path)
    (tmp_path / "val").mkdir()
    assert "has val and validation: one folder of evaluation images is needed" in refusal("imagenet", tmp_path)
    (tmp_path / "val").rmdir()
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    assert "has no folder train with a folder of images per class" in refusal("imagenet", tmp_path)


def test_tfds_sets_that_do_not_fit_are_refused(tmp_path):
    unprepared = r"greys is not prepared in .*: run tfds build greys --data_dir=.*; or give --data_dir=FOLDER with TFR"
    assert re.search(unprepared, refusal("greys", tmp_path))
    assert "no_labels of TensorFlow Datasets is not for image classification" in refusal("no_labels", tmp_path)
    assert "unknown dataset 'greyss'" in refusal("greyss", tmp_path)
    tfds.builder("greys", data_dir=tmp_path).download_and_prepare()
    (next(tmp_path.glob("greys/1.0.0/*train*"))).unlink()
    assert re.search(r"greys lacks .*greys-train.tfrecord-00000-of-00001", refusal("greys", tmp_path))


def test_other_refusals(tmp_path):
    assert "holds neither TFRecords" in refusal("imagenet", tmp_path)
    assert "imagenet needs data_dir" in refusal("imagenet", None)
    assert "the images of fake need no folder" in refusal("fake", tmp_path)
    assert "digits have no shards" in refusal("digits", None, holdout_shards=2)
    write_tfrecords(tmp_path)
    (tmp_path / "train-00001-of-00003").write_bytes(b"")
    assert refusal("imagenet", tmp_path) == f"{tmp_path}/train-00001-of-00003 is empty"

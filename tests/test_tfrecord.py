"""Folders of TFRecords: generated with one grey value per image, and CIFAR-10 if it is there."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import bad_image_in, eval_dataset, find_source, open_source, train_dataset
from efficientnet_advprop.data.shards import count_records, damaged_records
from efficientnet_advprop.recipes import RecipeError, named_recipe, override
from tests.real_images import CIFAR10, needs_cifar10

NUM_CLASSES = 5
TRAIN_SHARDS = (7, 2, 9, 6)  # images a file: unequal
EVAL_SHARDS = (5, 1, 7)


def record(value, label):
    encode = tf.io.encode_png if value % 2 else tf.io.encode_jpeg
    image = encode(np.full((16, 16, 3), value, np.uint8)).numpy()
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_split(folder, split, shards, first_value=0):
    """Image i of a split is grey value first_value + i, with label i % K."""
    value = first_value
    for shard, count in enumerate(shards):
        with tf.io.TFRecordWriter(str(folder / f"{split}-{shard:05d}-of-{len(shards):05d}")) as writer:
            for _ in range(count):
                writer.write(record(value, (value - first_value) % NUM_CLASSES + 1))
                value += 1


@pytest.fixture
def folder(tmp_path):
    write_split(tmp_path, "train", TRAIN_SHARDS)
    write_split(tmp_path, "validation", EVAL_SHARDS, first_value=100)
    return tmp_path


def folder_recipe(**changes):
    small = {
        "network.input_image_size": 16,
        "data.num_label_classes": NUM_CLASSES,
        "data.num_train_images": sum(TRAIN_SHARDS),
        "data.num_eval_images": sum(EVAL_SHARDS),
        "data.train_crop": "none",
        "data.eval_crop": "none",
        "data.augment_name": "none",
        "train_batch_size": 4,
        "cadence.eval_batch_size": 4,
    }
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return override(named_recipe("efficientnet-b0", "imagenet", "advprop"), small | changes)


def open_folder(folder, recipe):
    return open_source(recipe.data, str(folder))


def host(index=0, hosts=1, replicas=1):
    return tf.distribute.InputContext(hosts, index, replicas)


def grey_values(batches):
    """The images of some batches by their grey value, without padding."""
    return [
        int(np.rint(image.mean()))
        for batch in batches
        for image, mask in zip(batch["images"], batch["mask"], strict=True)
        if mask
    ]


def take(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def test_every_image_comes_once_per_epoch_with_its_label(folder):
    recipe = folder_recipe()
    batches = take(train_dataset(open_folder(folder, recipe), recipe, host()), 12)
    values = grey_values(batches)
    labels = np.argmax(np.concatenate([batch["labels"] for batch in batches]), axis=1)
    np.testing.assert_array_equal(labels, np.array(values) % NUM_CLASSES)
    assert sorted(values[:24]) == sorted(values[24:]) == list(range(24))
    assert values[:24] != values[24:]


def test_an_epoch_that_no_batch_divides_loses_nothing(folder):
    recipe = folder_recipe(train_batch_size=5)
    values = grey_values(take(train_dataset(open_folder(folder, recipe), recipe, host()), 10))
    assert sorted(values[:24]) == sorted(values[24:48]) == list(range(24))


def test_the_seed_decides_the_order(folder):
    tf.random.set_seed(0)  # as a run does: the global seed must neither matter nor break anything
    orders = []
    for seed in (1, 1, 2):
        recipe = folder_recipe(seed=seed)
        orders.append(grey_values(take(train_dataset(open_folder(folder, recipe), recipe, host()), 6)))
    assert orders[0] == orders[1] != orders[2]


def test_a_resumed_stream_takes_the_rest_of_its_epoch_from_a_fresh_shuffle(folder):
    recipe = folder_recipe()
    source = open_folder(folder, recipe)
    whole = grey_values(take(train_dataset(source, recipe, host()), 12))
    resumed = grey_values(take(train_dataset(source, recipe, host(), start_step=2), 10))
    assert len(set(resumed[:16])) == 16
    assert resumed[:16] != whole[:16]
    assert resumed[16:] == whole[24:]


def host_streams(folder, hosts):
    recipe = folder_recipe(train_batch_size=hosts)
    source = open_folder(folder, recipe)
    return [grey_values(take(train_dataset(source, recipe, host(i, hosts, hosts)), 24)) for i in range(hosts)]


def test_an_epoch_is_sharded_over_two_hosts_by_file(folder):
    """The shards are as unequal as the files."""
    first, second = host_streams(folder, 2)
    assert any(sorted(first[:count] + second[: 24 - count]) == list(range(24)) for count in range(1, 24))


def test_more_hosts_than_files_are_sharded_by_record(folder):
    streams = host_streams(folder, 6)
    for start in (0, 4, 8):
        assert sorted(value for stream in streams for value in stream[start : start + 4]) == list(range(24))


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_evaluation_reads_every_record_once_however_files_are_filled(folder, hosts):
    recipe = folder_recipe()
    source = open_folder(folder, recipe)
    shares = [list(eval_dataset(source, recipe, host(i, hosts, 4)).as_numpy_iterator()) for i in range(hosts)]
    assert {len(share) for share in shares} == {4 * 4 // hosts}
    assert sorted(value for share in shares for value in grey_values(share)) == list(range(100, 113))
    for batch in (batch for share in shares for batch in share):
        values, real = batch["images"].mean(axis=(1, 2, 3)), batch["mask"] == 1
        np.testing.assert_array_equal(batch["labels"][real], (np.rint(values[real]) - 100) % NUM_CLASSES)


def test_class_names(folder):
    recipe = folder_recipe()
    assert open_folder(folder, recipe).class_names is None
    (folder / "classes.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    assert open_folder(folder, recipe).class_names == ("ant", "bee", "cat", "dog", "elk")
    (folder / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(RecipeError, match=r"num_label_classes is 5, but .* holds 2 classes"):
        open_folder(folder, recipe)


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfap\xc3\xa9ro\r\npears\r\n", b"ap\xc3\xa9ro\npears"],
    ids=["byte order mark and the line ends of Windows", "plain"],
)
def test_class_names_are_utf8(folder, content):
    (folder / "classes.txt").write_bytes(content)
    assert find_source("imagenet", str(folder)).class_names == ("ap\xe9ro", "pears")


def test_class_names_in_another_encoding_are_refused(folder):
    (folder / "classes.txt").write_bytes(b"pears\nap\xe9ro\n")
    assert refusal(str(folder)).startswith(f"{folder}/classes.txt is not UTF-8, line 2: convert it")


@pytest.mark.parametrize("label", [0, NUM_CLASSES + 1, 2**32 + 1, -(2**32) + 1, 2**63 - 1])
def test_a_label_out_of_range_is_named(folder, label):
    with tf.io.TFRecordWriter(str(folder / "validation-00001-of-00003")) as writer:
        writer.write(record(50, label))
    recipe = folder_recipe()
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        list(eval_dataset(open_folder(folder, recipe), recipe, host()))
    place = f"{folder}/validation-00001-of-00003 record 0"
    expected = f"bad image: {place}: label {label - 1} outside [0, {NUM_CLASSES}), from 0"
    assert bad_image_in(raised.value) == expected


def refusal(data_dir, recipe=None):
    with pytest.raises(RecipeError) as raised:
        open_source((recipe or folder_recipe()).data, data_dir)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_without_a_folder():
    assert refusal(None).startswith("dataset imagenet needs data_dir, the folder with train-?????-of-?????")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_without_files(folder, split):
    for path in folder.glob(f"{split}-*"):
        path.unlink()
    assert refusal(str(folder)) == f"no file {split}-?????-of-????? in data_dir {folder}"


def test_a_folder_that_does_not_exist(tmp_path):
    assert refusal(str(tmp_path / "none")) == f"no folder {tmp_path / 'none'}"


def test_missing_shards_are_listed(folder):
    (folder / "train-00001-of-00004").unlink()
    (folder / "train-00003-of-00004").unlink()
    assert refusal(str(folder)) == f"data_dir {folder} lacks train-00001-of-00004, train-00003-of-00004"


def test_many_missing_shards_stay_one_short_line(folder):
    for path in folder.glob("train-*"):
        path.unlink()
    (folder / "train-00000-of-01024").touch()
    message = refusal(str(folder))
    assert "train-00008-of-01024 and 1015 more" in message and len(message) < 400


def test_files_that_disagree_on_their_number(folder):
    (folder / "train-00000-of-00009").touch()
    assert refusal(str(folder)) == f"data_dir {folder} mixes train files of 00004 and of 00009 shards"


def test_another_number_of_evaluation_images(folder):
    message = refusal(str(folder), folder_recipe(data__num_eval_images=50))
    assert message == f"num_eval_images is 50, but {folder} holds 13 evaluation images"


@pytest.mark.parametrize("cut_bytes", [1, 20])
def test_a_truncated_evaluation_file(folder, cut_bytes):
    path = folder / "validation-00002-of-00003"
    path.write_bytes(path.read_bytes()[:-cut_bytes])
    assert refusal(str(folder)) == f"{path} is damaged: it does not end with a whole record"


@pytest.mark.parametrize(("kind", "remedy"), [("GZIP", "gzip -dc"), ("ZLIB", "pigz -dzc")])
def test_compressed_files_are_not_called_damaged(folder, kind, remedy):
    path = folder / "validation-00002-of-00003"
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type=kind)) as writer:
        writer.write(record(1, 1))
    message = refusal(str(folder))
    assert message.startswith(f"{path} is compressed ({kind}), and TFRecords are read uncompressed")
    assert f"({remedy} < FILE > NEW)" in message
    assert damaged_records([str(path)]) == [message]  # on remote storage, where files are not counted


def test_records_are_counted(folder):
    assert [count_records(str(folder / f"train-{shard:05d}-of-00004")) for shard in range(4)] == list(TRAIN_SHARDS)


@needs_cifar10
def test_cifar10():
    recipe = folder_recipe(
        network__input_image_size=32,
        data__num_label_classes=10,
        data__num_train_images=50_000,
        data__num_eval_images=10_000,
        data__train_crop="pad_and_crop",
        train_batch_size=128,
        cadence__eval_batch_size=1024,
    )
    source = open_folder(CIFAR10, recipe)
    assert source.class_names[:2] == ("airplane", "automobile")
    labels = np.concatenate(
        [batch["labels"][batch["mask"] == 1] for batch in eval_dataset(source, recipe, host()).as_numpy_iterator()]
    )
    np.testing.assert_array_equal(np.bincount(labels), [1000] * 10)
    batch = take(train_dataset(source, recipe, host(), start_step=1000), 1)[0]
    assert batch["images"].shape == (128, 32, 32, 3) and batch["labels"].sum() == 128

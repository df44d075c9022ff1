"""Folders in the layout of the official ImageNet TFRecords.

Source: `imagenet_input.py` of tensorflow/tpu, models/official/efficientnet, and `tools/datasets/imagenet_to_gcs.py`,
which writes them: files `train-00000-of-01024` and `validation-00000-of-00128`, keys `image/encoded` and
`image/class/label`, which counts from 1.
"""

import os
import re
import struct
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from efficientnet_advprop.data.order import augmentation_seed, order_seed
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import DataSpec, Recipe, RecipeError

_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}

_FILES_AT_A_TIME = 16  # enough to hide the latency of remote storage
_READ_BUFFER_BYTES = 8 * 2**20  # the official code's, for the same reason
_SHUFFLED_BLOCK = 1024  # the official code's buffer: some 110 MB of undecoded ImageNet pictures

_MISSING_SHARDS_NAMED = 8


class TFRecordSource:
    """Pictures in sharded TFRecord files, local or remote.

    Class names come from `classes.txt` in the folder (one a line, in label order) where there is one; otherwise classes
    are called by their numbers from 0. Training pictures are taken to be as many as the recipe says; evaluation
    pictures on a local disk are counted, since a wrong number would go into every accuracy.

    Args:
        spec: number of classes and of training pictures.
        data_dir: the folder.

    Raises:
        RecipeError: when there is no folder, a split has no files, a shard of a split is missing, or an evaluation file
            is damaged.
    """

    def __init__(self, spec: DataSpec, data_dir: str | None) -> None:
        if data_dir is None:
            raise RecipeError(
                "dataset imagenet needs data_dir, the folder with train-?????-of-????? and validation-?????-of-?????"
            )
        try:
            self._train_paths = find_shards(data_dir, "train")
            self._eval_paths = find_shards(data_dir, "validation")
            self.class_names = _class_names(data_dir) or tuple(str(label) for label in range(spec.num_label_classes))
            self.num_eval_images = spec.num_eval_images
            if "://" not in data_dir:  # some 30 us a record on a local disk, a request each on a remote one
                with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
                    self.num_eval_images = sum(pool.map(count_records, self._eval_paths))
        except tf.errors.OpError as error:
            raise RecipeError(f"cannot read data_dir {data_dir}: {error.message}") from error
        self.num_train_images = spec.num_train_images

    def train_examples(self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int) -> tf.data.Dataset:
        """(encoded picture, label, seed).

        Files are shuffled by (seed, epoch), then records within blocks. Records can only be reached by reading all
        those before them, so a resumed stream does not look for its place: it takes as many pictures as the epoch had
        left from a fresh shuffle, and later epochs are whole again.

        Hosts share an epoch by file, or by record when there are fewer files than hosts; each host then reads all.
        """
        hosts, host = context.num_input_pipelines, context.input_pipeline_id
        by_file = len(self._train_paths) >= hosts
        first_epoch, first_offset = divmod(start_step * recipe.train_batch_size, self.num_train_images)

        def epoch_records(epoch: tf.Tensor) -> tf.data.Dataset:
            offset = tf.where(epoch == first_epoch, tf.constant(first_offset, tf.int64), 0)
            seed = order_seed(recipe, epoch, offset)
            paths = tf.data.Dataset.from_tensor_slices(
                tf.random.experimental.stateless_shuffle(tf.constant(self._train_paths), seed)
            )
            records = _read(paths.shard(hosts, host)) if by_file else _read(paths).shard(hosts, host)
            records = _shuffle(records, seed)
            left_on_host = -((offset - self.num_train_images) // hosts)
            whole = tf.constant(-1, tf.int64)
            return (
                records.take(tf.where(offset > 0, left_on_host, whole))
                .enumerate()
                .map(lambda place, record: (record, augmentation_seed(recipe, epoch, offset, place * hosts + host)))
            )

        return (
            tf.data.Dataset.counter(first_epoch)
            .flat_map(epoch_records)
            .map(
                lambda record, seed: (*_parse(record, recipe.data.num_label_classes), seed),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )

    def eval_examples(self, recipe: Recipe) -> tf.data.Dataset:
        """(encoded picture, label) of every record once."""
        records = _read(tf.data.Dataset.from_tensor_slices(self._eval_paths))
        return records.map(
            lambda record: _parse(record, recipe.data.num_label_classes), num_parallel_calls=tf.data.AUTOTUNE
        )


def find_shards(data_dir: str, split: str) -> list[str]:
    """The files of a split in order: `SPLIT-00000-of-N` to the last.

    Raises:
        RecipeError: when there are none, they belong to different N, or some are missing; the message names those.
    """
    pattern = f"{split}-?????-of-?????"
    numbers = [
        match.groups()
        for path in tf.io.gfile.glob(os.path.join(data_dir, pattern))
        if (match := re.search(r"-(\d{5})-of-(\d{5})$", path))
    ]
    if not numbers:
        raise RecipeError(f"no file {pattern} in data_dir {data_dir}")
    totals = sorted({total for _, total in numbers})
    if len(totals) > 1:
        raise RecipeError(f"data_dir {data_dir} mixes {split} files of {' and of '.join(totals)} shards")
    names = [f"{split}-{number:05d}-of-{totals[0]}" for number in range(int(totals[0]))]
    found = {f"{split}-{number}-of-{total}" for number, total in numbers}
    if missing := [name for name in names if name not in found]:
        more = f" and {len(missing) - _MISSING_SHARDS_NAMED} more" if len(missing) > _MISSING_SHARDS_NAMED else ""
        raise RecipeError(f"data_dir {data_dir} lacks {', '.join(missing[:_MISSING_SHARDS_NAMED])}{more}")
    return [os.path.join(data_dir, name) for name in names]


def count_records(path: str) -> int:
    """The number of records in a TFRecord file, from their lengths alone.

    A record is its length (8 bytes), a checksum of that (4), its bytes and a checksum of those (4).

    Raises:
        RecipeError: when the file does not end with a record.
    """
    count = end = 0
    with tf.io.gfile.GFile(path, "rb") as file:
        size = file.size()
        while end < size:
            file.seek(end)
            header = file.read(8)
            if len(header) < 8:
                break
            end += 16 + struct.unpack("<Q", header)[0]
            count += 1
    if end != size:
        raise RecipeError(f"{path} is damaged: it does not end with a whole record")
    return count


def _class_names(data_dir: str) -> tuple[str, ...]:
    path = os.path.join(data_dir, "classes.txt")
    if not tf.io.gfile.exists(path):
        return ()
    with tf.io.gfile.GFile(path) as file:
        return tuple(file.read().splitlines())


def _read(paths: tf.data.Dataset) -> tf.data.Dataset:
    """The records of some files, interleaved.

    In the same order each time, whatever the reading threads do: hosts that share by record rely on it.
    """
    return paths.interleave(
        lambda path: tf.data.TFRecordDataset(path, buffer_size=_READ_BUFFER_BYTES),
        cycle_length=_FILES_AT_A_TIME,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _shuffle(records: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
    """Blocks of records, each in an order of its own.

    Not `Dataset.shuffle`: its order depends on TensorFlow's global seed too, and where that is 0 it refuses a seed that
    is a tensor, as an epoch's is.
    """

    def in_another_order(index: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(block)[0]), fold(seed, index))
        return tf.gather(block, order)

    return records.batch(_SHUFFLED_BLOCK).enumerate().map(in_another_order).unbatch()


def _parse(record: tf.Tensor, num_label_classes: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A record's encoded picture and its label, counted from 0, int32."""
    features = tf.io.parse_single_example(record, _FEATURES)
    label = features["image/class/label"]
    in_range = tf.logical_and(label >= 1, label <= num_label_classes)
    message = ["image/class/label is", label, f"outside [1, {num_label_classes}], the range of num_label_classes"]
    with tf.control_dependencies([tf.debugging.Assert(in_range, message)]):
        return features["image/encoded"], tf.cast(label - 1, tf.int32)

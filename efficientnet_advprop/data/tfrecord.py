"""Folders in the layout of the official ImageNet TFRecords.

Source: `imagenet_input.py` of tensorflow/tpu, models/official/efficientnet, and `tools/datasets/imagenet_to_gcs.py`,
which writes them: files `train-00000-of-01024` and `validation-00000-of-00128`, keys `image/encoded` and
`image/class/label`, which counts from 1.
"""

import os

import tensorflow as tf

from efficientnet_advprop.data.records import RecordSource
from efficientnet_advprop.data.shards import find_shards, hold_out
from efficientnet_advprop.recipes import RecipeError

# A missing label becomes 0, which is no class's; a missing image becomes an empty string, which cannot be decoded.
_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string, default_value=""),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64, default_value=0),
}


def open_tfrecords(data_dir: str, holdout_shards: int = 0, evaluation_only: bool = False) -> RecordSource:
    """A folder of official TFRecords.

    Class names come from `classes.txt` in the folder, one per line in label order, if it exists. Images on a local disk
    are counted, because a wrong number would make every epoch and accuracy wrong.

    Args:
        data_dir: the folder, local or remote.
        holdout_shards: as in `DataSpec`.
        evaluation_only: training files are not needed.

    Raises:
        RecipeError: when a split has no files, a shard is missing or empty, or a file is damaged.
    """
    class_names = _class_names(data_dir)
    num_label_classes = len(class_names) if class_names else None
    evaluation = find_shards(data_dir, "validation")
    if evaluation_only and not holdout_shards:
        return RecordSource(data_dir, None, evaluation, _parse, num_label_classes, class_names)
    train, evaluation = hold_out(find_shards(data_dir, "train"), evaluation, holdout_shards)
    return RecordSource(data_dir, train, evaluation, _parse, num_label_classes, class_names)


def _class_names(data_dir: str) -> tuple[str, ...] | None:
    path = os.path.join(data_dir, "classes.txt")
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")  # some editors begin with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path} is not UTF-8, line {line}: convert it, as iconv -f LATIN1 -t UTF-8 does") from error
    return tuple(text.rstrip().splitlines()) or None


def _parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A record's encoded image and its label, int64, counted from 0."""
    features = tf.io.parse_single_example(record, _FEATURES)
    return features["image/encoded"], features["image/class/label"] - 1

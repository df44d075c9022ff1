"""Image classification data sets that TensorFlow Datasets (TFDS) has prepared on disk."""

import os

import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from efficientnet_advprop.data.class_names import named_synsets
from efficientnet_advprop.data.records import RecordSource
from efficientnet_advprop.data.shards import Shards, hold_out
from efficientnet_advprop.recipes import DATASETS, RecipeError, first_line, names_instead

_EVALUATION_SPLITS = ("validation", "test")


class NotPreparedError(RecipeError):
    """A known data set that is not on disk; the message names the command that prepares it."""


def open_tfds(name: str, data_dir: str | None, holdout_shards: int = 0, evaluation_only: bool = False) -> RecordSource:
    """A prepared data set with the features `image` and `label` and the splits `train` and `validation` or `test`.

    Nothing is downloaded. The files are read as plain TFRecords, so that sharding over hosts and resuming work as for
    all TFRecords: the order of `Builder.as_dataset` is not a function of the epoch.

    Args:
        name: as `tfds.builder` takes it, such as "cifar10" or "imagenet2012".
        data_dir: of TFDS; None is its default, ~/tensorflow_datasets.
        holdout_shards: as in `DataSpec`.
        evaluation_only: the split `train` is not needed.

    Raises:
        NotPreparedError: for a data set that is not prepared.
        RecipeError: for one that is unknown or not of this form.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # TFDS logs warnings about what is an error below
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
        info, is_prepared = builder.info, builder.is_prepared()
    except (tfds.core.registered.DatasetNotFoundError, ValueError, AssertionError, KeyError, ImportError) as error:
        names = [*DATASETS, *sorted(set(tfds.list_builders(with_community_datasets=False)) - set(DATASETS))]
        reason = "" if isinstance(error, tfds.core.registered.DatasetNotFoundError) else f" ({first_line(error)})"
        raise RecipeError(f"unknown dataset {name!r}{reason}{names_instead(name, names)}") from error
    finally:
        logging.set_verbosity(verbosity)
    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    label = features.get("label")
    if not isinstance(features.get("image"), tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
        raise RecipeError(
            f"{name} of TensorFlow Datasets is not for image classification: it lacks the feature image or label"
        )
    if not is_prepared:
        where = f" --data_dir={data_dir}" if data_dir else ""
        raise NotPreparedError(f"{name} is not prepared in {builder.data_dir}: run tfds build {name}{where}")
    splits = info.splits
    evaluation = next((split for split in _EVALUATION_SPLITS if split in splits), None)
    needs_train = not evaluation_only or holdout_shards > 0
    if evaluation is None or (needs_train and "train" not in splits):
        raise RecipeError(f"{name} has the splits {', '.join(splits)}: train and validation or test are needed")
    train_shards, evaluation_shards = None, _shards(splits[evaluation], name)
    if needs_train:
        train_shards, evaluation_shards = hold_out(_shards(splits["train"], name), evaluation_shards, holdout_shards)

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = info.features.deserialize_example(record, decoders={"image": tfds.decode.SkipDecoding()})
        return example["image"], example["label"]

    where = f"{builder.data_dir} (split {'train, held out' if holdout_shards else evaluation})"
    names = named_synsets(tuple(label.names))
    return RecordSource(where, train_shards, evaluation_shards, parse, label.num_classes, names, info.full_name)


def _shards(split: tfds.core.SplitInfo, name: str) -> Shards:
    """The files of a split, with the numbers of records that TFDS stored.

    Raises:
        RecipeError: when a file is missing, or the files are not TFRecords.
    """
    paths = tuple(os.fspath(path) for path in split.filepaths)
    if split.filename_template.filetype_suffix != "tfrecord":
        raise RecipeError(
            f"{name} is prepared as {split.filename_template.filetype_suffix} files: prepare it as tfrecord"
        )
    if missing := [path for path in paths if not tf.io.gfile.exists(path)]:
        raise RecipeError(f"{name} lacks {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""))
    return Shards(paths, tuple(split.shard_lengths))

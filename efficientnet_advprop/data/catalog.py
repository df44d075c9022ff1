"""Which source holds a data set: by its name and by what its folder holds."""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from efficientnet_advprop.data.class_folders import ClassFolderSource, has_class_folders
from efficientnet_advprop.data.digits import DigitsSource
from efficientnet_advprop.data.fake import FakeSource
from efficientnet_advprop.data.records import RecordSource
from efficientnet_advprop.data.source import Source
from efficientnet_advprop.data.tfds_source import NotPreparedError, open_tfds
from efficientnet_advprop.data.tfrecord import open_tfrecords
from efficientnet_advprop.paths import named_like
from efficientnet_advprop.recipes import WITHOUT_FOLDER, DataSpec, InputOptions, RecipeError, first_line

_IMAGENET_ON_TFDS = "imagenet2012"
_TFRECORD_SPLITS = ("train", "validation")


def find_source(
    dataset: str,
    data_dir: str | None,
    holdout_shards: int = 0,
    evaluation_only: bool = False,
    train_images_per_class: int | None = None,
) -> Source:
    """Find the images, without using a device.

    A folder with official TFRecords or class folders is read as such, whatever the data set's name. Any other folder is
    taken for that of TensorFlow Datasets (TFDS), which finds the data set by its name.

    Args:
        dataset: name of the data set, as in `DataSpec`.
        data_dir: its folder, local or gs://; None for data that need none, and for TFDS's default folder.
        holdout_shards: as in `DataSpec`.
        evaluation_only: training images are not needed.
        train_images_per_class: as in `DataSpec`.

    Raises:
        RecipeError: when images are missing or the arguments exclude each other.
    """
    if dataset in WITHOUT_FOLDER:
        if data_dir is not None:
            raise RecipeError(f"--data_dir={data_dir} would have no effect: the images of {dataset} need no folder")
        _refuse_holdout(holdout_shards, dataset)
        if dataset == "digits":
            return DigitsSource(train_images_per_class)
        _refuse_few_images(train_images_per_class, "random images")
        return FakeSource()
    if data_dir is None and dataset == "imagenet":
        raise RecipeError(
            "dataset imagenet needs data_dir, the folder with train-?????-of-????? and validation-?????-of-?????, or "
            f"with train/CLASS/ and val/CLASS/; --dataset={_IMAGENET_ON_TFDS} reads it through TensorFlow Datasets"
        )
    try:
        if data_dir is not None:
            if not tf.io.gfile.isdir(data_dir):
                raise RecipeError(f"no folder {data_dir}")
            if any(named_like(data_dir, f"{split}-?????-of-?????") for split in _TFRECORD_SPLITS):
                _refuse_few_images(train_images_per_class, "TFRecords")
                return open_tfrecords(data_dir, holdout_shards, evaluation_only)
            if has_class_folders(data_dir):
                _refuse_holdout(holdout_shards, "class folders")
                return ClassFolderSource(data_dir, evaluation_only, train_images_per_class)
        if dataset == "imagenet":
            raise RecipeError(
                f"data_dir {data_dir} holds neither TFRecords (train-?????-of-?????, validation-?????-of-?????) nor "
                "class folders (train/CLASS/, val/CLASS/); to read it through TensorFlow Datasets add "
                f"--dataset={_IMAGENET_ON_TFDS}"
            )
        _refuse_few_images(train_images_per_class, "data sets of TensorFlow Datasets")
        return open_tfds(dataset, data_dir, holdout_shards, evaluation_only)
    except NotPreparedError as error:
        raise RecipeError(f"{error}; or give --data_dir=FOLDER with TFRecords or class folders") from error
    except (tf.errors.OpError, OSError) as error:
        raise RecipeError(f"cannot read data_dir {data_dir}: {first_line(error)}") from error


def open_source(spec: DataSpec, data_dir: str | None, evaluation_only: bool = False) -> Source:
    """Find the images of a recipe and compare their number and their classes with it.

    Args:
        spec: the data set.
        data_dir: its folder.
        evaluation_only: training images are not needed, and their number is not compared.

    Raises:
        RecipeError: as `find_source`, and when the numbers of images or classes differ from the recipe's.
    """
    train_images_per_class = None if evaluation_only else spec.train_images_per_class
    source = find_source(spec.dataset, data_dir, spec.holdout_shards, evaluation_only, train_images_per_class)
    facts = dataclasses.replace(source.facts, num_train_images=None) if evaluation_only else source.facts
    facts.check(spec)
    return source


def labelled_as(source: Source, class_names: Sequence[str] | None, record: str) -> Source:
    """The source with the labels of a record, if its images are in class folders and the record is of their classes.

    Args:
        source: of the images.
        class_names: recorded, in label order; None if unknown.
        record: what holds them, for a note in the source's facts.
    """
    if class_names is None or not isinstance(source, ClassFolderSource):
        return source
    return source.labelled_as(class_names, record)


def check_options(source: Source, options: InputOptions) -> None:
    """Refuse options that have no effect on this source; the RecipeError names the option."""
    where, in_memory = source.facts.where, isinstance(source, DigitsSource | FakeSource)
    for flag in ("use_cache", "deterministic"):
        if getattr(options, flag) and not isinstance(source, RecordSource):
            raise RecipeError(f"--{flag} would have no effect: it is for TFRecords, and {where} has none")
    if options.bad_images == "skip" and in_memory:
        raise RecipeError(f"--bad_images=skip would have no effect: the images of {where} are not read from files")


def _refuse_holdout(holdout_shards: int, what: str) -> None:
    if holdout_shards:
        raise RecipeError(f"--holdout_shards={holdout_shards} would have no effect: {what} have no shards")


def _refuse_few_images(train_images_per_class: int | None, what: str) -> None:
    if train_images_per_class is not None:
        raise RecipeError(
            f"--train_images_per_class={train_images_per_class} is for digits and class folders: the labels of {what} "
            "are known only once they are read"
        )

"""Folders with a folder of pictures per class: DIR/train/CLASS/* and DIR/val/CLASS/* (or DIR/validation)."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.class_names import named_synsets
from efficientnet_advprop.data.few_images import first_of_each_class
from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import TRAIN
from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe, RecipeError

TRAIN_FOLDERS = ("train",)
EVALUATION_FOLDERS = ("val", "validation")

_SUFFIXES = (".jpg", ".jpeg", ".png")
_FOLDERS_AT_A_TIME = 16  # enough to hide the latency of remote storage
_NAMED = 3


class ClassFolderSource:
    """JPEG and PNG files in class folders; the sorted names of the folders are the classes in label order.

    Files that are neither by their names, and hidden ones, are left out.

    Args:
        data_dir: the folder, local or remote.
        evaluation_only: do without training pictures.
        train_images_per_class: as in `DataSpec`; the first by their names.

    Raises:
        RecipeError: when a split is missing or there twice, a class has no pictures or fewer than asked for, or the
            splits have other classes.
    """

    def __init__(self, data_dir: str, evaluation_only: bool = False, train_images_per_class: int | None = None) -> None:
        evaluation = _class_files(data_dir, EVALUATION_FOLDERS)
        self.class_names = named_synsets(tuple(evaluation))
        self._evaluation = _labelled(evaluation)
        num_classes, num_eval_images = len(evaluation), len(self._evaluation[0])
        self.facts = DataFacts(data_dir, num_classes, None, num_eval_images)
        if evaluation_only:
            return
        train = _class_files(data_dir, TRAIN_FOLDERS)
        for there, missing, where in ((evaluation, train, "training"), (train, evaluation, "evaluation")):
            if extra := sorted(set(there) - set(missing)):
                more = f" and {len(extra) - _NAMED} more" if len(extra) > _NAMED else ""
                raise RecipeError(
                    f"data_dir {data_dir} has no folder of {where} pictures for {', '.join(extra[:_NAMED])}{more}"
                )
        paths, labels = _labelled(train)
        kept = first_of_each_class(labels, train_images_per_class)
        self._train = [paths[place] for place in kept], labels[kept]
        self.facts = DataFacts(data_dir, num_classes, len(self._train[0]), num_eval_images)

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """(path, (path, label), seed); what a step sees depends on the recipe and the step alone."""
        del options
        paths, labels = (tf.constant(values) for values in self._train)

        def record(index: tf.Tensor, seed: tf.Tensor) -> tuple:
            path = tf.gather(paths, index)
            return path, (path, tf.gather(labels, index)), seed

        return training_order(len(self._train[0]), recipe, context, start_step).map(record)

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(path, (path, label)) class by class."""
        del recipe
        files = tf.data.Dataset.from_tensor_slices(self._train if split == TRAIN else self._evaluation)
        return files.map(lambda path, label: (path, (path, label)))

    def read(self, record: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The file's bytes and the label."""
        path, label = record
        return tf.io.read_file(path), label


def has_class_folders(data_dir: str) -> bool:
    """Whether the folder has one of the splits' folders."""
    return any(tf.io.gfile.isdir(os.path.join(data_dir, name)) for name in (*TRAIN_FOLDERS, *EVALUATION_FOLDERS))


def _class_files(data_dir: str, names: tuple[str, ...]) -> dict[str, list[str]]:
    """A split's paths by class, both sorted."""
    there = [name for name in names if tf.io.gfile.isdir(os.path.join(data_dir, name))]
    if not there:
        raise RecipeError(f"data_dir {data_dir} has no folder {' or '.join(names)} with a folder of pictures per class")
    if len(there) > 1:
        raise RecipeError(f"data_dir {data_dir} has {' and '.join(there)}: which one is meant?")
    split = os.path.join(data_dir, there[0])

    def pictures(name: str) -> list[str]:
        files = sorted(tf.io.gfile.listdir(os.path.join(split, name)))
        return [
            os.path.join(split, name, file)
            for file in files
            if file.lower().endswith(_SUFFIXES) and not file.startswith(".")
        ]

    # Remote file systems end the names of folders with a slash.
    entries = sorted(entry.rstrip("/") for entry in tf.io.gfile.listdir(split))
    entries = [entry for entry in entries if not entry.startswith(".")]
    with ThreadPoolExecutor(_FOLDERS_AT_A_TIME) as pool:
        folders = pool.map(lambda entry: tf.io.gfile.isdir(os.path.join(split, entry)), entries)
        classes = [entry for entry, is_folder in zip(entries, folders, strict=True) if is_folder]
        files = dict(zip(classes, pool.map(pictures, classes), strict=True))
    if not classes:
        raise RecipeError(f"{split} has no class folders")
    for name, paths in files.items():
        if not paths:
            raise RecipeError(f"class folder {os.path.join(split, name)} has no JPEG or PNG files")
    return files


def _labelled(files: dict[str, list[str]]) -> tuple[list[str], np.ndarray]:
    """All paths, and their labels int32."""
    labels = np.repeat(np.arange(len(files), dtype=np.int32), [len(paths) for paths in files.values()])
    return [path for paths in files.values() for path in paths], labels

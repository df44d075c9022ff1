"""Image files in one folder per class."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from efficientnet_advprop.recipes import RecipeError

_SUFFIXES = (".jpg", ".jpeg", ".png")
_FOLDERS_AT_A_TIME = 16  # enough to hide the latency of remote storage


def class_folders(folder: str) -> list[str]:
    """The sorted names of a folder's subfolders, without hidden ones."""
    # Remote file systems end the names of folders with a slash.
    entries = sorted(entry.rstrip("/") for entry in tf.io.gfile.listdir(folder))
    entries = [entry for entry in entries if not entry.startswith(".")]
    with ThreadPoolExecutor(_FOLDERS_AT_A_TIME) as pool:
        are_folders = list(pool.map(lambda entry: tf.io.gfile.isdir(os.path.join(folder, entry)), entries))
    return [entry for entry, is_folder in zip(entries, are_folders, strict=True) if is_folder]


def class_files(folder: str, classes: Sequence[str]) -> dict[str, list[str]]:
    """Sorted paths of the JPEG and PNG files of each class; hidden files and other suffixes are ignored.

    Args:
        folder: holds a folder for each class.
        classes: names of these folders.

    Raises:
        RecipeError: when a class has no such file.
    """

    def images(name: str) -> list[str]:
        files = sorted(tf.io.gfile.listdir(os.path.join(folder, name)))
        return [
            os.path.join(folder, name, file)
            for file in files
            if file.lower().endswith(_SUFFIXES) and not file.startswith(".")
        ]

    with ThreadPoolExecutor(_FOLDERS_AT_A_TIME) as pool:
        files = dict(zip(classes, pool.map(images, classes), strict=True))
    for name, paths in files.items():
        if not paths:
            raise RecipeError(f"class folder {os.path.join(folder, name)} has no JPEG or PNG files")
    return files


def labelled(files: Mapping[str, Sequence[str]], labels: Sequence[int]) -> tuple[list[str], np.ndarray]:
    """All paths, class by class, and their labels int32 [N].

    Args:
        files: paths by class.
        labels: of the classes, in the order of `files`.
    """
    numbers = np.repeat(np.asarray(labels, np.int32), [len(paths) for paths in files.values()])
    return [path for paths in files.values() for path in paths], numbers


def file_records(paths: Sequence[str], labels: np.ndarray) -> tf.data.Dataset:
    """(path, (path, label)) of each file: a location and a record, as sources yield them."""
    files = tf.data.Dataset.from_tensor_slices((paths, labels))
    return files.map(lambda path, label: (path, (path, label)))


def read_file(record: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """The file's bytes and the label, from a record of `file_records`."""
    path, label = record
    return tf.io.read_file(path), label

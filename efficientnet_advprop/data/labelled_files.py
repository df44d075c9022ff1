"""Image files in one folder per class."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.listing import FILE, FOLDER, as_tensor, entries, joined, kinds_in_words
from efficientnet_advprop.files import is_remote
from efficientnet_advprop.recipes import RecipeError

# What TensorFlow decodes in every version; 2.21 decodes WebP too, 2.15 does not.
_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif")
_FOLDERS_AT_A_TIME = 16  # enough to hide the latency of remote storage


class ClassFiles(NamedTuple):
    """The files in class folders.

    Attributes:
        images: sorted paths of the image files by folder, or by class.
        left_out: paths of what is not read, by kind.
    """

    images: dict[str, list[str]]
    left_out: dict[str, list[str]]

    def notes(self) -> tuple[str, ...]:
        """A line about what is left out, for the user; empty if it is nothing."""
        return (f"left out: {kinds_in_words(self.left_out)}",) if self.left_out else ()


def class_folders(folder: str) -> list[str]:
    """The sorted names of a folder's subfolders, without hidden ones."""
    found = [(name, kind) for name, kind in entries(folder) if not name.startswith(".")]

    def is_folder(entry: tuple[str, str]) -> bool:
        name, kind = entry
        return kind == FOLDER or (is_remote(folder) and tf.io.gfile.isdir(os.path.join(folder, name)))

    with ThreadPoolExecutor(_FOLDERS_AT_A_TIME) as pool:
        are_folders = list(pool.map(is_folder, found))
    return [name for (name, _), is_one in zip(found, are_folders, strict=True) if is_one]


def class_files(folder: str, classes: Sequence[str]) -> ClassFiles:
    """The image files of each class folder, and what else is there.

    Args:
        folder: holds a folder for each class.
        classes: names of these folders.

    Raises:
        RecipeError: when a class has no image file.
    """
    with ThreadPoolExecutor(_FOLDERS_AT_A_TIME) as pool:
        found = dict(zip(classes, pool.map(lambda name: _sorted_out(os.path.join(folder, name)), classes), strict=True))
    for name, (images, left_out) in found.items():
        if not images:
            instead = f" ({kinds_in_words(left_out)})" if left_out else ""
            raise RecipeError(f"class folder {os.path.join(folder, name)} has no JPEG, PNG, GIF or BMP files{instead}")
    others = sorted(name for name, _ in entries(folder) if name not in found)
    beside = {"beside the class folders": [os.path.join(folder, name) for name in others]} if others else {}
    return ClassFiles(
        {name: images for name, (images, _) in found.items()},
        joined(*(left_out for _, left_out in found.values()), beside),
    )


def _sorted_out(folder: str) -> tuple[list[str], dict[str, list[str]]]:
    """The paths of a class folder's images, and of what is no image, by kind."""
    images: list[str] = []
    left_out: dict[str, list[str]] = {}
    for name, kind in entries(folder):
        suffix = os.path.splitext(name)[1].lower()
        if name.startswith("."):
            what = "hidden files"
        elif kind != FILE:
            what = "folders in class folders" if kind == FOLDER else "pipes, devices and broken links"
        elif suffix in _SUFFIXES:
            images.append(os.path.join(folder, name))
            continue
        else:
            what = f"{suffix} files" if suffix else "files without a suffix"
        left_out.setdefault(what, []).append(os.path.join(folder, name))
    return images, left_out


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
    files = tf.data.Dataset.from_tensor_slices((as_tensor(paths), labels))
    return files.map(lambda path, label: (path, (path, label)))


def read_file(record: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """The file's bytes and the label, from a record of `file_records`."""
    path, label = record
    return tf.io.read_file(path), label

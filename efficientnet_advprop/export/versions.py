"""Numbered folders, renamed when complete, because TensorFlow Serving loads any folder named by a number."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from efficientnet_advprop.locks import hold
from efficientnet_advprop.paths import names_in


@contextlib.contextmanager
def new_version(export_dir: str) -> Iterator[tuple[str, str]]:
    """A folder to write to. It gets its number when the block ends without an error, and is removed otherwise.

    Another process that exports to the same place is waited for. What killed ones left is removed.

    Args:
        export_dir: parent of the versions; made if absent.

    Yields:
        The folder, and its later name, `export_dir/VERSION`, with the next free number.
    """
    with hold("export_dir", export_dir, wait=True):
        version = os.path.join(export_dir, str(max(versions_in(export_dir), default=0) + 1))
        unfinished = os.path.join(export_dir, f".unfinished-{os.getpid()}")
        try:
            tf.io.gfile.makedirs(unfinished)
            yield unfinished, version
            tf.io.gfile.rename(unfinished, version)
        finally:
            if tf.io.gfile.exists(unfinished):
                tf.io.gfile.rmtree(unfinished)


def files_of(folder: str) -> list[str]:
    """Every file below a folder, sorted."""
    return sorted(os.path.join(parent, name) for parent, _, names in tf.io.gfile.walk(folder) for name in names)


def bytes_of(path: str) -> int:
    """Size of a file, or of all files below a folder."""
    paths = files_of(path) if tf.io.gfile.isdir(path) else [path]
    return sum(tf.io.gfile.stat(file).length for file in paths)


def versions_in(export_dir: str) -> list[int]:
    """The numbers of the finished versions, in no order."""
    return [int(name) for name in names_in(export_dir) if name.isdecimal()]

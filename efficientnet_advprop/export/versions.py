"""Numbered folders, renamed when complete, because TensorFlow Serving loads any folder named by a number."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def new_version(export_dir: str) -> Iterator[tuple[str, str]]:
    """A folder to write to. It gets its number when the block ends without an error, and is removed otherwise.

    Args:
        export_dir: parent of the versions; made if absent.

    Yields:
        The folder, and its later name, `export_dir/VERSION`, with the next free number.
    """
    tf.io.gfile.makedirs(export_dir)
    version = os.path.join(export_dir, str(_next_version(export_dir)))
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


def _next_version(export_dir: str) -> int:
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(export_dir))  # gs:// lists folders with a slash
    return max((int(name) for name in names if name.isdigit()), default=0) + 1

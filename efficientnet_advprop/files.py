"""Atomic writing of files, local or remote."""

import os

import tensorflow as tf


def write_atomic(path: str, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it. A missing folder is made.

    A write that fails or is killed leaves the file as it was.
    """
    if os.path.dirname(path):
        tf.io.gfile.makedirs(os.path.dirname(path))
    temporary = f"{path}.tmp"
    try:
        with tf.io.gfile.GFile(temporary, "w" if isinstance(content, str) else "wb") as file:
            file.write(content)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.remove(temporary)


def is_remote(path: str) -> bool:
    """Whether a path is on remote storage, where each access is a request."""
    return "://" in path

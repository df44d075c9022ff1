"""Atomic writing of files, and reading of those that an earlier process wrote, local or remote."""

import os
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from efficientnet_advprop.recipes import RecipeError, first_line

_Content = TypeVar("_Content")


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


def read_or_refuse(path: str, convert: Callable[[bytes], _Content], remedy: str) -> _Content:
    """The content of a small file, which may be damaged.

    Args:
        path: of the file.
        convert: bytes of the file -> content; its RecipeError says what is wrong.
        remedy: what the user can do about a damaged file.

    Raises:
        RecipeError: naming the file, what is wrong, and the remedy.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return convert(file.read())
    except (RecipeError, tf.errors.OpError) as error:
        raise RecipeError(f"{path} cannot be read: {first_line(error)}; {remedy}") from error


def latest_checkpoint(folder: str) -> str | None:
    """The checkpoint that a folder's file `checkpoint` names; None when it names no whole one, or there is none.

    Raises:
        RecipeError: when the file is no record of checkpoints.
    """
    try:
        return tf.train.latest_checkpoint(folder)
    except ValueError as error:  # not UTF-8, or no checkpoint named
        path = os.path.join(folder, "checkpoint")
        remedy = "restore it, or name a checkpoint of the folder with --init_checkpoint"
        raise RecipeError(f"{path} cannot be read: {first_line(error)}; {remedy}") from error

"""Files written whole or not at all, local or remote, and read although they may be damaged."""

import errno
import os
import re
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from efficientnet_advprop.paths import is_remote, names_in
from efficientnet_advprop.recipes import RecipeError, first_line

# Names that only an unfinished write has, of this program or of TensorFlow.
_UNFINISHED = re.compile(
    r"\.unfinished-.+|\.writable-\d+(\.tmp)?|\.worker-\d+|.+\.(json|jsonl|md|png|npz)\.tmp"
    r"|step-\d+_temp|checkpoint\.tmp.*"
)

_FULL = re.compile(r"(?:.*}} )?(.*); (?:No space left on device|Disk quota exceeded)")  # TensorFlow's words
# Behind one may be a file, to which its opener writes too.
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr|fd/\d+)|/proc/(self|\d+)/fd/\d+")
_Content = TypeVar("_Content")


def write_atomic(path: str, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it. A missing folder is made.

    A write that fails or is killed leaves the file as it was. A symbolic link stays: its target is written. What is no
    file, such as a device or a FIFO, is written to.
    """
    if takes_a_stream(path):
        try:
            with open(path, "ab") as file:
                file.write(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error  # that of a write does not name the file
        return
    path = behind_links(path)
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


def remove_leftovers(folder: str) -> None:
    """Remove what killed processes left half written in a folder. Only its owner may call this."""
    for name in names_in(folder):
        if _UNFINISHED.fullmatch(name):
            path = os.path.join(folder, name)
            (tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove)(path)


def takes_a_stream(path: str) -> bool:
    """Whether a local path is neither a file nor a folder: a device, FIFO or socket, or an open file's descriptor."""
    if is_remote(path) or not os.path.exists(path) or os.path.isdir(path):
        return False
    return not os.path.isfile(path) or _DESCRIPTOR.fullmatch(os.path.abspath(path)) is not None


def behind_links(path: str) -> str:
    """The path to which a local symbolic link leads; any other path itself.

    Raises:
        OSError: when links lead in a circle.
    """
    if is_remote(path) or not os.path.islink(path):
        return path
    target = os.path.realpath(path)
    if os.path.islink(target):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return target


def without_space(error: BaseException) -> str | None:
    """The path for which a disk or a quota has no space left; None for other errors."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(error.filename or "a file")
    found = _FULL.match(first_line(error)) if isinstance(error, tf.errors.ResourceExhaustedError) else None
    return found and found[1]


def require_reachable(what: str, path: str) -> None:
    """Refuse a path on storage that TensorFlow does not know or does not reach.

    Raises:
        RecipeError: naming `what` and the path.
    """
    try:
        tf.io.gfile.exists(path)
    except tf.errors.UnimplementedError as error:
        raise RecipeError(
            f"{what} {path}: TensorFlow reads local paths and gs://, not {path.split(':')[0]}://"
        ) from error
    except tf.errors.OpError as error:
        raise RecipeError(f"{what} {path} cannot be reached: {first_line(error)}") from error


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

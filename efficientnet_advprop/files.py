"""Atomic writing of files, local or remote, and finding files by names that may hold any character.

TensorFlow's own searches (`tf.io.gfile.glob`, `tf.train.latest_checkpoint`) read `[`, `*` and `?` in a folder's name as
a pattern, and then miss the files that are there. Here a folder is always meant as it is written.
"""

import errno
import fnmatch
import os
import re

import tensorflow as tf

from efficientnet_advprop.recipes import RecipeError, first_line

_PATTERN = re.compile(r"[][*?\\]")
_ESCAPED = re.compile(r"\\([][*?\\])")
# Names that only an unfinished write has, of this program or of TensorFlow.
_UNFINISHED = re.compile(
    r"\.unfinished-.+|\.writable-\d+(\.tmp)?|\.worker-\d+|.+\.(json|jsonl|md|png|npz)\.tmp"
    r"|step-\d+_temp|checkpoint\.tmp.*"
)

# A folder that this process has opened has a second path here, made of digits.
_DESCRIPTORS = "/proc/self/fd"
_opened: dict[str, int] = {}
_FULL = re.compile(r"(?:.*}} )?(.*); (?:No space left on device|Disk quota exceeded)")  # TensorFlow's words


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


def is_remote(path: str) -> bool:
    """Whether a path is on remote storage, where each access is a request."""
    return "://" in path


def names_in(folder: str) -> list[str]:
    """The sorted names of what is in a folder; none where there is no such folder.

    Raises:
        RecipeError: when it cannot be listed.
    """
    if not tf.io.gfile.isdir(folder):
        return []
    try:
        # TensorFlow cannot list local names that are not UTF-8. Remote file systems end those of folders with a slash.
        names = tf.io.gfile.listdir(folder) if is_remote(folder) else os.listdir(folder)
    except (tf.errors.OpError, OSError) as error:
        raise RecipeError(f"{folder} cannot be listed: {first_line(error)}") from error
    return sorted(name.rstrip("/") for name in names)


def named_like(folder: str, pattern: str) -> list[str]:
    """The sorted paths of what is in a folder under names that match a pattern, such as `*.index`."""
    return [os.path.join(folder, name) for name in names_in(folder) if fnmatch.fnmatchcase(name, pattern)]


def paths_like(pattern: str) -> list[str]:
    """The sorted paths that match a pattern, such as `FOLDER/*/*.jpg`.

    A part of it that is the name of something there stands for that alone, whatever characters it holds.
    """
    scheme, separator, rest = pattern.rpartition("://")
    root = scheme + separator or ("/" if pattern.startswith("/") else "")
    found = [root]
    for part in filter(None, rest.split("/")):
        found = [path for folder in found for path in _parts_like(folder, part)]
    return [] if found == [root] else sorted(found)


def _parts_like(folder: str, part: str) -> list[str]:
    path = os.path.join(folder, part)
    # The first part of a remote path, a bucket, cannot be listed.
    if folder.endswith("://") or tf.io.gfile.exists(path):
        return [path]
    if not _PATTERN.search(part):
        return []
    pattern = _ESCAPED.sub(r"[\1]", part)
    names = [name for name in names_in(folder or ".") if fnmatch.fnmatchcase(name, pattern)]
    return [os.path.join(folder, name) for name in names]


def remove_leftovers(folder: str) -> None:
    """Remove what killed processes left half written in a folder. Only its owner may call this."""
    for name in names_in(folder):
        if _UNFINISHED.fullmatch(name):
            path = os.path.join(folder, name)
            (tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove)(path)


def plain_path(path: str) -> str:
    """A path of the same file or folder for TensorFlow's readers of checkpoints, which take their path for a pattern.

    Args:
        path: a folder, or the prefix of a checkpoint.

    Raises:
        RecipeError: when its characters cannot be avoided: on remote storage, or where there is no /proc.
    """
    if not _PATTERN.search(path):
        return path
    folder, name = (path, "") if os.path.isdir(path) else os.path.split(path)
    if _PATTERN.search(name) or not os.path.isdir(folder) or not os.path.isdir(_DESCRIPTORS):
        raise RecipeError(f"{path} cannot be read: TensorFlow takes [ ] * ? and \\ in it for a pattern; rename it")
    known = _opened.get(folder)
    if known is None or not os.path.samestat(os.fstat(known), os.stat(folder)):
        _opened[folder] = known = os.open(folder, os.O_RDONLY)  # kept: readers open their files late
    opened = os.path.join(_DESCRIPTORS, str(known))
    return os.path.join(opened, name) if name else opened


def takes_a_stream(path: str) -> bool:
    """Whether a local path is neither a file nor a folder: a device, FIFO or socket, or a name such as /dev/stdout."""
    if is_remote(path) or not os.path.exists(path) or os.path.isdir(path):
        return False
    return not os.path.isfile(path) or os.path.abspath(path).startswith("/dev/")


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

"""Finding files by names that may hold any character.

TensorFlow's own searches (`tf.io.gfile.glob`, `tf.train.latest_checkpoint`) read `[`, `*` and `?` in a folder's name as
a pattern, and then miss the files that are there. Here a folder is always meant as it is written.
"""

import fnmatch
import os
import re

import tensorflow as tf

from efficientnet_advprop.recipes import RecipeError, first_line

_PATTERN = re.compile(r"[][*?\\]")
_ESCAPED = re.compile(r"\\([][*?\\])")
# A folder that this process has opened has a second path here, made of digits.
_DESCRIPTORS = "/proc/self/fd"
_opened: dict[str, int] = {}


def is_remote(path: str) -> bool:
    """Whether a path is on remote storage, where each access is a request."""
    return "://" in path


def is_address(path: str) -> bool:
    """Whether a path is a web address. TensorFlow reads none; weights are downloaded from them."""
    return path.startswith(("https://", "http://"))


def names_in(folder: str) -> list[str]:
    """The sorted names of what is in a folder; none where there is no such folder.

    Raises:
        RecipeError: when it cannot be listed.
    """
    # TensorFlow takes no local names that are not UTF-8. Remote file systems end those of folders with a slash.
    is_folder, listed = (tf.io.gfile.isdir, tf.io.gfile.listdir) if is_remote(folder) else (os.path.isdir, os.listdir)
    try:
        names = listed(folder) if is_folder(folder) else []
    except (tf.errors.OpError, OSError) as error:
        raise RecipeError(f"{folder} cannot be listed: {first_line(error)}") from error
    return sorted(name.rstrip("/") for name in names)


def named_like(folder: str, pattern: str) -> list[str]:
    """The sorted paths of what is in a folder under names that match a pattern, such as `*.index`."""
    return [os.path.join(folder, name) for name in names_in(folder) if fnmatch.fnmatchcase(name, pattern)]


def has_wildcard(name: str) -> bool:
    """Whether a part of a pattern is more than a name."""
    return _PATTERN.search(name) is not None


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
    if folder.endswith("://") or (tf.io.gfile if is_remote(path) else os.path).exists(path):
        return [path]
    if not has_wildcard(part):
        return []
    pattern = _ESCAPED.sub(r"[\1]", part)
    names = [name for name in names_in(folder or ".") if fnmatch.fnmatchcase(name, pattern)]
    return [os.path.join(folder, name) for name in names]


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

"""What folders hold: files, folders and what is neither, local or remote.

Names on a local disk need not be UTF-8. In paths they are strings as Python's `os` gives them (the other bytes as
surrogates), in tensors bytes; `shown` makes them readable.
"""

import collections
import os
import re
from collections.abc import Mapping, Sequence

import tensorflow as tf

from efficientnet_advprop.files import is_remote

FILE, FOLDER, OTHER = "file", "folder", "other"

_KINDS_NAMED = 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a message and a class name are one line


def entries(folder: str) -> list[tuple[str, str]]:
    """The sorted (name, kind) of what a folder holds; a link is of the kind that it leads to.

    `OTHER` is what must not be opened, as reading it may never end: pipes, devices, sockets, and links to nothing.
    Remote storage has none; a folder there is known by the slash at the end of its name, if its file system gives one.
    """
    if is_remote(folder):
        names = tf.io.gfile.listdir(folder)
        return sorted((name.rstrip("/"), FOLDER if name.endswith("/") else FILE) for name in names)
    with os.scandir(folder) as found:  # gfile.listdir fails at the first name that is not UTF-8
        return sorted((entry.name, _kind(entry)) for entry in found)


def is_file(path: str) -> bool:
    """Whether a local path is a regular file or a link to one; remote storage has no other files."""
    return is_remote(path) or os.path.isfile(path)


def as_tensor(paths: Sequence[str]) -> tf.Tensor:
    """Paths as a string tensor [N]."""
    return tf.constant([os.fsencode(path) for path in paths], tf.string)


def shown(path: str) -> str:
    r"""A name or path for people, and for files that must be UTF-8: other bytes as \xNN, control characters escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def kinds_in_words(paths: Mapping[str, Sequence[str]]) -> str:
    """How many paths there are of each kind, with an example: `.webp files: 3, such as a/b.webp; folders: 1, ...`.

    Args:
        paths: by kind.
    """
    most = sorted(paths.items(), key=lambda item: (-len(item[1]), item[0]))
    named = [f"{kind}: {len(of)}, such as {of[0]}" for kind, of in most[:_KINDS_NAMED]]
    if rest := most[_KINDS_NAMED:]:
        named.append(f"of {len(rest)} other kinds: {sum(len(of) for _, of in rest)}")
    return shown("; ".join(named))


def joined(*parts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Paths by key, of several mappings in their order."""
    together: dict[str, list[str]] = collections.defaultdict(list)
    for part in parts:
        for key, paths in part.items():
            together[key] += paths
    return dict(together)


def _kind(entry: os.DirEntry) -> str:
    """A link is looked up by its path: `is_dir` of an entry raises an error for a link to itself."""
    if entry.is_symlink():
        return FOLDER if os.path.isdir(entry.path) else FILE if os.path.isfile(entry.path) else OTHER
    return FOLDER if entry.is_dir() else FILE if entry.is_file() else OTHER

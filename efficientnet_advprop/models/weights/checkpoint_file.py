"""Names, shapes and values in a TensorFlow checkpoint, with errors that a user can act on."""

import hashlib
import os
import re

import numpy as np
import tensorflow as tf

from efficientnet_advprop.checkpoint_names import recorded
from efficientnet_advprop.files import read_or_refuse
from efficientnet_advprop.models.weights.safetensors_file import SUFFIX
from efficientnet_advprop.paths import named_like, names_in, plain_path
from efficientnet_advprop.recipes import RecipeError, first_line

_INDEX = ".index"
_PART_OF_CHECKPOINT = re.compile(r"\.(index|data-\d{5}-of-\d{5}|meta)$")
_NAMED_AT_MOST = 20


class CheckpointFile:
    """A reader of a checkpoint in TensorFlow's format, written by TF1 or TF2.

    Args:
        path: a checkpoint's prefix (without `.index` or `.data-...`), or a folder that holds one, local or remote.
        given: what the user named it by, if that is not its path.

    Attributes:
        path: the prefix.
        given: what the user named it by.
        shapes: shape of every tensor by name.

    Raises:
        RecipeError: when there is none, when there are several without a record of the newest, or when its index cannot
            be read.
    """

    def __init__(self, path: str, given: str | None = None) -> None:
        self.path = find_checkpoint(path)
        self.given = self.path if given is None or given == path else given
        try:
            self._reader = tf.train.load_checkpoint(plain_path(self.path))
            self.shapes: dict[str, list[int]] = self._reader.get_variable_to_shape_map()
        except (tf.errors.OpError, ValueError, IndexError) as error:
            raise self._unreadable(error) from error

    def read(self, name: str) -> np.ndarray:
        """A tensor's value.

        Raises:
            RecipeError: when a shard is missing or damaged.
        """
        try:
            return self._reader.get_tensor(name)
        except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
            raise (self._cut(error) or self._unreadable(error)) from error

    def _cut(self, error: Exception) -> RecipeError | None:
        """The refusal of data that end early, which TensorFlow's reader calls an IndexError; None of another error."""
        data = _data_files(self.path)
        if not isinstance(error, IndexError) or not data:
            return None
        sizes = ", ".join(f"{path}: {tf.io.gfile.stat(path).length:,} bytes" for path in data)
        return RecipeError(f"checkpoint {self.path} is incomplete ({sizes}): download, unpack or copy it again")

    def _unreadable(self, error: Exception) -> RecipeError:
        return RecipeError(f"checkpoint {self.path} cannot be read: {first_line(error)}")


def _data_files(prefix: str) -> list[str]:
    folder, name = os.path.split(prefix)
    return [
        path for path in named_like(folder or ".", "*.data-*") if os.path.basename(path).startswith(f"{name}.data-")
    ]


def digest_of(prefix: str) -> str:
    """A digest of the values in a checkpoint, in a SavedModel's `variables/variables` or in a safetensors file.

    It is that of the index, which holds a checksum of every variable, or of the safetensors file.

    Raises:
        RecipeError: when there is no index or file.
    """
    path = prefix if prefix.endswith(SUFFIX) else prefix + _INDEX
    return read_or_refuse(path, hashlib.sha256, "restore it").hexdigest()[:16]


def find_checkpoint(path: str) -> str:
    """The prefix of the checkpoint at a path.

    Of a folder it is the newest checkpoint by the folder's record (`checkpoint`), or the only one where the record is
    missing or names a file elsewhere, as in unpacked archives. A path may also name one of a checkpoint's files.

    Raises:
        RecipeError: when there is none, or several without a record of the newest.
    """
    try:
        path = _PART_OF_CHECKPOINT.sub("", path)
        if tf.io.gfile.exists(path + _INDEX):
            return path
        if not tf.io.gfile.isdir(path):
            if tf.io.gfile.exists(path):
                raise RecipeError(
                    f"{path} is a single file, not a checkpoint; an archive is read if it is a .tar.gz on this "
                    f"machine, others have to be unpacked; if it is PyTorch's, save its state dict as {SUFFIX}"
                )
            raise RecipeError(f"no checkpoint {path}: neither a folder nor a file {path}{_INDEX}")
        if prefix := recorded(path):
            return prefix
        found = named_like(path, f"*{_INDEX}")
    except tf.errors.OpError as error:
        raise RecipeError(f"cannot look for a checkpoint in {path}: {first_line(error)}") from error
    if len(found) == 1:
        return found[0].removesuffix(_INDEX)
    if not found:
        versions = [name for name in names_in(path) if tf.saved_model.contains_saved_model(os.path.join(path, name))]
        newest = max(versions, key=lambda name: (len(name), name), default=None)  # they are numbers
        hint = f"; give {os.path.join(path, newest)}, which is a SavedModel" if newest else ""
        raise RecipeError(f"no checkpoint in {path}: no file *{_INDEX} or model{SUFFIX}{hint}")
    names = [os.path.basename(name).removesuffix(_INDEX) for name in found]
    raise RecipeError(
        f"{path} holds several checkpoints ({listed(names)}): name one of them, such as {path}/{names[-1]}"
    )


def listed(names: list[str]) -> str:
    """Names for a message: the first twenty, and the number of the others."""
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more

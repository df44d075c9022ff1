"""Names, shapes and values in a safetensors file, with errors that a user can act on."""

import os

import numpy as np
import tensorflow as tf  # registers bfloat16 with NumPy
from safetensors import SafetensorError, safe_open

from efficientnet_advprop.paths import is_remote
from efficientnet_advprop.recipes import RecipeError, first_line

SUFFIX = ".safetensors"
_IN_FOLDER = f"model{SUFFIX}"  # its name on the Hugging Face hub
_NUMBERS = ("F16", "BF16", "F32", "F64")


class SafetensorsFile:
    """A reader of a safetensors file, with the interface of `CheckpointFile`.

    Args:
        path: of the file.

    Attributes:
        path: of the file.
        shapes: shape of every tensor by name.

    Raises:
        RecipeError: when it is remote, missing, or no safetensors file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if is_remote(path):  # its reader maps the file into memory
            raise RecipeError(f"{path} is remote: safetensors files are read from local disks, copy it to one")
        if not os.path.exists(path):
            raise RecipeError(f"no file {path}")
        try:
            self._file = safe_open(path, framework="np")
            self._slices = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError) as error:
            raise self._unreadable(error) from error
        self.shapes: dict[str, list[int]] = {name: list(one.get_shape()) for name, one in self._slices.items()}

    def read(self, name: str) -> np.ndarray:
        """A tensor's value, float32. Numbers of half precision are exact in it.

        Raises:
            RecipeError: when it holds no floating-point numbers, or cannot be read.
        """
        stored = self._slices[name].get_dtype()
        if stored not in _NUMBERS:
            raise RecipeError(f"{self.path}: {name} is {stored}; read are {', '.join(_NUMBERS)}")
        try:
            return self._file.get_tensor(name).astype(np.float32)
        except (SafetensorError, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> RecipeError:
        return RecipeError(f"{self.path} cannot be read as safetensors: {first_line(error)}")


def find_safetensors(path: str) -> str | None:
    """The safetensors file that a path means: itself, or `model.safetensors` in a folder; None for all other paths."""
    if path.endswith(SUFFIX):
        return path
    inside = os.path.join(path, _IN_FOLDER)
    try:
        return inside if tf.io.gfile.exists(inside) else None
    except tf.errors.OpError:
        return None  # the search for a checkpoint says that the folder cannot be reached

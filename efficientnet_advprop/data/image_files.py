"""Single image files, for prediction."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.bad_images import reason_without_ops
from efficientnet_advprop.data.listing import is_file, shown
from efficientnet_advprop.data.preprocessing import preprocess_eval
from efficientnet_advprop.paths import paths_like
from efficientnet_advprop.recipes import DataSpec, RecipeError, first_line

_FILES_AT_A_TIME = 16


def find_images(pattern: str) -> list[str]:
    """The files, local or remote, that match a pattern such as `FOLDER/*.jpg`, or have it as their name, sorted.

    Raises:
        RecipeError: when there are none.
    """
    try:
        paths = [path for path in paths_like(pattern) if not tf.io.gfile.isdir(os.fsencode(path))]
        is_folder = tf.io.gfile.isdir(pattern)
    except tf.errors.OpError as error:
        raise RecipeError(f"cannot look for images in {pattern}: {first_line(error)}") from error
    if paths:
        return paths
    hint = f", which is a folder: give {pattern.rstrip('/')}/*.jpg, for example" if is_folder else ""
    raise RecipeError(f"no file matches {pattern}{hint}")


def read_images(paths: Sequence[str], image_size: int, spec: DataSpec) -> Iterator[tuple[str, np.ndarray | str]]:
    """Each path with its image, preprocessed for evaluation, float32 [image_size, image_size, 3], in the paths' order.

    A path comes as `listing.shown` makes it readable. A file that cannot be decoded comes with the reason instead.

    Args:
        paths: files.
        image_size: side in pixels.
        spec: the evaluation's crop and resize.
    """

    def read_or_reason(path: str) -> np.ndarray | str:
        if not is_file(path):
            return "not a regular file"
        try:
            return preprocess_eval(tf.io.read_file(os.fsencode(path)), image_size, spec.eval_crop, spec.resize).numpy()
        except tf.errors.OpError as error:
            return reason_without_ops(error)

    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        # In chunks: map() alone would read all files ahead, and hold their images in memory.
        for start in range(0, len(paths), _FILES_AT_A_TIME):
            chunk = paths[start : start + _FILES_AT_A_TIME]
            yield from zip(map(shown, chunk), pool.map(read_or_reason, chunk), strict=True)

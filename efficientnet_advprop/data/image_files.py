"""Single image files, for prediction."""

import collections
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.bad_images import reason_without_ops
from efficientnet_advprop.data.listing import FILE, entries, is_file, kinds_in_words, shown
from efficientnet_advprop.data.preprocessing import preprocess_eval
from efficientnet_advprop.paths import has_wildcard, paths_like
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
        there = "" if paths or is_folder else _what_is_there(pattern)
    except tf.errors.OpError as error:
        raise RecipeError(f"cannot look for images in {pattern}: {first_line(error)}") from error
    if paths:
        return paths
    if is_folder:
        raise RecipeError(
            f"no file matches {pattern}, which is a folder: give {pattern.rstrip('/')}/*.jpg, for example"
        )
    raise RecipeError(f"no file matches {pattern}; {there}")


def need_images(pattern: str | None) -> None:
    """Refuse a pattern that no file matches, before anything that takes longer.

    Args:
        pattern: as for `find_images`; None for no images.

    Raises:
        RecipeError: when there are none.
    """
    if pattern is not None:
        find_images(pattern)


def _what_is_there(pattern: str) -> str:
    """What the folder of a pattern holds, by the ends of the names."""
    folder = missing = os.path.dirname(pattern)
    while folder and not tf.io.gfile.isdir(folder):
        above = os.path.dirname(folder)
        if above == folder or above.endswith(":"):  # the root, or a bucket
            return f"there is no folder {folder}"
        folder, missing = above, folder
    if missing != folder and not has_wildcard(os.path.basename(missing)):
        return f"there is no folder {missing}"
    kinds = collections.defaultdict(list)
    for name, kind in entries(folder or "."):
        kinds[f"{os.path.splitext(name)[1]} files".lstrip() if kind == FILE else f"{kind}s"].append(name)
    held = kinds_in_words(kinds) if kinds else "nothing"
    return f"{folder or 'the working folder'} holds {held}"


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

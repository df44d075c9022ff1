"""The checkpoints in a run's folder, by the names of their files: which are whole, and which is the newest.

In place of `tf.train.CheckpointManager` and `tf.train.latest_checkpoint`, which search by patterns: see `paths`. A
checkpoint is the files `step-N.index` and `step-N.data-00000-of-00001` and so on. TensorFlow writes the index last. The
file `checkpoint` names the newest one, in TensorFlow's format, so that its tools find it too.
"""

import os
import re

import tensorflow as tf

from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.paths import names_in, plain_path
from efficientnet_advprop.recipes import RecipeError, first_line

RECORD = "checkpoint"
_NEWEST = re.compile(rb'^model_checkpoint_path:\s*"(.*)"\s*$', re.MULTILINE)
_PART = re.compile(r"step-(\d+)(\.index|\.data-\d{5}-of-\d{5}|_temp)")


def prefix_of(folder: str, step: int) -> str:
    """The path of a step's checkpoint."""
    return os.path.join(folder, f"step-{step}")


def step_of(prefix: str) -> int | None:
    """The step of a run's checkpoint by its name; None for another name."""
    part = re.fullmatch(r"step-(\d+)", os.path.basename(prefix))
    return int(part[1]) if part else None


def recorded(folder: str) -> str | None:
    """The checkpoint that the file `checkpoint` of a folder names, if it is whole."""
    path = os.path.join(folder, RECORD)
    if RECORD not in names_in(folder) or tf.io.gfile.isdir(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as file:
        name = _NEWEST.search(file.read())
    try:
        # Protobuf's text format escapes the bytes of UTF-8.
        prefix = name and os.path.join(folder, name[1].decode("unicode_escape").encode("latin-1").decode())
    except ValueError:
        return None
    return prefix if prefix and "\0" not in prefix and files_of(prefix) else None


def newest(folder: str) -> tuple[str | None, str | None]:
    """The checkpoint to go on from: the recorded one, or else the newest that can be read; None without one.

    A process that was killed while it wrote leaves no record, and a loss of power an empty one.

    Returns:
        The path, and a line for the user if it is not the recorded one.

    Raises:
        RecipeError: when a file cannot be opened, so that nobody knows whether it is whole.
    """
    if prefix := recorded(folder):
        return prefix, None
    for step in sorted(_steps(names_in(folder)), reverse=True):
        prefix = prefix_of(folder, step)
        if files_of(prefix) and _can_be_read(prefix):
            line = f"ATTENTION: {folder}/{RECORD} names no whole checkpoint: step-{step}, the newest whole one, is used"
            return prefix, line
    is_empty = not _steps(names_in(folder)) and RECORD not in names_in(folder)
    return None, None if is_empty else f"ATTENTION: {folder} holds no whole checkpoint"


def record(folder: str, step: int, keep_max: int) -> None:
    """Record a checkpoint as the newest one, and remove those before it but for the newest `keep_max`.

    What killed processes left of them goes too. Later steps stay: a run that went back to this step writes them again.
    """
    names = names_in(folder)
    known = {step for step in _steps(names) if f"step-{step}.index" in names}
    kept = sorted(one for one in known if one <= step)[-keep_max:]
    lines = [f'all_model_checkpoint_paths: "step-{one}"\n' for one in kept]
    write_atomic(os.path.join(folder, RECORD), "".join([f'model_checkpoint_path: "step-{step}"\n', *lines]))
    # The index first: data without an index are no checkpoint.
    for name in sorted(names, key=lambda name: not name.endswith(".index")):
        part = _PART.fullmatch(name)
        if part and int(part[1]) <= step and int(part[1]) not in kept:
            path = os.path.join(folder, name)
            (tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove)(path)


def files_of(prefix: str) -> list[str]:
    """The files of a checkpoint; empty if one is missing or all of a kind are empty."""
    folder, name = os.path.split(prefix)
    names = names_in(folder)
    shards = [re.fullmatch(re.escape(name) + r"\.data-\d{5}-of-(\d{5})", other) for other in names]
    totals = [int(shard[1]) for shard in shards if shard]
    data = [os.path.join(folder, shard[0]) for shard in shards if shard]
    index = f"{prefix}.index"
    if f"{name}.index" not in names or not any(totals.count(total) >= total for total in totals):
        return []
    is_written = _size(index) and any(_size(path) for path in data)
    return [index, *data] if is_written else []


def _size(path: str) -> int:
    return tf.io.gfile.stat(path).length


def _steps(names: list[str]) -> set[int]:
    return {int(part[1]) for name in names if (part := _PART.fullmatch(name))}


def _can_be_read(prefix: str) -> bool:
    """Whether every value can be read; its checksum is compared."""
    try:
        for path in files_of(prefix):
            with tf.io.gfile.GFile(path, "rb") as file:
                file.read(1)
    except tf.errors.OpError as error:  # no permission or no connection: another day it may be whole
        raise RecipeError(f"checkpoint {prefix} cannot be read: {first_line(error)}") from error
    try:
        reader = tf.train.load_checkpoint(plain_path(prefix))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError):
        return False
    return True

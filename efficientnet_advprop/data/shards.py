"""The files of a split: `SPLIT-00000-of-N` to the last, and how many records each holds."""

import dataclasses
import os
import re
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from efficientnet_advprop.data.bad_images import reason_without_ops
from efficientnet_advprop.recipes import RecipeError

_FILES_AT_A_TIME = 16  # enough to hide the latency of a disk
_MISSING_SHARDS_NAMED = 8


@dataclasses.dataclass(frozen=True)
class Shards:
    """The TFRecord files of a split.

    Attributes:
        paths: in order.
        counts: records in each; None where counting would take a request a record.
    """

    paths: tuple[str, ...]
    counts: tuple[int, ...] | None = None

    @property
    def num_records(self) -> int | None:
        """Records in all files; None where they are not counted."""
        return None if self.counts is None else sum(self.counts)

    def __getitem__(self, part: slice) -> "Shards":
        """Some of the files."""
        return Shards(self.paths[part], None if self.counts is None else self.counts[part])


def find_shards(data_dir: str, split: str) -> Shards:
    """The files of a split, counted on a local disk (some 30 us a record).

    Raises:
        RecipeError: when there are none, they belong to different N, some are missing, or one is empty or ends within a
            record; the message names those.
    """
    pattern = f"{split}-?????-of-?????"
    numbers = [
        match.groups()
        for path in tf.io.gfile.glob(os.path.join(data_dir, pattern))
        if (match := re.search(r"-(\d{5})-of-(\d{5})$", path))
    ]
    if not numbers:
        raise RecipeError(f"no file {pattern} in data_dir {data_dir}")
    totals = sorted({total for _, total in numbers})
    if len(totals) > 1:
        raise RecipeError(f"data_dir {data_dir} mixes {split} files of {' and of '.join(totals)} shards")
    names = [f"{split}-{number:05d}-of-{totals[0]}" for number in range(int(totals[0]))]
    found = {f"{split}-{number}-of-{total}" for number, total in numbers}
    if missing := [name for name in names if name not in found]:
        more = f" and {len(missing) - _MISSING_SHARDS_NAMED} more" if len(missing) > _MISSING_SHARDS_NAMED else ""
        raise RecipeError(f"data_dir {data_dir} lacks {', '.join(missing[:_MISSING_SHARDS_NAMED])}{more}")
    paths = tuple(os.path.join(data_dir, name) for name in names)
    return Shards(paths, None if is_remote(data_dir) else count_shards(paths))


def hold_out(train: Shards, evaluation: Shards, number: int) -> tuple[Shards, Shards]:
    """Training and evaluation files when the first training files are evaluated on.

    The first, as in the official `imagenet_input.py`: results on them are then comparable to the official minival.

    Raises:
        RecipeError: for a negative number, or when nothing would be left to train on.
    """
    if not number:
        return train, evaluation
    if number < 0:
        raise RecipeError(f"holdout_shards {number}: at least 0 are needed")
    if number >= len(train.paths):
        raise RecipeError(f"holdout_shards {number} leaves nothing of {len(train.paths)} training files to train on")
    return train[number:], train[:number]


def count_shards(paths: Sequence[str]) -> tuple[int, ...]:
    """Records in each file.

    Raises:
        RecipeError: for a file that is empty or does not end with a record.
    """
    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        counts = tuple(pool.map(count_records, paths))
    if empty := [path for path, count in zip(paths, counts, strict=True) if not count]:
        raise RecipeError(f"{empty[0]} is empty" + (f", and {len(empty) - 1} more files are" if empty[1:] else ""))
    return counts


def count_records(path: str) -> int:
    """The number of records in a TFRecord file, from their lengths alone.

    A record is its length (8 bytes), a checksum of that (4), its bytes and a checksum of those (4).

    Raises:
        RecipeError: when the file does not end with a record.
    """
    count = end = 0
    with tf.io.gfile.GFile(path, "rb") as file:
        size = file.size()
        while end < size:
            file.seek(end)
            header = file.read(8)
            if len(header) < 8:
                break
            end += 16 + struct.unpack("<Q", header)[0]
            count += 1
    if end != size:
        raise RecipeError(f"{path} is damaged: it does not end with a whole record")
    return count


def damaged_records(paths: Sequence[str]) -> list[str]:
    """Files that cannot be read to their end, each with the record at which reading stops; reads everything."""
    damages = []
    for path in paths:
        number = 0
        try:
            for number, _ in enumerate(tf.data.TFRecordDataset(path), start=1):  # noqa: B007
                pass
        except tf.errors.OpError as error:
            damages.append(f"{path} record {number}: {reason_without_ops(error)}; nothing behind it can be read")
    return damages


def is_remote(path: str) -> bool:
    """Whether each access is a request."""
    return "://" in path

"""The TFRecord files of a split, `SPLIT-00000-of-N` and so on, and the number of records in each."""

import dataclasses
import os
import re
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from efficientnet_advprop.data.bad_images import reason_without_ops
from efficientnet_advprop.data.listing import is_file
from efficientnet_advprop.files import is_remote
from efficientnet_advprop.recipes import RecipeError

_FILES_AT_A_TIME = 16  # enough to hide the latency of a disk
_MISSING_SHARDS_NAMED = 8


@dataclasses.dataclass(frozen=True)
class Shards:
    """The TFRecord files of a split.

    Attributes:
        paths: in order.
        counts: records in each; None on remote storage, where counting would take a request for every record.
    """

    paths: tuple[str, ...]
    counts: tuple[int, ...] | None = None

    @property
    def num_records(self) -> int | None:
        """Records in all files; None if they are not counted."""
        return None if self.counts is None else sum(self.counts)

    def __getitem__(self, part: slice) -> "Shards":
        """Some of the files."""
        return Shards(self.paths[part], None if self.counts is None else self.counts[part])


def find_shards(data_dir: str, split: str) -> Shards:
    """The files of a split. On a local disk their records are counted (about 30 us each).

    Raises:
        RecipeError: when there are none, they disagree on N, some are missing, or one is empty or ends within a record;
            the message names them.
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
    """The training and evaluation files when the first `number` training files are held out for evaluation.

    The first ones, as in the official `imagenet_input.py`, so that results are comparable to the official minival.

    Raises:
        RecipeError: for a negative number, or when no training files would be left.
    """
    if not number:
        return train, evaluation
    if number < 0:
        raise RecipeError(f"holdout_shards {number}: at least 0 are needed")
    if number >= len(train.paths):
        raise RecipeError(f"holdout_shards {number} holds out all of the {len(train.paths)} training files")
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
    """The number of records in a TFRecord file, from the length fields alone.

    A record is a length (8 bytes), its checksum (4 bytes), the data and their checksum (4 bytes).

    Raises:
        RecipeError: when the file does not end with a record, is compressed, or is no regular file.
    """
    if not is_file(path):
        raise RecipeError(f"{path} is not a regular file")
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
        raise RecipeError(f"{path} {_compressed(path) or 'is damaged: it does not end with a whole record'}")
    return count


def _compressed(path: str) -> str | None:
    """For a file that is no sequence of records: how it is compressed and what to do; None if it is not.

    The first bytes alone do not tell: a record may begin with them.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        start = file.read(2)
    if start == b"\x1f\x8b":
        kind, command = "GZIP", "gzip -dc"
    elif start[:1] == b"\x78" and int.from_bytes(start, "big") % 31 == 0:  # RFC 1950
        kind, command = "ZLIB", "pigz -dzc"
    else:
        return None
    return (
        f"is compressed ({kind}), and TFRecords are read uncompressed: unpack every file ({command} < FILE > NEW), or "
        "write them without compression_type"
    )


def damaged_records(paths: Sequence[str]) -> list[str]:
    """A line for each file that cannot be read to its end, with the record at which reading stops; reads all files."""
    damages = []
    for path in paths:
        number = 0
        try:
            for number, _ in enumerate(tf.data.TFRecordDataset(path), start=1):  # noqa: B007
                pass
        except tf.errors.OpError as error:
            damage = f"record {number}: {reason_without_ops(error)}; no record after it can be read"
            damages.append(f"{path} {(not number and _compressed(path)) or damage}")
    return damages

"""Unpacking archives that may be damaged or malicious.

`tarfile`'s own filter against those exists only in the later patches of Python 3.10 and 3.11.
"""

import gzip
import os
import shutil
import tarfile
import zlib
from typing import BinaryIO

from efficientnet_advprop.files import without_space
from efficientnet_advprop.recipes import RecipeError, first_line

# The largest release, L2 with its averages and RMSProp's slots, takes 8 GB. More than this is no network.
LARGEST_BYTES = 16 * 2**30
_MOST_MEMBERS = 1_000  # a release has five files
_HEADER_BYTES = 2**16  # before a member's content; tarfile reads them whole, and 10 KiB ahead
_PIECE_BYTES = 2**20
# Headers of headers end tarfile's recursion.
_CUT = "Compressed file ended before the end-of-stream marker", "unexpected end of data"  # gzip's and tarfile's words
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError, RecursionError)


class _LimitedReader:
    """A stream that ends in an error where more is read of it than belongs there.

    Args:
        stream: what is read.

    Attributes:
        most: the number of bytes that may be read so far.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._done = stream, 0
        self.most = _HEADER_BYTES

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`.

        Raises:
            RecipeError: when they are too many.
        """
        piece = self._stream.read(size)
        self._done += len(piece)
        _require_size(self._done)
        if self._done > self.most:
            raise RecipeError(f"it holds a header of more than {_HEADER_BYTES:,} bytes")
        return piece


def unpack(archive: str, folder: str) -> None:
    """Unpack the files of a .tar.gz, and check them against its checksum.

    Args:
        archive: its path.
        folder: an empty one, outside of which nothing is written.

    Raises:
        RecipeError: saying what is wrong with the archive. Of some files, the first ones may be there then.
        OSError: when the disk is full.
    """
    try:
        with gzip.open(archive) as stream:
            reader = _LimitedReader(stream)
            with tarfile.open(fileobj=reader, mode="r|") as tar:
                for number, member in enumerate(tar, 1):
                    if number > _MOST_MEMBERS:
                        raise RecipeError(f"it holds more than {_MOST_MEMBERS:,} files and folders")
                    end = member.offset_data + member.size
                    _require_size(end)
                    reader.most = end + _HEADER_BYTES
                    _unpack_member(tar, member, folder)
            reader.most = LARGEST_BYTES
            while reader.read(_PIECE_BYTES):  # the checksum stands at the end
                pass
    except _DAMAGED as error:
        if str(error).startswith(_CUT):
            raise RecipeError(f"it is incomplete ({os.path.getsize(archive):,} bytes): download it again") from error
        raise RecipeError(f"it is no .tar.gz, or a damaged one ({first_line(error)})") from error
    except OSError as error:
        if without_space(error):
            raise
        raise RecipeError(f"it cannot be unpacked ({first_line(error)})") from error


def _require_size(size: int) -> None:
    if size > LARGEST_BYTES:
        raise RecipeError(f"it unpacks to more than {LARGEST_BYTES:,} bytes")


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: str) -> None:
    """Write one file. Without links in the folder, a path without `..` stays inside it."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if member.name.startswith("/") or ".." in parts or "\0" in member.name:
        raise RecipeError(f"it holds {member.name!a}, outside of its own folder")
    if not (member.isreg() or member.isdir()) or member.issparse():  # a sparse one is larger than what is read
        raise RecipeError(f"it holds {member.name!a}, which is neither a file nor a folder")
    if not parts or parts[-1].startswith("._"):  # attributes of files on macOS
        return
    path = os.path.join(folder, *parts)
    if member.isdir():
        os.makedirs(path, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tar.extractfile(member) as source, open(path, "xb") as target:
        shutil.copyfileobj(source, target, _PIECE_BYTES)

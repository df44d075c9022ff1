"""Unpacking archives that may be damaged or malicious.

`tarfile`'s own filter against those exists only in the later patches of Python 3.10 and 3.11.
"""

import gzip
import os
import shutil
import tarfile
import zlib

from efficientnet_advprop.files import without_space
from efficientnet_advprop.recipes import RecipeError, first_line

# The largest release, L2 with its averages and RMSProp's slots, takes 8 GB. More than this is no network.
LARGEST_BYTES = 16 * 2**30
_PIECE_BYTES = 2**20
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError)


def unpack(archive: str, folder: str) -> None:
    """Unpack the files of a .tar.gz, and check them against its checksum.

    Args:
        archive: its path.
        folder: an empty one, outside of which nothing is written.

    Raises:
        RecipeError: saying what is wrong with the archive. Of some files, the first ones may be there then.
        OSError: when the disk is full.
    """
    left = LARGEST_BYTES
    try:
        with gzip.open(archive) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    left -= member.size
                    if left < 0:
                        raise RecipeError(f"it unpacks to more than {LARGEST_BYTES:,} bytes")
                    _unpack_member(tar, member, folder)
            while left >= 0 and (rest := stream.read(_PIECE_BYTES)):  # the checksum stands at the end
                left -= len(rest)
    except _DAMAGED as error:
        raise RecipeError(f"it is no .tar.gz, or a damaged one ({first_line(error)})") from error
    except OSError as error:
        if without_space(error):
            raise
        raise RecipeError(f"it cannot be unpacked ({first_line(error)})") from error


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: str) -> None:
    """Write one file. Without links in the folder, a path without `..` stays inside it."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if member.name.startswith("/") or ".." in parts or "\0" in member.name:
        raise RecipeError(f"it holds {member.name!a}, outside of its own folder")
    if not (member.isreg() or member.isdir()):
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

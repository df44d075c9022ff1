"""Weights by name, address or archive: downloaded and unpacked once, checked, and kept in a folder.

Each host of several has its own folder, or they share one and take turns.
"""

import contextlib
import dataclasses
import difflib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from urllib.parse import urlsplit

from efficientnet_advprop.files import without_space
from efficientnet_advprop.locks import hold
from efficientnet_advprop.models.weights import releases
from efficientnet_advprop.models.weights.archives import unpack
from efficientnet_advprop.models.weights.checkpoint_file import CheckpointFile
from efficientnet_advprop.models.weights.downloads import download, require_trusted
from efficientnet_advprop.paths import is_address, is_remote
from efficientnet_advprop.recipes import RecipeError, first_line

_CACHE_DIR = "~/.cache/efficientnet_advprop"
_ARCHIVES = (".tar.gz", ".tgz")
_SINGLE_FILES = (".safetensors",)
_PIECE_BYTES = 2**20
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*(:\d+)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class _Packed:
    """Weights to download, or to unpack from an archive on this machine.

    Attributes:
        name: as the user gave it.
        address: of their archive or file; the path of an archive on this machine.
        place: path in the cache of what is kept: the unpacked folder, or the file. A release's ends as its name.
        network: the network that they have to be of; None for any.
        is_here: whether the archive is on this machine. It is not removed then.
    """

    name: str
    address: str
    place: str
    network: str | None = None
    is_here: bool = False


def local_weights(
    path: str, check: Callable[[str], object], cache_dir: str | None = None, offline: bool = False
) -> str:
    """The path of weights that may be a path, also of an archive, a name of Google's releases, or an address.

    Args:
        path: as the user gave it. What is at this path comes before a release of this name.
        check: opens weights, and raises a RecipeError for what cannot be used.
        cache_dir: the folder that keeps what was downloaded and unpacked; None for ~/.cache/efficientnet_advprop.
        offline: download nothing.

    Returns:
        The path itself, or that in the cache.

    Raises:
        RecipeError: for an unknown name, for a `cache_dir` beside a path, or for weights that cannot be downloaded,
            kept or used. Nothing of them is left then but what the next call completes.
    """
    packed = _packed(path)
    if packed is None:
        if cache_dir is not None:
            check(path)  # a path where nothing is has another remedy
            kind = "remote" if is_remote(path) else "local"
            raise RecipeError(f"--cache_dir would have no effect: {path} is a {kind} path")
        return path
    cache_dir = cache_dir or _CACHE_DIR
    if is_remote(cache_dir):
        raise RecipeError(f"cache_dir {cache_dir} is not on this machine: a local folder is needed")
    kept = os.path.join(os.path.expanduser(cache_dir), packed.place)
    if os.path.exists(kept):
        try:
            check(kept)
        except RecipeError as error:
            again = "unpack" if packed.is_here else "download"
            raise RecipeError(f"{error}; remove {kept} to {again} it again") from error
        return kept
    if offline and not packed.is_here:
        raise RecipeError(f"{path} is not in the cache {cache_dir}, and --offline downloads nothing")
    with hold("cache_dir", os.path.dirname(kept), wait=True):
        try:
            if not os.path.exists(kept):  # another process may have been first
                _fetch(packed, kept, check)
        except OSError as error:
            problem = "has no space left" if without_space(error) else f"cannot be written: {first_line(error)}"
            raise RecipeError(f"cache_dir {cache_dir} {problem}") from error
    return kept


def _fetch(packed: _Packed, kept: str, check: Callable[[str], object]) -> None:
    """Download, unpack, check and rename to `kept`, in its folder, which this process holds."""
    downloaded = packed.address if packed.is_here else f"{kept}.download"
    if not os.path.exists(downloaded):
        download(packed.address, downloaded)
    work = tempfile.mkdtemp(prefix=".unfinished-", dir=os.path.dirname(kept))
    inside = os.path.join(work, "weights")
    try:
        try:
            os.mkdir(inside)  # `work` is for its owner alone, and what is kept for whom the umask allows
            if packed.address.endswith(_SINGLE_FILES):
                weights = os.path.join(inside, os.path.basename(kept))
                os.rename(downloaded, weights)
            else:
                unpack(downloaded, inside)
                weights = _without_outer_folder(inside)
            check(weights)
            _require_network(weights, packed.network)
        except RecipeError as error:
            _remove_download(packed, downloaded)
            reason = str(error).replace(inside, "it")
            what = "is" if packed.is_here else "was downloaded, but is"
            raise RecipeError(f"{packed.address} {what} of no use: {reason}") from error
        os.rename(weights, kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _remove_download(packed, downloaded)


def _remove_download(packed: _Packed, downloaded: str) -> None:
    if not packed.is_here:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(downloaded)


def _without_outer_folder(folder: str) -> str:
    """The folder that an archive holds as its only entry; else the folder of its entries, a single file's too."""
    entries = [os.path.join(folder, name) for name in os.listdir(folder)]
    return entries[0] if len(entries) == 1 and os.path.isdir(entries[0]) else folder


def _require_network(weights: str, network: str | None) -> None:
    if network is not None and (held := releases.official_network_name(CheckpointFile(weights))) != network:
        raise RecipeError(f"it holds {held or 'no official EfficientNet'}, not {network}")


def _packed(path: str) -> _Packed | None:
    """What a path names that holds no weights as they are read."""
    if is_address(path):
        return _at(path)
    if path.endswith(_ARCHIVES) and os.path.isfile(path):
        return _Packed(path, path, os.path.join("archives", _digest(path)), is_here=True)
    name = releases.SPELLINGS.get(path.rstrip("/"), path.rstrip("/"))
    if is_remote(path) or os.path.lexists(path) or os.path.exists(f"{path}.index"):
        return None
    if name in releases.ARCHIVES:
        address = releases.BASE_ADDRESS + releases.ARCHIVES[name]
        return _Packed(path, address, name, releases.network_of(name))
    # Of a network's name alone, all releases; AdvProp's are the first.
    near = [known for known in releases.ARCHIVES if known.endswith(f"/{name}")]
    near = near or difflib.get_close_matches(name, releases.ARCHIVES, n=3, cutoff=0.75)
    if near:
        raise RecipeError(
            f"no checkpoint {path}: neither a path here nor a name of Google's weights, such as {', '.join(near)}"
        )
    return None


def _digest(path: str) -> str:
    """By the content, since archives of other weights have the same name."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {first_line(error)}") from error
    return digest.hexdigest()[:16]


def _at(address: str) -> _Packed:
    """What an address names. It ends in the name of an archive or of a file."""
    require_trusted(address)
    url = urlsplit(address)
    parts = [part for part in url.path.split("/") if part]
    if not url.path.endswith((*_ARCHIVES, *_SINGLE_FILES)) or not _HOST.fullmatch(url.netloc) or {".", ".."} & {*parts}:
        raise RecipeError(
            f"{address} is no address of weights: https://HOST/PATH is needed, which ends in "
            f"{', '.join((*_ARCHIVES, *_SINGLE_FILES))}"
        )
    if url.query:  # it may select the version
        parts.insert(-1, hashlib.sha256(url.query.encode()).hexdigest()[:8])
    return _Packed(address, address, os.path.join("https", url.netloc, *parts))

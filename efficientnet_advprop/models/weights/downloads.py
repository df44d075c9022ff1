"""Downloads that go on where they were cut.

`requests` does the HTTP. No library at hand adds the rest: `pooch`, `tf.keras.utils.get_file`, `fsspec` and TensorFlow
Datasets start a cut download again, and those that resume belong to one site.
"""

import contextlib
import os
import sys
import time
from urllib.parse import urljoin, urlsplit

import requests
import tqdm
import urllib3

from efficientnet_advprop.models.weights.archives import LARGEST_BYTES
from efficientnet_advprop.recipes import RecipeError, first_line

_TRIES = 4
_WAIT_S = 1.0  # before the second try; twice as long before each other
_TIMEOUTS_S = (20.0, 60.0)  # to connect, and between two pieces
_PIECE_BYTES = 2**16
_SECONDS_BETWEEN_LINES = 10.0
_PASSING = (408, 429, 500, 502, 503, 504)
# What is read as code or weights comes from where TLS says, or from this machine.
_THIS_MACHINE = ("localhost", "127.0.0.1")


class _CutError(Exception):
    """A download that another try may complete."""


def download(address: str, path: str) -> None:
    """Download a file.

    While it is incomplete it is `path`.part. What is there from earlier is completed, if the server can do that and
    its file is still the same; else it is replaced.

    Args:
        address: of the file, with https://.
        path: of the file to write; its folder exists.

    Raises:
        RecipeError: naming the address and the reason. A .part that the next call can complete stays.
        OSError: when the file cannot be written. Nothing stays.
    """
    require_trusted(address)
    part, furthest, failures = f"{path}.part", 0, 0
    while True:
        try:
            _complete(address, part)
        except _CutError as error:
            reason, done = error, _size_of(part)
            failures = 1 if done > furthest else failures + 1
            furthest = max(done, furthest)
        except (RecipeError, OSError):
            _remove(part)
            raise
        else:
            os.rename(part, path)
            _remove(part)
            return
        if failures == _TRIES:
            break
        time.sleep(_WAIT_S * 2 ** (failures - 1))
    if done and _validator(part) is not None:
        raise RecipeError(f"{address} cannot be downloaded: {reason}; the next call goes on after {_in_words(done)}")
    _remove(part)
    raise RecipeError(
        f"{address} cannot be downloaded: {reason}; without a network, fetch it elsewhere and give the file's path"
    )


def require_trusted(address: str) -> None:
    """Refuse an address that anyone on the way could answer.

    Raises:
        RecipeError: naming it.
    """
    try:
        url = urlsplit(address)
    except ValueError as error:
        raise RecipeError(f"{address} cannot be downloaded: {first_line(error)}") from error
    if "@" in url.netloc:
        raise RecipeError(f"{address} cannot be downloaded: an address without a user's name is needed")
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _THIS_MACHINE):
        raise RecipeError(f"{address} cannot be downloaded: an address that begins with https:// is needed")


def _require_trusted_target(response: requests.Response, **_: object) -> None:
    """The same for where an answer sends the request on to, before it is sent."""
    if response.is_redirect:
        target = response.headers["Location"]
        try:
            with contextlib.suppress(ValueError):  # of a target that is no address
                target = urljoin(response.url, target)
            require_trusted(target)
        except RecipeError:
            response.close()
            raise


def _complete(address: str, part: str) -> None:
    """Download what is missing of the file."""
    done, validator = _size_of(part), _validator(part)
    headers = {"Accept-Encoding": "identity"}
    if done and validator is not None:
        headers |= {"Range": f"bytes={done}-", "If-Range": validator}
    try:
        hooks = {"response": _require_trusted_target}
        with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUTS_S, hooks=hooks) as response:
            if response.status_code == 416:
                _remove(part)
                raise _CutError("the server has another file now")
            if response.status_code in _PASSING:
                raise _CutError(f"{response.status_code} {response.reason}")
            if response.status_code not in (200, 206):
                raise RecipeError(f"{address} cannot be downloaded: {response.status_code} {response.reason}")
            _write(address, response, part, done)
    except (requests.exceptions.InvalidURL, requests.exceptions.TooManyRedirects) as error:
        raise RecipeError(f"{address} cannot be downloaded: {first_line(error)}") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _CutError(_innermost(error)) from error


def _write(address: str, response: requests.Response, part: str, done: int) -> None:
    start = done if response.status_code == 206 else 0
    if response.status_code == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        _remove(part)
        raise _CutError("the server sent another part than asked for")
    if start == 0:
        _remove(part)
        _keep_validator(response, part)
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    _require_size(address, total or 0)
    with open(part, "ab") as file, _Progress(address, start, total) as progress:
        for piece in response.raw.stream(_PIECE_BYTES, decode_content=False):
            file.write(piece)
            progress.add(len(piece))
            _require_size(address, file.tell())
        written = file.tell()
    if total is not None and written != total:
        raise _CutError(f"cut after {_in_words(written)} of {_in_words(total)}")


def _require_size(address: str, size: int) -> None:
    if size > LARGEST_BYTES:
        raise RecipeError(f"{address} is larger than {_in_words(LARGEST_BYTES)}, the most that is downloaded")


class _Progress:
    """Says how far a download is: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, address: str, start: int, total: int | None) -> None:
        self._name, self._done, self._last = address.rpartition("/")[2], start, time.monotonic()
        self._of_total = "" if total is None else f" of {_in_words(total)}"
        size = "" if total is None else f" ({_in_words(total)})"
        _say(f"downloading {address}{size}" + (f", the rest after {_in_words(start)}" if start else ""))
        self._bar = tqdm.tqdm(
            desc=self._name,
            initial=start,
            total=total,
            unit="B",
            unit_scale=True,
            file=sys.stderr,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def add(self, size: int) -> None:
        """Count a piece."""
        self._done += size
        self._bar.update(size)
        if self._bar.disable and time.monotonic() - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            _say(f"{self._name}: {_in_words(self._done)}{self._of_total}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _in_words(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"


def _size_of(part: str) -> int:
    return os.path.getsize(part) if os.path.exists(part) else 0


def _validator(part: str) -> str | None:
    """What the server called the version of an incomplete file; None if it cannot be completed."""
    try:
        with open(f"{part}.version", encoding="latin-1") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _keep_validator(response: requests.Response, part: str) -> None:
    """Keep a strong one: only with such may a server be asked for a part of the same file (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    if tag.startswith('"'):
        with open(f"{part}.version", "w", encoding="latin-1") as file:
            file.write(tag)


def _remove(part: str) -> None:
    for path in (part, f"{part}.version"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _innermost(error: BaseException) -> str:
    """The system's words, without the layers of errors around them."""
    reason = error
    while reason.__cause__ or reason.__context__:
        reason = reason.__cause__ or reason.__context__
    return first_line(reason)

"""Folders that one process at a time writes to."""

import contextlib
import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import tensorflow as tf

from efficientnet_advprop.files import remove_leftovers, without_space
from efficientnet_advprop.paths import is_remote
from efficientnet_advprop.recipes import RecipeError, first_line

LOCK_FILE = ".lock"
# Remote storage has no locks. Who holds a folder there rewrites its mark again and again, so that a mark that stays the
# same is a dead process's.
_BEAT_S = 20.0
_SILENT_S = 50.0
_SETTLED_S = 1.0
_held: set[str] = set()


@contextlib.contextmanager
def hold(what: str, folder: str, inside: tuple[str, ...] = (), wait: bool = False) -> Iterator[None]:
    """A context in which no other process holds the folder. What killed processes left half written there is removed.

    A process that dies gives its folders free. A process may hold a folder twice.

    Args:
        what: name of the flag that gives the folder, for messages.
        folder: local or remote; made if absent, and removed in the end if it was made and is empty.
        inside: subfolders that belong to it.
        wait: wait for a process that holds the folder, instead of refusing it.

    Raises:
        RecipeError: when another process holds the folder, or it cannot be written.
    """
    name = folder if is_remote(folder) else os.path.realpath(folder)
    if name in _held:
        yield
        return
    made = _missing(folder)
    with contextlib.ExitStack() as stack:
        try:
            tf.io.gfile.makedirs(folder)
            stack.callback(_remove_empty, made)
            stack.enter_context((_mark if is_remote(folder) else _lock)(what, folder, wait))
        except (tf.errors.OpError, OSError) as error:
            if without_space(error):
                raise
            raise RecipeError(f"{what} {folder} cannot be written: {first_line(error)}") from error
        _held.add(name)
        stack.callback(_held.discard, name)
        for part in ("", *inside):
            remove_leftovers(os.path.join(folder, part))
        yield


@contextlib.contextmanager
def _lock(what: str, folder: str, wait: bool) -> Iterator[None]:
    """The system's lock on a file in the folder, which ends with the process."""
    path = os.path.join(folder, LOCK_FILE)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace")
            _refuse_or_say(what, folder, holder, wait)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: the second process goes unnoticed
            break
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)  # its holder removed the file after we had opened it
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, _name_of_this_process().encode(), 0)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


@contextlib.contextmanager
def _mark(what: str, folder: str, wait: bool) -> Iterator[None]:
    """A mark in the folder that this process keeps rewriting."""
    path = os.path.join(folder, LOCK_FILE)
    while found := _read(path):
        holder = found.splitlines()[0]
        print(f"{folder} was in use by {holder}: watching for {_SILENT_S:.0f} s whether it still is", flush=True)
        time.sleep(_SILENT_S)
        if _read(path) == found:
            with contextlib.suppress(tf.errors.NotFoundError):  # another process watched it too
                tf.io.gfile.remove(path)
        if _read(path):
            _refuse_or_say(what, folder, holder, wait)
    ours = f"{_name_of_this_process()}\n{uuid.uuid4()}\n"
    _write(path, ours)
    time.sleep(_SETTLED_S)
    if (found := _read(path)) != ours:  # another process wrote its mark at the same time, and after us
        _refuse_or_say(what, folder, found.partition("\n")[0], wait=False)
    done = threading.Event()

    def beat() -> None:
        number = 0
        while not done.wait(_BEAT_S):
            number += 1
            with contextlib.suppress(tf.errors.OpError):  # the next one may succeed
                _write(path, f"{ours}{number}\n")

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
        with contextlib.suppress(tf.errors.OpError):
            if _read(path).startswith(ours):
                tf.io.gfile.remove(path)


def _refuse_or_say(what: str, folder: str, holder: str, wait: bool) -> None:
    in_use = f"{what} {folder} is in use by {holder or 'another process'}"
    if not wait:
        raise RecipeError(f"{in_use}: wait until it ends, or give another --{what}")
    print(f"{in_use}: waiting", flush=True)


def _name_of_this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _read(path: str) -> str:
    """The mark; empty without one."""
    try:
        with tf.io.gfile.GFile(path) as file:
            return file.read()
    except tf.errors.NotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)


def _missing(folder: str) -> list[str]:
    """The folders that have to be made for this one, the inner ones first; those of remote storage are no things."""
    missing = []
    while folder and not is_remote(folder) and not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing


def _remove_empty(folders: list[str]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            os.rmdir(folder)

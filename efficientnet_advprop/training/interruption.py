"""What SIGINT, SIGTERM and SIGHUP do: the process ends with one line and code 128 + signal, its state saved.

While a run trains, a signal is recorded, and the loop saves the state between two steps. Everywhere else it raises
`Interrupted` in the main thread, so that unfinished files are removed on the way out. Before that, while a process
starts, it ends at once.
"""

import contextlib
import functools
import math
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A closed terminal sends SIGHUP twice; of Ctrl-C, `timeout` passes on what the terminal sends too.
_ONE_REQUEST_SECONDS = 1.0
# TensorFlow compiles, or waits for other workers, in single calls that Python cannot interrupt.
_PATIENCE_SECONDS = 5.0


class Interrupted(BaseException):
    """A signal ends the process. As with KeyboardInterrupt, no `except Exception` takes it for a failure.

    Attributes:
        signal_number: the signal.
        step: the step of the state that a run saved for it; None where there was nothing to save.
        meaning: what it means for the work, where no state is saved.
    """

    def __init__(self, signal_number: int, step: int | None = None, meaning: str | None = None) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(name if step is None else f"{name} at step {step}")
        self.signal_number = signal_number
        self.step = step
        self.meaning = meaning or "the same command resumes from the last checkpoint or result, if there is one"

    @property
    def line(self) -> str:
        """What the process prints at its end."""
        if self.step is not None:
            return f"stopped by {self}, state saved; the same command resumes"
        return f"stopped by {self}; {self.meaning}"


class StopRequest:
    """A context that records signals, so that the training loop can stop between two steps.

    A second signal, a second or more after the first, ends the run without waiting for the save.

    Attributes:
        signal_number: the recorded signal; None before.

    Args:
        shared: whether several workers train. They have to stop together, so `at_once` does nothing.
    """

    DEFAULT = signal.SIGTERM

    def __init__(self, shared: bool = False) -> None:
        self.signal_number: int | None = None
        self._shared = shared

    def __enter__(self) -> "StopRequest":
        """Record signals from now on."""
        _handler.acted = -math.inf
        self._recording = _on_signals(self._record)
        self._recording.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Restore what signals did before."""
        self._recording.__exit__(*exception)

    @contextlib.contextmanager
    def at_once(self, step: int) -> Iterator[None]:
        """A context in which a signal does not wait, as all steps up to this one are saved: `Interrupted` is raised."""
        if self._shared:
            yield
            return
        stop = functools.partial(_interrupt, step=step or None)  # the state of step 0 needs no file
        if self.signal_number is not None:
            stop(self.signal_number)
        with _on_signals(stop):
            yield

    def _record(self, number: int) -> None:
        if self.signal_number is not None:
            _interrupt(number)
        self.signal_number = number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A context in which signals raise `Interrupted`.

    A failure that follows from it, such as TensorFlow's error about a Python function that was interrupted, is replaced
    by it.
    """
    _handler.raised, _handler.acted = None, -math.inf
    try:
        with _on_signals(_interrupt):
            yield
    except KeyboardInterrupt as error:
        raise Interrupted(signal.SIGINT) from error
    except Exception as error:
        if _handler.raised is None:
            raise
        raise _handler.raised from error


@contextlib.contextmanager
def stopping_means(meaning: str) -> Iterator[None]:
    """A context in which the line of a signal says this, where it otherwise says that the same command resumes."""
    before, _handler.meaning = _handler.meaning, meaning
    try:
        yield
    finally:
        _handler.meaning = before


def end_process_on_signals() -> None:
    """For the start of a process: from now on a signal ends it with a line, where nothing else is asked for.

    It is also what ends a process whose main thread does not get to a signal for seconds, unless its run has a state to
    save.
    """
    for number in _SIGNALS:
        if not _stays_ignored(number):
            signal.signal(number, _handler)
    sys.unraisablehook = _try_again
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def handle_again() -> None:
    """Take back the signals that TensorFlow took over: with several workers it has a handler of its own for SIGTERM."""
    for number in _SIGNALS:
        if signal.getsignal(number) is _handler:
            signal.signal(number, _handler)


def ignore_signals() -> None:
    """For the end of a process: signals change nothing any more."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class _Handler:
    """The handler of all signals.

    Attributes:
        act: what it does at present.
        raised: the last `Interrupted` that it raised.
        acted: when it last acted, in seconds of `time.monotonic`.
        called: when it was last called.
        meaning: what stopping means for the work at present; None for the usual.
    """

    def __init__(self) -> None:
        self.act: Callable[[int], None] = _end_process
        self.raised: Interrupted | None = None
        self.acted = self.called = -math.inf
        self.meaning: str | None = None

    def __call__(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        self.called = time.monotonic()
        if self.called - self.acted >= _ONE_REQUEST_SECONDS:
            self.acted = self.called
            self.act(number)


@contextlib.contextmanager
def _on_signals(act: Callable[[int], None]) -> Iterator[None]:
    """A context in which signals do this."""
    if threading.current_thread() is not threading.main_thread():  # the only one in which Python handles signals
        yield
        return
    before, _handler.act = _handler.act, act
    handlers = {number: signal.signal(number, _handler) for number in _SIGNALS if not _stays_ignored(number)}
    try:
        yield
    finally:
        _handler.act = before
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _stays_ignored(number: int) -> bool:
    """Whether this process was started to outlive its terminal, by `nohup`."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


def _interrupt(number: int, step: int | None = None) -> None:
    _handler.raised = Interrupted(number, step, _handler.meaning)
    raise _handler.raised


def _end_process(number: int) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{Interrupted(number, meaning=_handler.meaning).line}\n".encode())
    os._exit(128 + number)


def _try_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python drops what is raised in a finalizer, an interruption too: it comes again a moment later."""
    if isinstance(unraisable.exc_value, Interrupted):
        _handler.acted = -math.inf
        again = (threading.main_thread().ident, unraisable.exc_value.signal_number)
        threading.Timer(0.1, signal.pthread_kill, again).start()
    else:
        sys.__unraisablehook__(unraisable)


def _watch(reader: int) -> None:
    """End the process when its main thread stays in one call, and no run has a state to save."""
    while number := os.read(reader, 1)[0]:
        arrived = time.monotonic()
        time.sleep(_PATIENCE_SECONDS)
        is_recorded = isinstance(getattr(_handler.act, "__self__", None), StopRequest)
        if number in _SIGNALS and _handler.called < arrived - _ONE_REQUEST_SECONDS and not is_recorded:
            _end_process(number)


_handler = _Handler()

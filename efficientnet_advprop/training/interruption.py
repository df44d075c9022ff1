"""Stopping a run between two steps on SIGTERM or SIGINT."""

import signal
import types


class Interrupted(Exception):
    """A run stopped because of a signal, after it saved its state.

    Attributes:
        signal_number: the signal.
        step: the step of the saved state.
    """

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"{signal.Signals(signal_number).name} at step {step}")
        self.signal_number = signal_number
        self.step = step


class StopRequest:
    """A context that records SIGTERM and SIGINT, so that the training loop can stop between two steps.

    A second signal of the same kind has its usual effect, so a user can stop the run without waiting for the save.
    """

    DEFAULT = signal.SIGTERM
    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, signal.Handlers] = {}

    def __enter__(self) -> "StopRequest":
        """Install the signal handlers."""
        for number in self._SIGNALS:
            self._previous[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *exception: object) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _record(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        self.signal_number = number
        signal.signal(number, self._previous[number])

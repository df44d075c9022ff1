"""Stopping between two steps when the system asks for it."""

import signal
import types


class Interrupted(Exception):
    """A run was asked to stop and has saved its state.

    Attributes:
        signal_number: what asked.
        step: where it stopped.
    """

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"{signal.Signals(signal_number).name} at step {step}")
        self.signal_number = signal_number
        self.step = step


class StopRequest:
    """Notes SIGTERM and SIGINT while it is entered, for the loop to act on between two steps.

    A second signal of the same kind acts as it always does: whoever asks twice does not want to wait for the save.
    """

    DEFAULT = signal.SIGTERM
    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, signal.Handlers] = {}

    def __enter__(self) -> "StopRequest":
        """Start to listen."""
        for number in self._SIGNALS:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        """Put back who listened before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        self.signal_number = number
        signal.signal(number, self._previous[number])

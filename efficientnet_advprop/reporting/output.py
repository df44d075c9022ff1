"""Standard output and standard error, on which printing never ends the work."""

import errno
import os
import sys
from typing import Any, TextIO

# A reader that has gone, such as `head`, or `tee` after Ctrl-C; a terminal that was closed.
_LOST_READER = (errno.EPIPE, errno.EIO)


def keep_printing() -> None:
    """Make `sys.stdout` and `sys.stderr` streams that never raise, for the rest of the process.

    What has no reader any more is dropped; what the terminal's encoding lacks is escaped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started the process
            stream = open(os.devnull, "w")  # noqa: SIM115 (open for the rest of the process)
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, _Output(stream))


class _Output:
    """A text stream that goes on without its reader."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush what was written, or drop it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Let the descriptor lead nowhere, for what is buffered and for what TensorFlow prints."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if error.errno not in _LOST_READER:
            print(f"warning: {self._stream.name} cannot be written: {error.strerror}", file=sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

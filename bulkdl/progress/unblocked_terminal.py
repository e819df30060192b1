"""A terminal that never makes its writer wait.

A terminal stops reading after Ctrl-S, or if the connection to it hangs. A download must go on meanwhile.
"""

import io
import os
import select
import time
from typing import Final, TextIO

_LAST_WAIT_SECONDS: Final = 1.0


class UnblockedTerminal(io.TextIOBase):
    """Writes to the terminal behind `stream`. What it does not take is kept, and `is_stuck` until it was written.

    Where the terminal cannot be opened anew, writing waits as that of `stream` does.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pending = b""
        self._descriptor: int | None = None
        try:
            # Another open file: the flag of this one would be that of the shell, too.
            self._descriptor = os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except (OSError, ValueError, AttributeError):  # closed, of another user, or on Windows
            return

    @property
    def is_stuck(self) -> bool:
        """Whether the terminal has not taken everything, after another try."""
        self.flush()
        return bool(self._pending)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        """See TextIO."""
        if self._descriptor is None:
            return self._stream.write(text)
        self._pending += text.encode(self.encoding, "backslashreplace")
        return len(text)

    def flush(self) -> None:
        """See TextIO."""
        if self._descriptor is None:
            self._stream.flush()
            return
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._descriptor, self._pending) :]
        except BlockingIOError:
            return

    def isatty(self) -> bool:
        """See TextIO."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """See TextIO."""
        return self._stream.fileno()

    def close(self) -> None:
        """Write what is left, if the terminal takes it soon."""
        if self._descriptor is None:
            return
        until = time.monotonic() + _LAST_WAIT_SECONDS
        try:
            while self.is_stuck and (left := until - time.monotonic()) > 0:
                select.select([], [self._descriptor], [], left)
        finally:
            os.close(self._descriptor)
            self._descriptor, self._pending = None, b""

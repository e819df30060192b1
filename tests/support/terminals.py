"""Run a command on a terminal, in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from collections.abc import Sequence
from io import FileIO

COMMAND = [sys.executable, "-m", "bulkdl"]


def run_on_terminal(words: Sequence[object], *, columns: int, environment: dict[str, str]) -> tuple[int, str]:
    """The exit code, and all that the terminal got."""
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    with os.fdopen(leader, "rb", buffering=0) as screen:
        with os.fdopen(follower, "wb", buffering=0) as terminal:
            process = subprocess.Popen(
                [*COMMAND, *map(str, words)],
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                env={**os.environ, "TERM": "xterm", **environment},
            )
        text = b""
        while more := _read(screen):
            text += more
        return process.wait(), text.decode(errors="replace")


def _read(screen: FileIO) -> bytes:
    try:
        return screen.read(65536)
    except OSError:  # Linux reports the end of a terminal as an error
        return b""

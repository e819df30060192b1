"""Run a command on a terminal, in another process."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from collections.abc import Sequence
from io import FileIO

from tests.support.forked import ForkedOnTerminal, can_fork

COMMAND = [sys.executable, "-m", "bulkdl"]


def run_on_terminal(
    words: Sequence[object],
    *,
    columns: int = 80,
    rows: int = 24,
    environment: dict[str, str],
    until: bytes | None = None,
    typed: Sequence[bytes] = (),
) -> tuple[int, str]:
    """The exit code, and all that the terminal got. Once `until` is shown, the command is ended.

    Each line of `typed` is typed once the screen ends with a colon and a space, as questions do.
    """
    lines = list(typed)
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (rows, columns))
    with os.fdopen(leader, "r+b", buffering=0) as screen:
        with os.fdopen(follower, "wb", buffering=0) as terminal:
            process = _started([*map(str, words)], {**os.environ, "TERM": "xterm", **environment}, terminal.fileno())
        text = b""
        while more := _read(screen):
            text += more
            if lines and text.endswith(b": "):
                screen.write(lines.pop(0))
            if until is not None and until in text:
                process.terminate()  # where the tests run in the background, Ctrl-C is ignored
                until = None
        return process.wait(), text.decode(errors="replace")


def _started(
    words: list[str], environment: dict[str, str], terminal: int
) -> subprocess.Popen[bytes] | ForkedOnTerminal:
    if can_fork(words, environment):
        return ForkedOnTerminal(words, environment, terminal)
    return subprocess.Popen([*COMMAND, *words], stdin=terminal, stdout=terminal, stderr=terminal, env=environment)


def _read(screen: FileIO) -> bytes:
    try:
        return screen.read(65536)
    except OSError:  # Linux reports the end of a terminal as an error
        return b""

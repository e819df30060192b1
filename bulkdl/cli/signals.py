"""What Ctrl-C and SIGTERM do while no event loop runs; `runner` handles them in a loop. Light to import."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final, NoReturn

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def raise_on_signals() -> None:
    """Let Ctrl-C and SIGTERM raise `KeyboardInterrupt` wherever the process is: before a loop runs, and after."""
    for number in SIGNALS:
        signal.signal(number, _raise)


def ignore_signals() -> None:
    """Ignore Ctrl-C and SIGTERM from now on."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise KeyboardInterrupt(signal.Signals(number).name)

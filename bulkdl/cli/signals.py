"""What Ctrl-C, SIGTERM and a closed terminal do: before an event loop runs, in one, and at the end. Light to import."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_HANGUP: Final = getattr(signal, "SIGHUP", None)  # Windows has none
# nohup lets a command ignore it, which the command has to leave alone.
_HANGUPS: Final = (_HANGUP,) if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN else ()
_LATER_SECONDS: Final = 0.02
SIGNALS: Final[tuple[signal.Signals, ...]] = (signal.SIGINT, signal.SIGTERM, *_HANGUPS)


def raise_on_signals() -> None:
    """Let the signals raise `KeyboardInterrupt` wherever the process is: before a loop runs, and after."""
    for number in SIGNALS:
        signal.signal(number, _raise)
    sys.unraisablehook = _raise_later


def ignore_signals() -> None:
    """Ignore the signals from now on."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def handle_signals(loop: asyncio.AbstractEventLoop, handler: Callable[[], None]) -> None:
    """Call `handler` in the running `loop` for each signal, until `forget_signals`."""
    for number in SIGNALS:
        try:
            loop.add_signal_handler(number, handler)
        except NotImplementedError:  # Windows: Python calls its own handler there, between two steps of the loop
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(handler))


def forget_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Give the signals their default effect back."""
    for number in SIGNALS:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(number)
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _raise_later(ignored: sys.UnraisableHookArgs) -> None:
    """Repeat a signal that came in a callback whose errors Python ignores: of a weak reference, or `__del__`."""
    if not isinstance(ignored.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    from threading import Timer  # noqa: PLC0415 - late: almost no command needs it

    timer = Timer(_LATER_SECONDS, signal.raise_signal, (signal.SIGINT,))  # here it would be ignored again
    timer.daemon = True
    timer.start()


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise KeyboardInterrupt(signal.Signals(number).name)

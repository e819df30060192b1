"""What a stream's terminal is: its width, and whether it shows colours."""

import os
from typing import Final, TextIO

_RESET: Final = "\x1b[0m"
COLOURS: Final = {"green": "\x1b[32m", "yellow": "\x1b[33m", "red": "\x1b[31m", "dim": "\x1b[2m"}
"""The escape sequences of ECMA-48 that begin a colour."""


def width_of(stream: TextIO) -> int | None:
    """The columns of the terminal behind `stream`; None if it is not a terminal, or does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def has_colours(stream: TextIO) -> bool:
    """Whether to colour text for `stream`: a terminal, unless NO_COLOR is set (no-color.org) or TERM is `dumb`."""
    return can_redraw(stream) and not os.environ.get("NO_COLOR")


def can_redraw(stream: TextIO) -> bool:
    """Whether lines that were shown can be drawn anew: on a terminal, unless TERM is `dumb`."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """The text in one of COLOURS, if `stream` shows colours."""
    return f"{COLOURS[colour]}{text}{_RESET}" if text and has_colours(stream) else text

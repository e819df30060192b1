"""Rules for texts in messages: one line, bounded length, characters that can be stored, the nearest known name."""

import codecs
import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Final
from unicodedata import category, east_asian_width

_CUTOFF: Final = 0.65  # how much alike two names must be, from 0 to 1
_ERROR_CHARACTERS: Final = 200
_SEPARATORS: Final = re.compile(r"[-_\s]+")


def decoded(content: bytes) -> str:
    """The text of a file that a person wrote: what its byte order mark says, without the mark, or else UTF-8.

    Raises:
        UnicodeDecodeError: it is not.
    """
    return content.decode(encoding_of(content))


def encoding_of(beginning: bytes) -> str:
    """The encoding of a text that begins so: what its byte order mark says, or else UTF-8. A mark is left out."""
    # Editors and spreadsheets of Windows begin a text with a mark.
    is_utf16 = beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if is_utf16 else "utf-8-sig"


def one_line(text: str) -> str:
    """The text on one line, without control characters: no name can move the cursor or fake a line."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shortened(text: str, characters: int) -> str:
    """The text, cut after `characters` and marked with `…` if it is longer."""
    return text if len(text) <= characters else f"{text[:characters]}…"


def cells(text: str) -> int:
    """How many cells of a terminal the text takes: East Asian wide characters two, combining ones none (UAX 11)."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def fitted(text: str, most_cells: int) -> str:
    """The text, cut and marked with `…` where it takes more than `most_cells` cells of a terminal."""
    if cells(text) <= most_cells or most_cells <= 0:
        return text if most_cells > 0 else ""
    sizes = accumulate(map(_cells_of, text), initial=1)  # the mark takes one
    return f"{text[: sum(size <= most_cells for size in sizes) - 1]}…"


def _cells_of(letter: str) -> int:
    if category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if east_asian_width(letter) in {"W", "F"} else 1


def error_text(error: BaseException) -> str:
    """What an exception says, on one line of bounded length; the name of its class if it says nothing."""
    said = getattr(error, "strerror", None) or str(error)
    return shortened(one_line(str(said)), _ERROR_CHARACTERS) or type(error).__name__


def storable(path: str) -> str:
    """A path with U+FFFD for every byte that is not UTF-8: such bytes arrive as lone surrogates (PEP 383)."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def folded(name: str) -> str:
    """A name without the differences between how TCIA, IDC and people write it: case, `-`, `_` and blanks."""
    return _SEPARATORS.sub("_", name.strip().casefold())


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, compared without case; None if none is like it."""
    from difflib import get_close_matches  # noqa: PLC0415 - late: needed for a message only

    by_folded = {entry.casefold(): entry for entry in known}
    guesses = get_close_matches(name.casefold(), by_folded, n=1, cutoff=_CUTOFF)
    return by_folded[guesses[0]] if guesses else None


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """The end of a message about an unknown name: `; did you mean X?`, or `otherwise` if no known name is like it."""
    guess = nearest(name, known)
    return f"; did you mean {guess}?" if guess is not None else otherwise

"""Habits of the real servers that lose data for clients which trust them, to be switched on by name.

They are off unless asked for: this archive tells a refusal from an empty answer. Source: `getData.java`, `V2_*.java`
and `v4/*.java` of the NBIA API, and public reports of clients; each was met by somebody.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from bulkdl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Quirk(Enum):
    """One habit; the value is its name on the command line."""

    EMPTY_TOKEN = "empty-token"  # noqa: S105 - a name
    NO_CONTENT_LENGTH = "no-content-length"
    SIZES_AS_STRINGS = "sizes-as-strings"
    SINGLE_OBJECT = "single-object"
    ESCAPED_SLASHES = "escaped-slashes"
    SHORT_ZIP = "short-zip"

    @property
    def description(self) -> str:
        """What it does, for people."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Quirk.EMPTY_TOKEN: "a search with a missing or expired token finds nothing: 200 and no body, or a 500, not a 401",
    Quirk.NO_CONTENT_LENGTH: "instances come in chunks, without length, ETag and Range",
    Quirk.SIZES_AS_STRINGS: "numbers of JSON answers come as texts",
    Quirk.SINGLE_OBJECT: "a JSON answer of one row is that object, without an array around it",
    Quirk.ESCAPED_SLASHES: r"slashes in JSON answers are written \/",
    Quirk.SHORT_ZIP: "a zip of several instances ends well-formed before the last of them, and before checksums",
}


def read_quirks(names: Iterable[str]) -> frozenset[Quirk]:
    """The quirks of these names.

    Raises:
        ConfigurationError: there is no such quirk.
    """
    found = set()
    for name in names:
        try:
            found.add(Quirk(name.strip().lower()))
        except ValueError:
            known = ", ".join(quirk.value for quirk in Quirk)
            raise ConfigurationError(f"no quirk is called {name.strip()!r}; there are: {known}") from None
    return frozenset(found)

"""Quirks: behaviour of the real servers that makes clients lose data. They are off unless switched on by name.

Source: `getData.java`, `V2_*.java` and `v4/*.java` of the NBIA API, and public bug reports of clients.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from bulkdl.errors import ConfigurationError


class Quirk(Enum):
    """One quirk; its value is its name on the command line."""

    EMPTY_TOKEN = "empty-token"  # noqa: S105 - a name
    NO_CONTENT_LENGTH = "no-content-length"
    SIZES_AS_STRINGS = "sizes-as-strings"
    SINGLE_OBJECT = "single-object"
    ESCAPED_SLASHES = "escaped-slashes"
    SHORT_ZIP = "short-zip"


DESCRIPTIONS: Final = {
    Quirk.EMPTY_TOKEN: "a search with a missing or expired token is answered 200 and no body, or 500, instead of 401",
    Quirk.NO_CONTENT_LENGTH: "instances are sent in chunks, without length, ETag and Range",
    Quirk.SIZES_AS_STRINGS: "numbers in JSON answers are strings",
    Quirk.SINGLE_OBJECT: "a JSON answer of one row is an object without an array around it",
    Quirk.ESCAPED_SLASHES: r"slashes in JSON answers are written \/",
    Quirk.SHORT_ZIP: "a zip of several instances ends, well-formed, before the last instance and the checksums",
}


def read_quirks(names: Iterable[str]) -> frozenset[Quirk]:
    """The quirks with these names.

    Raises:
        ConfigurationError: a name is unknown.
    """
    found = set()
    for name in names:
        try:
            found.add(Quirk(name.strip().lower()))
        except ValueError:
            known = ", ".join(quirk.value for quirk in Quirk)
            raise ConfigurationError(f"unknown quirk {name.strip()!r}; known quirks: {known}") from None
    return frozenset(found)

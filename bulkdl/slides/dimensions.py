"""The size of a slide in pixels, from the first directory of its TIFF; nothing else of the file is read.

Source: TIFF 6.0, section 2; BigTIFF as libtiff describes it.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_WIDTH, _LENGTH = 256, 257
_MOST_TAGS: Final = 4_096
_TYPES: Final = {3: "H", 4: "I", 16: "Q"}  # SHORT, LONG, LONG8
_ORDERS: Final = {b"II": "<", b"MM": ">"}


class Dimensions(NamedTuple):
    """Pixels of the largest image."""

    width: int
    height: int


class _Form(NamedTuple):
    """How one of the two forms of TIFF is written: the formats of an offset, a number of tags, a tag."""

    offset: str
    number: str
    tag: str


_FORMS: Final = {42: _Form("I", "H", "HHI4s"), 43: _Form("4xQ", "Q", "HHQ8s")}


def read_dimensions(path: Path) -> Dimensions | None:
    """The size of the first image; None if the file is not a TIFF, or cannot be read. Blocking."""
    with suppress(OSError, struct.error, KeyError), path.open("rb") as file:
        order = _ORDERS[file.read(2)]
        form = _FORMS[struct.unpack(f"{order}H", file.read(2))[0]]
        file.seek(struct.unpack(order + form.offset, file.read(struct.calcsize(order + form.offset)))[0])
        (count,) = struct.unpack(order + form.number, file.read(struct.calcsize(order + form.number)))
        size = struct.calcsize(order + form.tag)
        content = file.read(size * min(count, _MOST_TAGS))
        found = {}
        for tag, kind, _, value in struct.iter_unpack(order + form.tag, content):
            if tag in {_WIDTH, _LENGTH}:
                (found[tag],) = struct.unpack_from(order + _TYPES[kind], value)
        return Dimensions(found[_WIDTH], found[_LENGTH])
    return None

"""Complete what an archive says of a Series by the header of its first instance: some layouts need more than a list."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.dicom.header import Header
from bulkdl.errors import InvalidInstance
from bulkdl.model.records import Entry, Series
from bulkdl.resolve.object_heads import header_of

_ELSEWHERE: Final = {"description": "series_description"}  # the attributes that a header has under another name


async def read_first_header(archive: Archive, series: Series, entry: Entry) -> Header | None:
    """The header of an entry, from its first bytes; None if it cannot be read. Raises RequestFailed."""
    with suppress(InvalidInstance):
        return await header_of(archive, series, entry)
    return None


def completed(series: Series, header: Header | None, unknown: Collection[str]) -> Series:
    """The Series with its `unknown` attributes as the header has them."""
    values = {name: getattr(header, _ELSEWHERE.get(name, name), None) for name in unknown}
    return replace(series, **{name: value for name, value in values.items() if value is not None})

"""Complete what an archive says of a Series by the header of its first instance: some layouts need more than a list."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final, cast

from bulkdl.archive.base import Archive, Body
from bulkdl.dicom.header import Header, read_header
from bulkdl.errors import InstanceError
from bulkdl.model.records import Entry, Series

_HEADER_BYTES: Final = 1 << 18
_ELSEWHERE: Final = {"description": "series_description"}  # the attributes that a header has under another name


async def read_first_header(archive: Archive, series: Series, entry: Entry) -> Header | None:
    """The header of an entry, from its first bytes; None if it cannot be read. Raises RequestFailed."""

    async def once(_: int) -> bytes:
        received = bytearray()
        async with archive.open(series.series_uid, entry) as body, aclosing(_generator(body)) as chunks:
            async for chunk in chunks:
                received += chunk
                await archive.retrier.received(len(chunk))
                if len(received) >= _HEADER_BYTES:
                    break
        return bytes(received)

    content, _ = await archive.retrier.attempt(f"the header of instance {entry.key}", once)
    with suppress(InstanceError):
        return read_header(content)
    return None


def _generator(body: Body) -> AsyncGenerator[bytes, None]:
    return cast("AsyncGenerator[bytes, None]", body.chunks())  # to be closed before its end


def completed(series: Series, header: Header | None, unknown: Collection[str]) -> Series:
    """The Series with its `unknown` attributes as the header has them."""
    values = {name: getattr(header, _ELSEWHERE.get(name, name), None) for name in unknown}
    return replace(series, **{name: value for name, value in values.items() if value is not None})

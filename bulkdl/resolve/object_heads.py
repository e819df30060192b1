"""The heads of entries: the first bytes of a file at an archive, read without the rest, and what they say.

A list of a bucket does not have the SOP Instance UIDs of its objects. The header of a DICOM file does, in its first
kilobytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from bulkdl.archive.base import Archive, Rest
from bulkdl.archive.routed import part_of
from bulkdl.dicom.header import Header, read_header
from bulkdl.errors import InvalidInstance, RequestRejected, UnexpectedAnswer
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.records import Entry, Series
from bulkdl.runtime.tasks import as_iterator, run_pool

# The permits for requests in flight limit them further.
_HEADS_AT_ONCE: Final = 32
_HEAD_BYTES: Final = (1 << 14, 1 << 20)
"""How much is read at first, and then, where a header is longer."""

FIRST_BYTES: Final = _HEAD_BYTES[0]


async def read_head(archive: Archive, series: Series, entry: Entry, *, at_most: int) -> bytes:
    """The first bytes of an entry, `at_most` so many; fewer where it ends before. Repeats a failed request.

    They are asked for as a range. An archive that knows none may send the whole, which is not read further, or refuse.

    Raises:
        RequestFailed: the archive does not send it.
    """
    size = entry.size_bytes
    retrier = part_of(archive, entry.key).retrier

    async def received(rest: Rest | None) -> bytes:
        content = bytearray()
        async with archive.open(series.series_uid, entry, rest=rest) as body:
            async for chunk in body.chunks():
                content += chunk
                await retrier.received(len(chunk))
                if len(content) >= at_most:
                    break
        return bytes(content[:at_most])

    async def once(_attempt: int) -> bytes:
        if size != 0:  # an object without bytes has no range
            with suppress(RequestRejected, UnexpectedAnswer):
                return await received(Rest(0, size, None, min(size or at_most, at_most)))
        return await received(None)

    return await retrier.ask(f"the head of {entry.key}", once)


async def identified(
    archive: Archive, series: Series, entries: Sequence[Entry], wanted: Collection[SopInstanceUid]
) -> tuple[Entry, ...]:
    """The entries, with the SOP Instance UIDs of those that were looked at until all the `wanted` ones were found.

    An entry whose UID the archive lists is not read.

    Raises:
        RequestFailed: some cannot be read, and not all wanted ones are among the others.
    """
    missing = set(wanted) - {entry.sop_uid for entry in entries}

    def is_enough(sop_uid: SopInstanceUid | None = None) -> bool:
        missing.discard(sop_uid)
        return not missing

    if is_enough():
        return tuple(entries)
    return await identified_until(archive, series, entries, is_enough)


async def identified_until(
    archive: Archive, series: Series, entries: Sequence[Entry], is_enough: Callable[[SopInstanceUid], bool]
) -> tuple[Entry, ...]:
    """The entries, with the SOP Instance UIDs of those that were looked at until `is_enough`, which gets each of them.

    An entry whose UID is known is not read.

    Raises:
        RequestFailed: some cannot be read, and the others were not enough.
    """
    found = {entry.key: entry for entry in entries}
    failures: list[Exception] = []
    has_enough = False

    async def read(entry: Entry) -> None:
        nonlocal has_enough
        if has_enough:
            return
        try:
            sop_uid = (await header_of(archive, series, entry)).sop_uid
        except (InvalidInstance, UnexpectedAnswer) as error:
            failures.append(error)
            return
        found[entry.key] = replace(entry, sop_uid=sop_uid)
        has_enough |= is_enough(sop_uid)

    unread = [entry for entry in entries if entry.sop_uid is None]
    await run_pool(as_iterator(unread), read, workers=_HEADS_AT_ONCE, name="head")
    if failures and not has_enough:
        raise UnexpectedAnswer(f"{len(failures):,} objects cannot be identified: {failures[0]}") from failures[0]
    return tuple(found.values())


async def all_identified(archive: Archive, series: Series, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries, each with its SOP Instance UID, in the order of the instance numbers that were read for that.

    Raises:
        RequestFailed: one cannot be read, or is not a DICOM file.
    """
    found = {entry.key: entry for entry in entries}
    numbers: dict[str, int] = {}

    async def read(entry: Entry) -> None:
        try:
            header = await header_of(archive, series, entry)
        except InvalidInstance as error:
            raise UnexpectedAnswer(f"{entry.key} cannot be identified: {error}") from error
        found[entry.key] = replace(entry, sop_uid=header.sop_uid)
        if header.instance_number is not None:
            numbers[entry.key] = header.instance_number

    unread = [entry for entry in entries if entry.sop_uid is None]
    await run_pool(as_iterator(unread), read, workers=_HEADS_AT_ONCE, name="head")
    return tuple(sorted(found.values(), key=lambda entry: (entry.key in numbers, numbers.get(entry.key, 0))))


async def header_of(archive: Archive, series: Series, entry: Entry) -> Header:
    """The header of an entry, from its first bytes.

    Raises:
        RequestFailed: the archive does not send it.
        InvalidInstance: it is not a DICOM file.
    """
    first, more = _HEAD_BYTES
    content = await read_head(archive, series, entry, at_most=first)
    with suppress(InvalidInstance):
        return await asyncio.to_thread(read_header, content)
    content = await read_head(archive, series, entry, at_most=more)
    return await asyncio.to_thread(read_header, content)

"""The heads of entries: as many bytes as are needed, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bulkdl.archive.base import Rest
from bulkdl.errors import NotFound, RequestFailed, RequestRejected, UnexpectedAnswer
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, Series
from bulkdl.resolve.object_heads import all_identified, identified, read_head
from tests.support.catalogue_files import one
from tests.support.dicom_files import MadeUp, instances
from tests.support.memory_archive import MemoryArchive, MemoryBody

ONE, OTHER, *_ = MADE_UP = list(instances(series=1, per_series=4))
SERIES = Series(series_uid=ONE.series_uid)


def entry_of(one: MadeUp) -> Entry:
    return Entry(f"bucket/{one.sop_uid}", size_bytes=len(one.content))


ENTRIES = [entry_of(one) for one in MADE_UP]


def archive_of(made_up: list[MadeUp]) -> MemoryArchive:
    return MemoryArchive({entry_of(one).key: [one.content] for one in made_up})


async def test_a_head_is_requested_as_a_range() -> None:
    archive = archive_of(MADE_UP)
    assert await read_head(archive, SERIES, ENTRIES[0], at_most=200) == ONE.content[:200]
    (rest,) = archive.rests
    assert rest is not None
    assert (rest.start, rest.end, rest.length) == (0, 200, len(ONE.content))
    assert await read_head(archive, SERIES, ENTRIES[0], at_most=1 << 20) == ONE.content
    assert archive.rests[1] == Rest(0, len(ONE.content), None, len(ONE.content))


async def test_a_head_of_unknown_size_is_requested_as_a_range_too() -> None:
    archive = archive_of(MADE_UP)
    assert await read_head(archive, SERIES, Entry(ENTRIES[0].key), at_most=200) == ONE.content[:200]
    assert archive.rests == [Rest(0, None, None, 200)]


async def test_nothing_has_no_range() -> None:
    archive = MemoryArchive({"empty": [b""]})
    assert await read_head(archive, SERIES, Entry("empty", size_bytes=0), at_most=200) == b""
    assert archive.rests == [None]


class RefusingRanges(MemoryArchive):
    """Refuses each range with `error`."""

    error: RequestFailed = UnexpectedAnswer("another part")

    @asynccontextmanager
    async def open(self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[MemoryBody]:
        async with super().open(series_uid, entry, rest=rest) as body:
            if rest is not None:
                raise self.error
            yield body


@pytest.mark.parametrize("error", [RequestRejected("416", status=416), UnexpectedAnswer("another part")])
async def test_a_head_is_read_where_ranges_are_refused(error: RequestFailed) -> None:
    archive = RefusingRanges({ENTRIES[0].key: [ONE.content]})
    archive.error = error
    assert await read_head(archive, SERIES, ENTRIES[0], at_most=200) == ONE.content[:200]
    assert archive.rests[1:] == [None]
    archive.error = NotFound("gone")
    with pytest.raises(NotFound):
        await read_head(archive, SERIES, ENTRIES[0], at_most=200)


async def test_entries_get_their_uids_until_all_wanted_ones_are_found() -> None:
    archive = archive_of(MADE_UP)
    found = await identified(archive, SERIES, ENTRIES, {OTHER.sop_uid})
    assert [each.key for each in found] == [each.key for each in ENTRIES]
    assert OTHER.sop_uid in {each.sop_uid for each in found}
    listed = [Entry(one.sop_uid, one.sop_uid) for one in MADE_UP]
    before = archive.requests
    assert await identified(archive, SERIES, listed, {ONE.sop_uid}) == tuple(listed)
    assert archive.requests == before


async def test_an_object_that_is_not_dicom_is_not_an_answer() -> None:
    archive = MemoryArchive({ENTRIES[0].key: [b"<html>"], ENTRIES[1].key: [OTHER.content]})
    assert OTHER.sop_uid in {e.sop_uid for e in await identified(archive, SERIES, ENTRIES[:2], {OTHER.sop_uid})}
    with pytest.raises(UnexpectedAnswer, match="1 objects cannot be identified"):
        await identified(archive, SERIES, ENTRIES[:2], {ONE.sop_uid})


async def test_all_entries_get_their_uids_or_it_is_an_error() -> None:
    found = await all_identified(archive_of(MADE_UP), SERIES, ENTRIES)
    assert [each.sop_uid for each in found] == [one.sop_uid for one in MADE_UP]
    archive = MemoryArchive({ENTRIES[0].key: [b"<html>"], ENTRIES[1].key: [OTHER.content]})
    with pytest.raises(UnexpectedAnswer, match="cannot be identified"):
        await all_identified(archive, SERIES, ENTRIES[:2])


async def test_all_entries_are_in_the_order_of_their_numbers() -> None:
    """The names of objects are UUIDs: their order says nothing, and a viewer scrolls through these."""
    contents = {
        entry_of(made).key: [
            one(SOPInstanceUID=made.sop_uid, SeriesInstanceUID=made.series_uid, InstanceNumber=str(last))
        ]
        for last, made in zip(range(12, 8, -1), MADE_UP, strict=True)
    }
    found = await all_identified(MemoryArchive(contents), SERIES, ENTRIES)
    assert [each.sop_uid for each in found] == [made.sop_uid for made in reversed(MADE_UP)]

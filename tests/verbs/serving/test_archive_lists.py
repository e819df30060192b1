"""The lists of the archive behind a cache: what is asked of it, and how often."""

from __future__ import annotations

import asyncio

import pytest

from bulkdl.archive.base import Capabilities
from bulkdl.errors import UnexpectedAnswer
from bulkdl.model.records import Entry, Series
from bulkdl.verbs.serving.archive_lists import ArchiveLists
from tests.support.dicom_files import MadeUp, instances
from tests.support.memory_archive import MemoryArchive

MADE_UP = list(instances(series=1, per_series=40, rows=256))
SERIES = Series(series_uid=MADE_UP[0].series_uid, image_count=len(MADE_UP))


def bucket_of(made_up: list[MadeUp]) -> MemoryArchive:
    archive = MemoryArchive({f"bucket/{one.sop_uid}": [one.content] for one in made_up})
    archive.entries = [Entry(f"bucket/{one.sop_uid}", size_bytes=len(one.content)) for one in made_up]
    archive.capabilities = Capabilities(ranges=True, lists_sop_uids=False)
    return archive


async def test_an_instance_is_found_by_the_heads_up_to_it() -> None:
    archive = bucket_of(MADE_UP)
    lists = ArchiveLists(archive)
    found = await asyncio.gather(*(lists.find(SERIES, MADE_UP[0].sop_uid.__eq__) for _ in range(5)))
    assert {entry.key for entry in found if entry is not None} == {f"bucket/{MADE_UP[0].sop_uid}"}
    assert 1 <= len(archive.rests) < len(MADE_UP)
    assert await lists.find(SERIES, "1.2.3".__eq__) is None
    assert len(archive.rests) == len(MADE_UP)
    assert await lists.sop_uids(SERIES) == tuple(one.sop_uid for one in MADE_UP)
    assert len(archive.rests) == len(MADE_UP)


async def test_a_list_that_was_forgotten_is_asked_for_again() -> None:
    archive = bucket_of(MADE_UP[:1])
    lists = ArchiveLists(archive)
    assert await lists.sop_uids(SERIES) == (MADE_UP[0].sop_uid,)
    lists.forget(SERIES.series_uid)
    archive.entries = []
    assert await lists.sop_uids(SERIES) == ()


async def test_one_file_that_cannot_be_identified_does_not_keep_from_the_others() -> None:
    archive = bucket_of(MADE_UP[:3])
    archive.bodies = {**archive.bodies, f"bucket/{MADE_UP[0].sop_uid}": [b"not a DICOM file"]}
    archive.entries[0] = Entry(f"bucket/{MADE_UP[0].sop_uid}", size_bytes=16)
    lists = ArchiveLists(archive)
    assert (await lists.find(SERIES, MADE_UP[2].sop_uid.__eq__) or Entry("")).key == f"bucket/{MADE_UP[2].sop_uid}"
    with pytest.raises(UnexpectedAnswer, match="cannot be identified"):
        await lists.find(SERIES, "1.2.3".__eq__)

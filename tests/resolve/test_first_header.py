"""What an archive does not tell of a Series is read from the header of its first instance."""

from __future__ import annotations

from datetime import date

from bulkdl.archive.base import Rest
from bulkdl.model.records import Entry, Series
from bulkdl.resolve.first_header import completed, read_first_header
from bulkdl.resolve.object_heads import FIRST_BYTES
from tests.support.dicom_files import instances
from tests.support.memory_archive import MemoryArchive

ONE = next(iter(instances(series=1, per_series=1, rows=512)))
SERIES = Series(series_uid=ONE.series_uid, modality="MR")
UNKNOWN = {"study_date", "body_part", "description"}


async def test_takes_from_the_header_what_is_unknown_and_no_more() -> None:
    archive = MemoryArchive({"key": [ONE.content]})
    header = await read_first_header(archive, SERIES, Entry("key"))
    series = completed(SERIES, header, UNKNOWN)
    assert (series.study_date, series.body_part, series.description) == (date(2020, 1, 2), "CHEST", None)
    assert (series.modality, series.manufacturer) == ("MR", None)


async def test_a_large_instance_costs_its_head_alone() -> None:
    archive = MemoryArchive({"key": [ONE.content]})
    await read_first_header(archive, SERIES, Entry("key", size_bytes=len(ONE.content)))
    assert archive.rests == [Rest(0, len(ONE.content), None, FIRST_BYTES)]


async def test_an_instance_without_a_readable_header_changes_nothing() -> None:
    archive = MemoryArchive({"key": [b"<html>"]})
    assert await read_first_header(archive, SERIES, Entry("key")) is None
    assert completed(SERIES, None, UNKNOWN) == SERIES

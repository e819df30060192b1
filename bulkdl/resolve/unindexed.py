"""Folders of a bucket that no index knows: what lies there, with the identity that the header of a file states.

A manifest may be later than the index, or name data that was never in it. The files are validated against that
identity when they are downloaded, as against a row of the index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from bulkdl.archive.base import Archive, FoundSeries, Listing, SeriesQuestion
from bulkdl.dicom.header import Header, read_header
from bulkdl.errors import ArchiveUnreachable, ConnectFailed, InvalidInstance, RequestFailed, UnexpectedAnswer
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.resolve.object_heads import read_head
from bulkdl.runtime.tasks import as_iterator, run_pool

_FOLDER: Final = "folder"
_SECONDS: Final = 60.0  # for one folder
_AT_ONCE: Final = 8
_HEADERS_READ: Final = 3  # the first files of a folder, until one has a header
_HEADER_BYTES: Final = 1 << 18
_UNKNOWN: Final = SeriesUid("")


async def find_unindexed(archive: Archive, questions: Sequence[SeriesQuestion]) -> list[FoundSeries]:
    """What lies in the folders of these questions; a question without a folder, or with an empty one, is not found."""
    found = [FoundSeries(not_found=tuple(each for each in questions if _FOLDER not in each.criteria))]

    async def look(question: SeriesQuestion) -> None:
        found.append(await _look(archive, question))

    folders = [each for each in questions if _FOLDER in each.criteria]
    await run_pool(as_iterator(folders), look, workers=_AT_ONCE, name="folder")
    return found


async def _look(archive: Archive, question: SeriesQuestion) -> FoundSeries:
    location = question.criteria[_FOLDER]
    nowhere = Series(series_uid=_UNKNOWN, location=location)
    try:
        async with asyncio.timeout(_SECONDS):
            listing = await archive.list(nowhere)
            if not listing.entries:
                reason = f"{question.reason or 'no index knows this folder'}; there are no files in it"
                return FoundSeries(not_found=(replace(question, reason=reason),))
            return FoundSeries((_series(location, listing, await _first_header(archive, nowhere, listing)),))
    except RequestFailed as error:
        return FoundSeries(failed=((question, error),))
    except (ArchiveUnreachable, TimeoutError) as error:
        failure = ConnectFailed(
            f"no index knows this folder, and it cannot be listed: {str(error) or 'no answer in time'}"
        )
        return FoundSeries(failed=((question, failure),))


async def _first_header(archive: Archive, nowhere: Series, listing: Listing) -> Header:
    for entry in [entry for entry in listing.entries if entry.size_bytes != 0][:_HEADERS_READ]:
        content = await read_head(archive, nowhere, entry, at_most=_HEADER_BYTES)
        with suppress(InvalidInstance):
            return read_header(content)
    raise UnexpectedAnswer("no index knows this folder, and its first files are not DICOM files")


def _series(location: str, listing: Listing, header: Header) -> Series:
    sizes = [entry.size_bytes for entry in listing.entries if entry.size_bytes is not None]
    return Series(
        series_uid=header.series_uid,
        study_uid=header.study_uid,
        patient_id=header.patient_id or "",
        collection=header.collection or "",
        modality=header.modality,
        image_count=len(listing.entries),
        size_bytes=sum(sizes) if len(sizes) == len(listing.entries) else None,
        body_part=header.body_part,
        manufacturer=header.manufacturer,
        model=header.model,
        description=header.series_description,
        series_number=header.series_number,
        series_date=header.series_date,
        study_date=header.study_date,
        study_description=header.study_description,
        location=location,
    )


def notes_of(series: Sequence[Series]) -> list[str]:
    """What to report of Series that were found so."""
    return [
        f"no index knows the folder {each.location}: its files say that they are series {each.series_uid}"
        for each in series
    ]

"""A mirror's Series against the archive's own words: `verify --remote`.

Where the archive has an MD5 for a Series (NBIA's getMD5Hierarchy: the MD5 of the MD5s of its instances, in hexadecimal,
sorted and joined), one small request proves the whole Series. Elsewhere its count and size are compared. Only Series
that the mirror holds as a whole can be compared; of those that still owe something, the report says so anyway.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Final

from bulkdl.archive.http import ArchiveClient, connect
from bulkdl.errors import AccessDenied, ArchiveRefused, RequestFailed
from bulkdl.fetch.worker import DEFAULT_CEILING, WorkerSettings, make_retrier
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import SeriesRow
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted, Sink
from bulkdl.model.reports import Problem, ProblemKind
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.files import MirrorFiles
from bulkdl.verbs.common import find_archive

_AT_ONCE: Final = 8
_PAGE: Final = 200


async def compare(
    files: MirrorFiles,
    journal: Journal,
    archive: ArchiveChoice,
    settings: FetchSettings,
    *,
    sink: Sink,
    stop: asyncio.Event,
) -> tuple[int, list[Problem]]:
    """Hold every whole Series of the mirror against the archive's; how many those were, and which differ, by path.

    Raises:
        ArchiveError: the archive refused, or could not be reached.
        Interrupted: `stop` was set while it waited.
    """
    async with find_archive(archive) as profile:
        retrier = make_retrier(
            WorkerSettings(
                profile=profile,
                access=archive.access,
                root=files.root,
                fetch=settings,
                ceiling=settings.concurrency or DEFAULT_CEILING,
            ),
            sink,
            stop,
        )
        async with connect(profile, retrier, access=archive.access, note=lambda text: sink(Noted(text))) as client:
            return await _compare(journal, client, stop)


async def _compare(journal: Journal, client: ArchiveClient, stop: asyncio.Event) -> tuple[int, list[Problem]]:
    compared = 0
    problems: list[Problem] = []

    async def whole_series() -> AsyncIterator[SeriesRow]:
        after = 0
        while not stop.is_set() and (page := journal.series(after=after, limit=_PAGE)):
            after = page[-1].id
            for row in page:
                if row.held and not row.is_in_part and not (row.owed or row.failed or row.quarantined):
                    yield row

    async def ask(row: SeriesRow) -> None:
        nonlocal compared
        difference = await _difference(row, journal, client)
        compared += 1
        if difference is not None:
            uid = row.series.series_uid
            problems.append(Problem(row.folder or "", ProblemKind.DIFFERS, series=uid, message=difference))

    await run_pool(whole_series(), ask, workers=_AT_ONCE, name="compare")
    return compared, sorted(problems, key=lambda problem: problem.path)


async def _difference(row: SeriesRow, journal: Journal, client: ArchiveClient) -> str | None:
    """In what the archive's Series is another than ours, in words; None where it is the same."""
    uid = row.series.series_uid
    ours = series_md5(_md5s(row, journal))
    try:
        archives = await client.series_checksum(uid)
        if archives == ours:
            return None
        told = await client.size(uid)
    except (AccessDenied, ArchiveRefused):
        raise
    except RequestFailed as error:
        return f"the archive does not say what the series holds: {error}"
    parts = []
    if told.image_count is not None and told.image_count != row.held:
        parts.append(f"{row.held:,} instances here, {told.image_count:,} there")
    if told.size_bytes is not None and told.size_bytes != row.held_bytes:
        parts.append(f"{row.held_bytes:,} bytes here, {told.size_bytes:,} there")
    if archives is not None:
        parts.append(f"MD5 of the series {ours.hex()} here, {archives.hex()} there")
    elif told.image_count is None and told.size_bytes is None:
        parts.append("the archive does not know the series any more")
    return ", ".join(parts) or None


def _md5s(row: SeriesRow, journal: Journal) -> list[bytes]:
    """The MD5s of a Series' held instances, as they were journalled."""
    after: tuple[int, str] = (row.id, "")
    found: list[bytes] = []
    while page := [held for held in journal.held(after=after, limit=_PAGE) if held.series_id == row.id]:
        found += [held.md5 or b"" for held in page]
        after = (row.id, page[-1].sop_uid)
    return found


def series_md5(md5s: list[bytes]) -> bytes:
    """NBIA's MD5 of a Series: of the MD5s of its instances, in lower-case hexadecimal, sorted and joined."""
    joined = "".join(sorted(md5.hex() for md5 in md5s))
    return hashlib.md5(joined.encode("ascii"), usedforsecurity=False).digest()

"""The Series of a mirror compared with the archive: `verify --remote`.

Where the archive knows an MD5 for a Series (NBIA's getMD5Hierarchy: the MD5 of the MD5s of its instances, in
hexadecimal, sorted and joined), one small request compares the whole Series. Elsewhere its count and size are compared.
Only complete Series can be compared; the report counts what the others owe.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.archive.nbia.values import md5_of_md5s
from bulkdl.errors import RequestFailed
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import SeriesRow
from bulkdl.model.reports import Problem, ProblemKind
from bulkdl.runtime.tasks import run_pool

_AT_ONCE: Final = 8
_PAGE: Final = 200


async def compare_series(journal: Journal, client: Archive, stop: asyncio.Event) -> tuple[int, list[Problem]]:
    """Compare every complete Series with the archive; return how many those were, and which differ, by path."""
    compared = 0
    problems: list[Problem] = []
    unanswered: list[RequestFailed] = []

    async def whole_series() -> AsyncIterator[SeriesRow]:
        after = 0
        while not stop.is_set() and (page := journal.series(after=after, limit=_PAGE)):
            after = page[-1].id
            for row in page:
                if row.held and not row.is_in_part and not (row.owed or row.failed or row.quarantined):
                    yield row

    async def ask(row: SeriesRow) -> None:
        nonlocal compared
        try:
            difference = await _difference(row, journal, client)
        except RequestFailed as error:
            unanswered.append(error)
            difference = f"not compared, the archive did not answer for this series: {error}"
        compared += 1
        if difference is not None:
            uid = row.series.series_uid
            problems.append(Problem(row.folder or "", ProblemKind.DIFFERS, series=uid, message=difference))

    await run_pool(whole_series(), ask, workers=_AT_ONCE, name="compare")
    if unanswered and len(unanswered) == compared:
        raise unanswered[0]
    return compared, sorted(problems, key=lambda problem: problem.path)


async def _difference(row: SeriesRow, journal: Journal, client: Archive) -> str | None:
    """How the archive's Series differs from ours; None where it is the same."""
    uid = row.series.series_uid
    ours = bytes.fromhex(md5_of_md5s(md5.hex() for md5 in _md5s(row, journal)))
    archives = await client.series_checksum(uid)
    if archives == ours:
        return None
    size = await client.size(uid)
    parts = []
    if size.image_count is not None and size.image_count != row.held:
        parts.append(f"{row.held:,} instances here, {size.image_count:,} there")
    if size.size_bytes is not None and size.size_bytes != row.held_bytes:
        parts.append(f"{row.held_bytes:,} bytes here, {size.size_bytes:,} there")
    if archives is not None:
        parts.append(f"MD5 of the series {ours.hex()} here, {archives.hex()} there")
    elif size.image_count is None and size.size_bytes is None:
        parts.append("the archive no longer has the series")
    return ", ".join(parts) or None


def _md5s(row: SeriesRow, journal: Journal) -> list[bytes]:
    """The MD5s of the held instances of a Series, from the journal."""
    after: tuple[int, str] = (row.id, "")
    found: list[bytes] = []
    while page := [held for held in journal.held(after=after, limit=_PAGE) if held.series_id == row.id]:
        found += [held.md5 or b"" for held in page]
        after = (row.id, page[-1].sop_uid)
    return found

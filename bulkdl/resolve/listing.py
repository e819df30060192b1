"""Series become entries: the second stage of a run. Each list is compared with the archive's own count."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.errors import DiffersAtSource, NotFound, RequestFailed, ShortAtSource, UnexpectedAnswer
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run, UnlistedSeries
from bulkdl.journal.thread import JournalThread
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import Entry, Series
from bulkdl.resolve.object_heads import identified
from bulkdl.runtime.availability import Refusals
from bulkdl.runtime.tasks import Stage, run_pool
from bulkdl.store.layout import plain_names, special_name

# The permits for requests in flight limit them further; downloads wait for the same permits, first come, first served.
_LISTS_AT_ONCE: Final = 32
_INSTANCES_AT_ONCE: Final = 8_000  # of these Series: each takes a third of a KB until it is recorded
_PAGE: Final = 100
_MOST_OF_A_SERIES: Final = 8  # requests, of which there is only one if the Series comes as a bundle
_NOT_LISTED: Final = "the archive does not list this instance in its series"
_ATTEMPTS_AT_A_SHORT_LIST: Final = 4  # an archive in trouble, or one whose token has expired, may answer with nothing


@dataclass(frozen=True, slots=True)
class ListSteps:
    """What is done about each Series that is listed: before its entries are recorded, and after.

    `after` gets the keys of the entries if the list is complete. `may_list` tells which Series may be listed.
    """

    after: Callable[[SeriesUid, frozenset[str] | None], Awaitable[None]]
    before: Callable[[Series, Sequence[Entry]], Awaitable[None]] | None = None
    may_list: Callable[[Series], bool] = lambda _: True


async def list_instances(
    journal_thread: JournalThread,
    run: Run,
    archive: Archive,
    *,
    upstream: Stage,
    downstream: Stage,
    steps: ListSteps,
) -> None:
    """List the entries of each Series in the journal that has none, until `upstream` ends.

    A list that is shorter than the archive's own count is requested again before it is used, and then recorded as a
    failure of the Series; its entries are downloaded all the same.

    Raises:
        BulkdlError: what ends the run. A list that fails is a failure of its Series.
    """

    async def unlisted() -> AsyncIterator[UnlistedSeries]:
        while True:
            upstream.changed.clear()
            had_ended, asked, after = upstream.has_ended, False, 0
            while page := await journal_thread(Journal.unlisted_series, run, after=after, limit=_PAGE):
                archive.retrier.expected = sum(map(_requests_expected, page))
                for row in page:
                    after = row.id
                    if row.series.series_uid not in in_hand and steps.may_list(row.series):
                        asked = True
                        await in_hand.add(row.series)
                        yield row
            if asked:
                continue
            if had_ended:
                return
            await upstream.changed.wait()

    in_hand = _InHand()
    refusals = Refusals()

    async def ask(row: UnlistedSeries) -> None:
        try:
            keys, holds_files = await _list_one(row, journal_thread, run, archive, steps, refusals)
            await steps.after(row.series.series_uid, keys)
            if holds_files:
                await journal_thread(Journal.end_listing, row.series.series_uid)
        finally:
            in_hand.remove(row.series)
        downstream.more()

    await run_pool(unlisted(), ask, workers=_LISTS_AT_ONCE, name="list")


class _InHand:
    """The Series that are being listed: one, or some that do not have too many instances together."""

    def __init__(self) -> None:
        self._instances: Counter[SeriesUid] = Counter()
        self._has_room = asyncio.Event()

    def __contains__(self, series_uid: SeriesUid) -> bool:
        return series_uid in self._instances

    async def add(self, series: Series) -> None:
        """Wait until the Series has room beside the others."""
        instances = series.image_count or 0
        while self._instances and self._instances.total() + instances > _INSTANCES_AT_ONCE:
            self._has_room.clear()
            await self._has_room.wait()
        self._instances[series.series_uid] = instances

    def remove(self, series: Series) -> None:
        """It is listed."""
        del self._instances[series.series_uid]
        self._has_room.set()


def _requests_expected(row: UnlistedSeries) -> int:
    """How many requests for instances of a Series may be sent as soon as it is listed."""
    instances = row.series.image_count or 0 if row.wanted is None else len(row.wanted)
    return min(instances, _MOST_OF_A_SERIES)


async def _list_one(
    row: UnlistedSeries,
    journal_thread: JournalThread,
    run: Run,
    archive: Archive,
    steps: ListSteps,
    refusals: Refusals,
) -> tuple[frozenset[str] | None, bool]:
    """Record the entries of a Series; return their keys if the list is complete and all of them are wanted.

    And whether `Journal.end_listing` is due, once its files were compared with them.
    """
    uid = row.series.series_uid
    try:
        entries, invalid_rows, attempts = await list_until_complete(row.series, archive)
        if steps.before is not None and entries:
            await steps.before(row.series, entries)
        if row.wanted is not None:
            entries = await identified(archive, row.series, entries, row.wanted)
        refusals.answered()
    except RequestFailed as error:
        refusals.failed(error)
        await journal_thread(
            Journal.record_series_failure, run, uid, error=error.code, message=str(error), attempts=error.attempts
        )
        return None, False
    wanted = [entry for entry in entries if row.wanted is None or entry.sop_uid in row.wanted]
    missing = sorted((row.wanted or frozenset()) - {entry.sop_uid for entry in wanted})
    recorded = [*wanted, *(Entry(sop_uid, sop_uid) for sop_uid in missing)]
    names = names_of(recorded)
    series = row.series
    if finding(series, entries, invalid_rows) is not None:  # resolving may have brought other numbers meanwhile
        known = await journal_thread(Journal.find_series, uid)
        series = known.series if known is not None else series
    is_whole = row.wanted is None and 0 < (series.image_count or 0) <= len(entries)
    absent = [_not_found(uid, sop_uid, _NOT_LISTED) for sop_uid in missing]
    holds_files = await journal_thread(
        Journal.record_instances, run, uid, recorded, names, missing=absent, is_whole=is_whole
    )
    found = finding(series, entries, invalid_rows)
    if found is None:
        is_whole = row.wanted is None and not invalid_rows
        return frozenset(entry.key for entry in entries) if is_whole else None, holds_files
    await journal_thread(
        Journal.record_series_failure, run, uid, error=found.code, message=str(found), attempts=attempts
    )
    return None, holds_files


def names_of(entries: Sequence[Entry]) -> list[str | None]:
    """The file names of listed entries, None where they are made of the SOP Instance UIDs."""
    plain = iter(plain_names([(entry.name, entry.key) for entry in entries if entry.name is not None]))
    return [
        next(plain) if entry.name is not None else special_name(entry.sop_uid) if entry.sop_uid is not None else None
        for entry in entries
    ]


def finding(
    series: Series, entries: Sequence[Entry], invalid_rows: int
) -> ShortAtSource | DiffersAtSource | UnexpectedAnswer | None:
    """How the list of a Series differs from what the archive says of it elsewhere.

    The index that knows the location of a Series (IDC's) is exact: any difference is a finding.
    """
    is_exact = series.location is not None
    promised = series.image_count or 0
    listed = f"the archive lists {f'{len(entries):,}' if entries else 'no'} instances"
    bytes_differ = _bytes_differ(series, entries) if is_exact else ""
    if invalid_rows and not is_exact and not 0 < promised <= len(entries):
        return UnexpectedAnswer(f"{invalid_rows:,} listed instances have no valid SOP Instance UID")
    odd = f"; {invalid_rows:,} listed keys are not those of instances" if invalid_rows and is_exact else ""
    if not entries or len(entries) < promised:
        return ShortAtSource(f"{listed} and counts {promised:,}{bytes_differ}{odd}")
    if is_exact and 0 < promised < len(entries):
        return DiffersAtSource(f"{listed} and counts {promised:,}{bytes_differ}{odd}")
    if bytes_differ or odd:
        return DiffersAtSource(f"{listed}{bytes_differ}{odd}")
    return None


def _bytes_differ(series: Series, entries: Sequence[Entry]) -> str:
    """How the bytes of all entries differ from those of the Series. Without a count its size is not exact either."""
    sizes = [entry.size_bytes for entry in entries if entry.size_bytes is not None]
    if not series.image_count or series.size_bytes is None or len(sizes) < len(entries):
        return ""
    listed = sum(sizes)
    return f"; they have {listed:,} bytes, the index says {series.size_bytes:,}" if listed != series.size_bytes else ""


async def list_until_complete(series: Series, archive: Archive) -> tuple[tuple[Entry, ...], int, int]:
    """The entries of all lists of a Series, until they are as many as the archive counts.

    With the number of invalid rows in the last list, and the number of lists.
    """
    entries: dict[str, Entry] = {}
    attempts = 0
    while True:
        listing = await archive.list(series)
        entries |= {entry.key: entry for entry in listing.entries}
        attempts += 1
        is_complete = entries and len(entries) >= (series.image_count or 0)
        if is_complete or attempts >= _ATTEMPTS_AT_A_SHORT_LIST:
            return tuple(entries.values()), listing.invalid_rows, attempts
        await archive.retrier.back_off(attempts)


def _not_found(series_uid: SeriesUid, sop_uid: SopInstanceUid, message: str) -> InstanceOutcome:
    return InstanceOutcome(
        series_uid=series_uid,
        key=sop_uid,
        sop_uid=sop_uid,
        outcome=Outcome.FAILED,
        error=NotFound.code,
        message=message,
        attempts=1,
    )

"""The cache of an archive, for `serve`: a Series is downloaded into a mirror when it is needed for the first time.

Downloads are runs on the mirror, made of the same parts as those of `mirror`: each begins with the first Series that is
needed, and ends when none was for some seconds. However many ask for a Series, it is one *demand*, and each of its
instances is downloaded once. What is complete is served from the mirror, whether the archive answers or not.

With a limit of bytes, the Series that were used least recently leave the mirror: first the journal, then the catalogue,
then the disk. A Series that is being sent or downloaded stays.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

from bulkdl.archive.base import FoundSeries
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.errors import ArchiveError, ArchiveUnreachable, BulkdlError, ConnectFailed, TimedOut, TooManyRequests
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import EntryRow, SeriesRow, is_changed
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import ArchiveDown, ArchiveUp, Event, Noted, RunContext
from bulkdl.model.ids import SeriesUid, SopInstanceUid, default_file_name
from bulkdl.model.outcomes import STATE_AFTER, InstanceOutcome, InstanceState
from bulkdl.model.records import Entry, Series
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.resolve.listing import list_until_complete
from bulkdl.resolve.object_heads import FIRST_BYTES, all_identified
from bulkdl.runtime.disk import BOOKKEEPING
from bulkdl.runtime.tasks import Tasks, first_set
from bulkdl.server.catalogue import Catalogue, ServedFile
from bulkdl.server.catalogue.holdings import HeldFile, Holdings
from bulkdl.server.responses import Unavailable
from bulkdl.store.layout import Layout
from bulkdl.verbs.common import OpenArchive, OpenMirror, open_archive, open_mirror
from bulkdl.verbs.run import MirrorRun, begin_run

SETTINGS: Final = FetchSettings(max_attempts=4, give_up_after_seconds=30.0, workers=1)
"""A client waits for its answer, so failures are reported soon; one process is enough for a server."""

_Entered = TypeVar("_Entered")

_CATALOGUE: Final = f"{BOOKKEEPING}/catalogue.sqlite"
_IDLE_SECONDS: Final = 5.0
_MOST_KNOWN: Final = 100_000
_MOST_LISTS: Final = 1_000
_MOST_HEADS: Final = 10_000
_LEAST_RATIO: Final = 4  # of the bytes of a Series to those of its heads
_PAGE: Final = 100
_STATUSES: Final = {
    ArchiveUnreachable.code: HTTPStatus.SERVICE_UNAVAILABLE,
    ConnectFailed.code: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyRequests.code: HTTPStatus.SERVICE_UNAVAILABLE,
    TimedOut.code: HTTPStatus.GATEWAY_TIMEOUT,
}


def _unavailable(code: str, message: str) -> Unavailable:
    return Unavailable(message, _STATUSES.get(code, HTTPStatus.BAD_GATEWAY))


@dataclass(slots=True)
class NotedOutage:
    """Whether the archive answers: `message` says why not."""

    message: str | None = None

    def notice(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, ArchiveDown):
            self.message = event.message
        elif isinstance(event, ArchiveUp):
            self.message = None


@dataclass(slots=True)
class _Demand:
    """A Series that is needed and not whole. `folder` and `entries` are None until it is listed.

    `arrived` are the names of its files in the order of arrival, and `failures` why entries failed, both by key; `here`
    are the SOP Instance UIDs of the files, `listed` those of the list, None if it does not tell. `has_ended`: nothing
    more is to come.
    """

    series_uid: SeriesUid
    lost: tuple[SopInstanceUid, ...] = ()
    folder: str | None = None
    entries: frozenset[str] | None = None
    listed: frozenset[str] | None = None
    arrived: dict[str, str] = field(default_factory=dict)
    here: set[str] = field(default_factory=set)
    failures: dict[str, Unavailable] = field(default_factory=dict)
    error: Unavailable | None = None
    has_ended: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # replaced at each change, to wake all waiters

    @property
    def failure(self) -> Unavailable | None:
        """Why the Series is not whole; None while it may still become so."""
        return self.error or next(iter(self.failures.values()), None)

    def has(self, sop_uid: str) -> bool:
        """Whether an instance has arrived, or never will because the Series does not have it."""
        return sop_uid in self.here or (self.listed is not None and sop_uid not in self.listed)

    def took(self, key: str, sop_uid: str, name: str) -> None:
        """A file has arrived."""
        self.arrived.setdefault(key, name)
        self.here.add(sop_uid)
        self.failures.pop(key, None)

    @property
    def is_over(self) -> bool:
        """Whether all its entries have arrived or failed. Takes a while for many entries."""
        return self.entries is not None and self.entries <= self.arrived.keys() | self.failures.keys()

    def notify(self, *, has_ended: bool) -> None:
        """Wake all who wait for a change."""
        self.has_ended = has_ended
        self.changed.set()
        self.changed = asyncio.Event()


class ArrivingSeries:
    """The files of a demand, see `server.supply.Arriving`."""

    def __init__(self, gateway: Gateway, demand: _Demand) -> None:
        self._gateway = gateway
        self._demand = demand
        self._given = 0
        self.count = len(demand.entries or ())

    async def more(self) -> Sequence[ServedFile]:
        """See `server.supply.Arriving.more`."""
        demand = self._demand
        while len(demand.arrived) == self._given:
            if (failure := demand.failure) is not None:
                raise failure
            if demand.has_ended:
                return ()
            await demand.changed.wait()
        new = set(list(demand.arrived.values())[self._given :])
        self._given += len(new)
        files = await asyncio.to_thread(self._gateway.catalogue.files, demand.series_uid)
        return [file for file in files if file.path.name in new]


@dataclass(slots=True, kw_only=True)
class Gateway:
    """The cache of an archive, see `server.supply.Supply`. `most_bytes` limits the bytes of its files."""

    mirror: OpenMirror
    archive: OpenArchive
    catalogue: Catalogue
    layout: Layout
    context: RunContext
    outage: NotedOutage
    most_bytes: int | None = None
    _demands: dict[str, _Demand] = field(default_factory=dict)
    _waiting: list[_Demand] = field(default_factory=list)
    _new: asyncio.Event = field(default_factory=asyncio.Event)
    _in_use: Counter[str] = field(default_factory=Counter)
    _used: dict[str, float] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)  # whole Series whose files were looked at in this process
    _leaving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _listing: dict[str, asyncio.Lock] = field(default_factory=dict)
    _lists: dict[str, tuple[str, ...] | None] = field(default_factory=dict)

    @property
    def holdings(self) -> Holdings:
        """What of the archive is in the mirror."""
        return Holdings(self.catalogue, self.mirror.files.root)

    # --- what the server asks -----------------------------------------------------------------------------------------

    @property
    def note(self) -> str:
        """See `server.supply.Supply.note`."""
        of = f"This is a cache of {self.archive.client.url}: what it does not hold is downloaded when it is needed."
        return (
            f"{of} At present that archive does not answer: {self.outage.message}"
            if self.outage.message is not None
            else of
        )

    def is_whole(self, series_uid: str) -> bool:
        """See `server.supply.Supply.is_whole`."""
        return series_uid in self._known or self.holdings.is_whole(series_uid)

    async def sop_uids(self, series_uid: str) -> Sequence[str] | None:
        """See `server.supply.Supply.sop_uids`."""
        able = self.archive.client.capabilities
        if not (able.lists_sop_uids or able.ranges) or await asyncio.to_thread(self.is_whole, series_uid):
            return None
        async with self._listing.setdefault(
            series_uid, asyncio.Lock()
        ):  # of many who ask for one Series, one asks the archive
            if series_uid not in self._lists:
                if len(self._lists) >= _MOST_LISTS:
                    self._lists.clear()
                self._lists[series_uid] = await self._list(series_uid)
            self._listing.pop(series_uid, None)
            return self._lists[series_uid]

    async def _list(self, series_uid: str) -> tuple[str, ...] | None:
        """The SOP Instance UIDs as listed, or from the heads of the files; None if it is better to download these."""
        if (series := await asyncio.to_thread(self._series, series_uid)) is None:
            return ()
        client = self.archive.client
        try:
            entries, *_ = await list_until_complete(series, client)
            if any(entry.sop_uid is None for entry in entries):
                if not _are_heads_cheap(entries):
                    return None
                entries = await all_identified(client, series, entries)
        except ArchiveError as error:
            raise _unavailable(error.code, str(error)) from error
        return tuple(entry.sop_uid for entry in entries if entry.sop_uid is not None)

    def _series(self, series_uid: str) -> Series | None:
        return next(self.catalogue.series(series_uid=series_uid), None)

    @asynccontextmanager
    async def using(self, series_uid: str, sop_uid: str | None = None) -> AsyncIterator[None]:
        """See `server.supply.Supply.using`."""
        self._in_use[series_uid] += 1
        try:
            if (demand := await self._demand(series_uid)) is not None:
                await self._until(demand, sop_uid)
            yield
        finally:
            self._release(series_uid)

    @asynccontextmanager
    async def arriving(self, series_uid: str) -> AsyncIterator[ArrivingSeries | None]:
        """See `server.supply.Supply.arriving`."""
        self._in_use[series_uid] += 1
        try:
            demand = await self._demand(series_uid)
            while demand is not None and not demand.arrived:
                if demand.has_ended:
                    raise demand.failure or Unavailable("the archive lists no instances of this series")
                await demand.changed.wait()
            while demand is not None and demand.entries is None and demand.error is None:
                await demand.changed.wait()
            yield ArrivingSeries(self, demand) if demand is not None else None
        finally:
            self._release(series_uid)

    async def _until(self, demand: _Demand, sop_uid: str | None) -> None:
        """Wait until a Series is whole, or has this instance. Raises Unavailable: something of it failed."""
        while not (demand.has(sop_uid) if sop_uid is not None else demand.has_ended):
            if demand.has_ended:
                break
            await demand.changed.wait()
        if sop_uid is not None and demand.has(sop_uid):
            return
        if (failure := demand.failure) is not None:
            raise failure

    def _release(self, series_uid: str) -> None:
        self._used[series_uid] = time.time()
        self._in_use[series_uid] -= 1
        if self._in_use[series_uid] <= 0:
            del self._in_use[series_uid]
        if self.most_bytes is not None or len(self._used) > _MOST_KNOWN:
            self._new.set()  # so that there is a look at the limit

    async def _demand(self, series_uid: str) -> _Demand | None:
        """The demand for a Series, a new one if there is none; None if the Series is whole."""
        if (demand := self._demands.get(series_uid)) is not None:
            return demand
        if series_uid in self._known:
            return None
        async with self._leaving:  # a Series that is leaving now is not whole any more
            lost = await asyncio.to_thread(self._look_for_lost, series_uid)
        if (demand := self._demands.get(series_uid)) is not None:
            return demand
        if lost is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known.add(series_uid)
            return None
        demand = self._demands[series_uid] = _Demand(SeriesUid(series_uid), lost)
        self._waiting.append(demand)
        self._new.set()
        return demand

    def _look_for_lost(self, series_uid: str) -> tuple[SopInstanceUid, ...] | None:
        """The instances whose files are missing or have another size; None if the Series is whole."""
        if not self.holdings.is_whole(series_uid):
            return ()
        lost = []
        for file in self.catalogue.files(series_uid):
            try:
                is_there = file.path.lstat().st_size == file.size_bytes
            except OSError:
                is_there = False
            if not is_there:
                lost.append(SopInstanceUid(file.sop_uid))
        if lost:
            self.holdings.lose(series_uid, lost)
        return tuple(lost) or None

    # --- downloads ----------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Download what is needed, until this is cancelled or the context is stopped."""
        while not self.context.stop.is_set():
            self._new.clear()
            try:
                await self._make_room(0)
                if self._waiting:
                    await self._run()
            except BulkdlError as error:
                self._fail_all(error)
            if not self._waiting:
                await first_set(self._new, self.context.stop)

    async def _run(self) -> None:
        """One run on the mirror: it downloads what is needed, until nothing was for some seconds."""
        run = await begin_run("serve", self.mirror, self.archive, self.context)
        run.coordinator.recorded = self._on_recorded
        if release := (await asyncio.to_thread(self.holdings.source)).get("release"):
            await self.mirror.journal(Journal.note_catalogue, run.run, release)
        await run.carry_out(lambda: self._feed(run), self._on_listed, looks_at_disk=False)
        if self._demands:  # of Series that the run could not record
            self._fail_all(ArchiveError("the download has ended"))

    async def _feed(self, run: MirrorRun) -> None:
        while not self.context.stop.is_set():
            self._new.clear()
            while self._waiting:
                await self._begin(run, self._waiting.pop(0))
            await self._make_room(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._demands else _IDLE_SECONDS):
                    await first_set(self._new, self.context.stop)
            if not self._demands and not self._new.is_set():
                return

    async def _begin(self, run: MirrorRun, demand: _Demand) -> None:
        found = await asyncio.to_thread(self._series, demand.series_uid)
        if found is None:
            self._fail(demand, Unavailable("the archive does not have this series any more"))
            return
        await self._make_room(found.size_bytes or 0)
        await run.add(found, self.layout, lost=demand.lost)
        row = await self.mirror.journal(Journal.find_series, demand.series_uid)
        if row is not None and row.is_listed:
            await self._take_list(demand, row)

    async def _on_listed(self, series_uid: SeriesUid, keys: frozenset[str] | None) -> None:
        del keys  # those of a list that is not complete count, too
        row = await self.mirror.journal(Journal.find_series, series_uid)
        if row is not None and (demand := self._demands.get(series_uid)) is not None:
            await self._take_list(demand, row)

    async def _take_list(self, demand: _Demand, row: SeriesRow) -> None:
        entries = await self.mirror.journal(Journal.entries, demand.series_uid)
        if not entries:
            if row.error is not None:
                self._fail(demand, _unavailable(row.error, row.message or row.error))
            return
        demand.folder = row.folder or ""
        demand.entries = frozenset(entry.key for entry in entries)
        if all(entry.sop_uid is not None for entry in entries):
            demand.listed = frozenset(entry.sop_uid or "" for entry in entries)
        # A file that the journal has a moment before the catalogue has not arrived: `_on_recorded` comes with it.
        files = await asyncio.to_thread(self.catalogue.files, demand.series_uid)
        entered = {file.path.name for file in files}
        for entry in entries:
            if entry.state is not InstanceState.HELD or entry.name in entered:
                self._take_entry(demand, entry)
        await self._settle(demand)

    def _take_entry(self, demand: _Demand, entry: EntryRow) -> None:
        if entry.state is InstanceState.HELD:
            demand.took(entry.key, entry.sop_uid or "", entry.name or "")
        elif entry.error is not None and entry.key not in demand.arrived:
            demand.failures[entry.key] = _unavailable(entry.error, entry.message or entry.error)

    async def _on_recorded(self, outcomes: Sequence[InstanceOutcome]) -> None:
        by_series: dict[SeriesUid, list[InstanceOutcome]] = {}
        for outcome in outcomes:
            by_series.setdefault(outcome.series_uid, []).append(outcome)
        for series_uid, group in by_series.items():
            held = [one for one in group if STATE_AFTER[one.outcome] is InstanceState.HELD]
            if held:
                await self._enter(series_uid, held)
            if (demand := self._demands.get(series_uid)) is not None:
                for one in group:
                    if one in held:
                        demand.took(one.key, one.sop_uid or "", _name_of(one))
                    else:
                        demand.failures[one.key] = _unavailable(one.error or "", one.message or one.error or "")
                await self._settle(demand)

    async def _enter(self, series_uid: SeriesUid, held: Sequence[InstanceOutcome]) -> None:
        """Enter files in the catalogue."""
        demand = self._demands.get(series_uid)
        folder = demand.folder if demand is not None else None
        if folder is None:
            row = await self.mirror.journal(Journal.find_series, series_uid)
            folder = (row.folder if row is not None else None) or ""
        files = [HeldFile(one.sop_uid or "", _name_of(one), one.size_bytes, one.mtime_ns, one.md5) for one in held]
        await asyncio.to_thread(self.holdings.enter, series_uid, folder, files)

    async def _settle(self, demand: _Demand) -> None:
        """Wake who waits for a demand; it ends when all its entries have arrived or failed."""
        if has_ended := demand.is_over:
            self._demands.pop(demand.series_uid, None)
            if demand.failure is None:
                await asyncio.to_thread(self.holdings.complete, demand.series_uid)
            self._new.set()
        demand.notify(has_ended=has_ended)

    def _fail(self, demand: _Demand, error: Unavailable) -> None:
        demand.error = error
        self._demands.pop(demand.series_uid, None)
        self._new.set()
        demand.notify(has_ended=True)

    def _fail_all(self, error: BulkdlError) -> None:
        self._waiting.clear()
        for demand in list(self._demands.values()):
            self._fail(demand, _unavailable(error.code, str(error)))

    # --- the limit ----------------------------------------------------------------------------------------------------

    async def _make_room(self, more_bytes: int) -> None:
        """Remove the Series that were used least recently, until the files and `more_bytes` are within the limit."""
        if self._used:
            await self.note_use()
        if self.most_bytes is None:
            return
        async with self._leaving:
            over = await asyncio.to_thread(self.holdings.size_bytes) + more_bytes - self.most_bytes
            after = (-1, "")
            while over > 0 and (page := await asyncio.to_thread(self.holdings.least_used, after, _PAGE)):
                for used_at, series_uid, folder, size_bytes in page:
                    after = used_at, series_uid
                    if over > 0 and series_uid not in self._in_use and series_uid not in self._demands:
                        await self._remove(series_uid, folder)
                        over -= size_bytes

    async def remove_outdated(self) -> None:
        """Remove the Series that the archive describes otherwise than when they were downloaded."""
        for series_uid, folder in await asyncio.to_thread(self._outdated):
            await self._remove(series_uid, folder)

    def _outdated(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        after = (-1, "")
        with Journal.open_readonly(self.mirror.files.journal_path) as journal:
            while page := self.holdings.least_used(after, _PAGE):
                for used_at, series_uid, folder, _ in page:
                    after = used_at, series_uid
                    now, row = self._series(series_uid), journal.find_series(SeriesUid(series_uid))
                    if now is not None and row is not None and _is_outdated(row.series, now):
                        found.append((series_uid, folder))
        return found

    async def note_use(self) -> None:
        """Note when Series were used last."""
        used, self._used = self._used, {}
        await asyncio.to_thread(self.holdings.note_use, used)

    async def _remove(self, series_uid: str, folder: str) -> None:
        self._known.discard(series_uid)
        names = [file.path for file in await asyncio.to_thread(self.catalogue.files, series_uid)]
        await self.mirror.journal(Journal.forget_series, SeriesUid(series_uid))
        await asyncio.to_thread(self.holdings.remove, series_uid)
        await asyncio.to_thread(_delete, names, self.mirror.files.root / folder, self.mirror.files.root)


def _are_heads_cheap(entries: Sequence[Entry]) -> bool:
    """Whether the heads of files are few, and a small part of their bytes."""
    sizes = [entry.size_bytes or 0 for entry in entries]
    return len(sizes) <= _MOST_HEADS and sum(sizes) > _LEAST_RATIO * FIRST_BYTES * len(sizes)


def _is_outdated(before: Series, now: Series) -> bool:
    return is_changed(before, now) or before.location != now.location


def _name_of(held: InstanceOutcome) -> str:
    return held.name or default_file_name(held.sop_uid or "")


def _delete(files: Sequence[Path], folder: Path, root: Path) -> None:
    """Delete files, and the folders above them that are empty then."""
    for path in files:
        path.unlink(missing_ok=True)
    with suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent


@asynccontextmanager
async def open_gateway(
    choice: ArchiveChoice, cache: Path, context: RunContext, *, most_bytes: int | None = None
) -> AsyncIterator[Gateway]:
    """Open the cache of an archive in the mirror at `cache`, which is made if need be, for the length of the block.

    Its Series are loaded first, unless the catalogue has those of this release of the archive.

    Raises:
        MirrorLocked: another process works on the mirror.
        ArchiveError: the Series cannot be loaded, and the catalogue has none from earlier.
        DiskError, JournalError: the mirror cannot be used.
    """
    outage = NotedOutage()

    def announce(event: Event) -> None:
        outage.notice(event)
        context.sink(event)

    watched = replace(context, sink=announce)
    async with open_archive(choice, watched) as archive, open_mirror(cache, "serve") as mirror:
        layout = await mirror.settle_layout()
        with await asyncio.to_thread(Catalogue.open, mirror.files.root / _CATALOGUE) as catalogue:
            gateway = Gateway(
                mirror=mirror,
                archive=archive,
                catalogue=catalogue,
                layout=layout,
                context=watched,
                outage=outage,
                most_bytes=most_bytes,
            )
            is_new = await _load(gateway)
            await asyncio.to_thread(_make_agree, gateway.holdings, mirror.files.journal_path)
            if is_new:
                await gateway.remove_outdated()
            try:
                async with Tasks() as tasks:
                    tasks.join(gateway.work())
                    try:
                        yield gateway
                    finally:
                        context.stop.set()
            finally:
                await gateway.note_use()


def _make_agree(holdings: Holdings, journal_path: Path) -> None:
    with Journal.open_readonly(journal_path) as journal:
        holdings.agree_with(journal)


async def _load(gateway: Gateway) -> bool:
    """Load all Series of the archive, and return True, unless the catalogue has those of its release.

    Raises ArchiveError: that fails, and there are none from earlier.
    """
    archive, holdings = gateway.archive.client, gateway.holdings
    known = await asyncio.to_thread(holdings.source)
    try:
        async with aclosing(archive.find(Selection(everything=True))) as batches:
            first = await anext(batches, FoundSeries())
            source = {"archive": archive.url, "release": first.release or "", "loaded": _now()}
            is_index = isinstance(archive, IdcArchive)  # of others the release does not tell all
            if is_index and known | {"loaded": ""} == source | {"loaded": ""}:
                return False
            async with _entered_in_thread(holdings.loading(source)) as add:
                await asyncio.to_thread(add, first.series)
                async for batch in batches:
                    if batch.failed and first.release is None:
                        raise batch.failed[0][1]
                    for question, error in batch.failed:
                        gateway.context.sink(Noted(f"left out until the next start: {question}: {error}"))
                    await asyncio.to_thread(add, batch.series)
            return True
    except ArchiveError as error:
        if known.get("archive") != archive.url:
            raise
        gateway.outage.message = str(error)
        gateway.context.sink(
            Noted(f"the archive does not answer: {error}; serving what it listed on {known['loaded']}")
        )
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@asynccontextmanager
async def _entered_in_thread(block: AbstractContextManager[_Entered]) -> AsyncIterator[_Entered]:
    """A block whose beginning and end take long."""
    entered = await asyncio.to_thread(block.__enter__)
    try:
        yield entered
    except BaseException as error:
        await asyncio.to_thread(block.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(block.__exit__, None, None, None)

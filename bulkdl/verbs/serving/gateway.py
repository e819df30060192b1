"""The cache of an archive, for `serve`: a Series is downloaded into a mirror when it is needed for the first time.

Downloads are runs on the mirror, made of the same parts as those of `mirror`: each begins with the first Series that is
needed, and ends when none was for some seconds. However many ask for a Series, it is one *demand*, and each of its
instances is downloaded once. What is complete is served from the mirror, whether the archive answers or not.

With a limit of bytes, the Series that were used least recently are removed: from the journal, then from the catalogue,
then from the disk. A Series that is being sent or downloaded stays.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bulkdl.errors import ArchiveError, ArchiveUnreachable, BulkdlError, ConnectFailed, TimedOut, TooManyRequests
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import EntryRow, SeriesRow, is_changed
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import ArchiveDown, ArchiveUp, Event, Noted, RunContext
from bulkdl.model.ids import SeriesUid, SopInstanceUid, default_file_name
from bulkdl.model.outcomes import STATE_AFTER, InstanceOutcome, InstanceState
from bulkdl.model.records import Entry, Series
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.disk import BOOKKEEPING
from bulkdl.runtime.tasks import Tasks, first_set
from bulkdl.server.catalogue import Catalogue, ServedFile
from bulkdl.server.catalogue.holdings import HeldFile, Holdings
from bulkdl.server.responses import Unavailable
from bulkdl.server.supply import ListedInstance, Wanted
from bulkdl.store.layout import Layout
from bulkdl.verbs.connections.open_archive import OpenArchive, open_archive
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, open_mirror
from bulkdl.verbs.runs.mirror_run import MirrorRun, begin_run
from bulkdl.verbs.serving.archive_lists import ArchiveLists
from bulkdl.verbs.serving.catalogue_loading import CatalogueLoading
from bulkdl.verbs.serving.demands import Demand, InstanceDemand

SETTINGS: Final = FetchSettings(max_attempts=4, give_up_after_seconds=30.0, workers=1)
"""A client waits for its answer, so failures are reported soon; one process is enough for a server."""

_CATALOGUE: Final = f"{BOOKKEEPING}/catalogue.sqlite"
_IDLE_SECONDS: Final = 5.0
_MOST_KNOWN: Final = 100_000
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

    def notice(self, event: Event) -> bool:
        """Take note of an event; whether it says something new: each request of an outage says that there is one."""
        was_down = self.message is not None
        if isinstance(event, ArchiveDown):
            self.message = event.message
            return not was_down
        if isinstance(event, ArchiveUp):
            self.message = None
            return was_down
        return True


class ArrivingSeries:
    """The files of a demand, see `server.supply.Arriving`."""

    def __init__(self, gateway: Gateway, demand: Demand) -> None:
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
    _demands: dict[str, Demand] = field(default_factory=dict)
    _single: dict[tuple[str, str], InstanceDemand] = field(default_factory=dict)  # by Series and key
    _waiting: list[Demand | InstanceDemand] = field(default_factory=list)
    _new: asyncio.Event = field(default_factory=asyncio.Event)
    _in_use: Counter[str] = field(default_factory=Counter)
    _used: dict[str, float] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)  # whole Series whose files were looked at in this process
    _leaving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _lists: ArchiveLists = field(init=False)

    def __post_init__(self) -> None:
        self._lists = ArchiveLists(self.archive.client)

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

    @property
    def lists_checksums(self) -> bool:
        """See `server.supply.Supply.lists_checksums`."""
        return self.archive.client.capabilities.lists_checksums and self._lists.have_uids

    def is_whole(self, series_uid: str) -> bool:
        """See `server.supply.Supply.is_whole`."""
        return series_uid in self._known or self.holdings.is_whole(series_uid)

    async def sop_uids(self, series_uid: str) -> Sequence[str] | None:
        """See `server.supply.Supply.sop_uids`."""
        if not self._lists.have_uids or await asyncio.to_thread(self.is_whole, series_uid):
            return None
        series = await asyncio.to_thread(self._series, series_uid)
        with _as_unavailable():
            return await self._lists.sop_uids(series) if series is not None else ()

    async def listed(self, series_uid: str) -> Sequence[ListedInstance] | None:
        """See `server.supply.Supply.listed`. The lists of buckets have sizes and MD5s; the time is that of now."""
        if not self.lists_checksums:
            return None
        series = await asyncio.to_thread(self._series, series_uid)
        with _as_unavailable():
            entries = await self._lists.identified(series) if series is not None else ()
        now = time.time_ns()
        known = [
            ListedInstance(entry.sop_uid, entry.size_bytes, entry.md5, now)
            for entry in entries or ()
            if entry.sop_uid is not None and entry.size_bytes is not None and entry.md5 is not None
        ]
        return known if entries is not None and len(known) == len(entries) else None

    def _series(self, series_uid: str) -> Series | None:
        return next(self.catalogue.series(series_uid=series_uid), None)

    @asynccontextmanager
    async def using(self, series_uid: str) -> AsyncIterator[None]:
        """See `server.supply.Supply.using`."""
        async with self._keeping(series_uid):
            if (demand := await self._demand(series_uid)) is not None:
                await _until(demand)
            yield

    @asynccontextmanager
    async def using_one(self, series_uid: str, wanted: Wanted) -> AsyncIterator[None]:
        """See `server.supply.Supply.using_one`."""
        async with self._keeping(series_uid):
            if not await self._take_one(series_uid, wanted) and (demand := await self._demand(series_uid)):
                await _until(demand, wanted)
            yield

    @asynccontextmanager
    async def _keeping(self, series_uid: str) -> AsyncIterator[None]:
        self._in_use[series_uid] += 1
        try:
            yield
        finally:
            self._release(series_uid)

    @asynccontextmanager
    async def arriving(self, series_uid: str) -> AsyncIterator[ArrivingSeries | None]:
        """See `server.supply.Supply.arriving`."""
        async with self._keeping(series_uid):
            demand = await self._demand(series_uid)
            while demand is not None and not demand.arrived:
                if demand.has_ended:
                    raise demand.failure or Unavailable("the archive lists no instances of this series")
                await demand.changed.wait()
            while demand is not None and demand.entries is None and demand.error is None:
                await demand.changed.wait()
            yield ArrivingSeries(self, demand) if demand is not None else None

    @asynccontextmanager
    async def downloading(self, series_uid: str) -> AsyncIterator[None]:
        """See `server.supply.Supply.downloading`."""
        async with self._keeping(series_uid):
            await self._demand(series_uid)
            yield

    async def _take_one(self, series_uid: str, wanted: Wanted) -> bool:
        """Wait until one instance is here, or known not to exist; False if its whole Series is, or has to be, needed.

        Raises Unavailable: it failed.
        """
        if self._is_needed_whole(series_uid) or await asyncio.to_thread(self.is_whole, series_uid):
            return False
        here, lost = await asyncio.to_thread(self._look_for_one, series_uid, wanted)
        if here:
            return True
        series = await asyncio.to_thread(self._series, series_uid)
        if series is None or series.image_count == 1 or not self._lists.have_uids:
            return False
        with _as_unavailable():
            entry = await self._lists.find(series, wanted.__eq__ if isinstance(wanted, str) else wanted)
        if entry is None or self._is_needed_whole(series_uid):
            return entry is None
        demand = self._demand_one(series.series_uid, entry, lost)
        await demand.has_ended.wait()
        if demand.failure is not None:
            raise demand.failure
        return True

    def _is_needed_whole(self, series_uid: str) -> bool:
        return series_uid in self._demands or series_uid in self._known

    def _demand_one(self, series_uid: SeriesUid, entry: Entry, lost: tuple[SopInstanceUid, ...]) -> InstanceDemand:
        """The demand for an instance, a new one if there is none."""
        if (demand := self._single.get((series_uid, entry.key))) is None:
            demand = self._single[series_uid, entry.key] = InstanceDemand(series_uid, entry, lost)
            self._waiting.append(demand)
            self._new.set()
        return demand

    def _release(self, series_uid: str) -> None:
        self._used[series_uid] = time.time()
        self._in_use[series_uid] -= 1
        if self._in_use[series_uid] <= 0:
            del self._in_use[series_uid]
        if self.most_bytes is not None or len(self._used) > _MOST_KNOWN:
            self._new.set()  # so that there is a look at the limit

    async def _demand(self, series_uid: str) -> Demand | None:
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
        demand = self._demands[series_uid] = Demand(SeriesUid(series_uid), lost)
        self._waiting.append(demand)
        self._new.set()
        return demand

    def _look_for_lost(self, series_uid: str) -> tuple[SopInstanceUid, ...] | None:
        """The instances whose files are missing or have another size; None if the Series is whole."""
        is_whole = self.holdings.is_whole(series_uid)
        lost = [SopInstanceUid(file.sop_uid) for file in self.catalogue.files(series_uid) if not _is_there(file)]
        if lost:
            self.holdings.lose(series_uid, lost)
        return None if is_whole and not lost else tuple(lost)

    def _look_for_one(self, series_uid: str, wanted: Wanted) -> tuple[bool, tuple[SopInstanceUid, ...]]:
        """Whether a wanted instance of a Series in part is here; if not, its UID where its file is lost."""
        if isinstance(wanted, str):
            found = self.catalogue.file_of(series_uid, wanted)
        else:
            found = next((file for file in self.catalogue.files(series_uid) if wanted(file.sop_uid)), None)
        if found is None or _is_there(found):
            return found is not None, ()
        lost = (SopInstanceUid(found.sop_uid),)
        self.holdings.lose(series_uid, lost)
        return False, lost

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
        if self._demands or self._single:  # what the run could not record
            self._fail_all(ArchiveError("the download has ended"))

    async def _feed(self, run: MirrorRun) -> None:
        while not self.context.stop.is_set():
            self._new.clear()
            while self._waiting:
                demand = self._waiting.pop(0)
                await (self._begin(run, demand) if isinstance(demand, Demand) else self._begin_one(run, demand))
            await self._make_room(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._demands or self._single else _IDLE_SECONDS):
                    await first_set(self._new, self.context.stop)
            if not self._demands and not self._single and not self._new.is_set():
                return

    async def _begin(self, run: MirrorRun, demand: Demand) -> None:
        found = await asyncio.to_thread(self._series, demand.series_uid)
        if found is None:
            self._fail(demand, Unavailable("the archive does not have this series any more"))
            return
        await self._make_room(found.size_bytes or 0)
        await run.add(found, self.layout, lost=demand.lost)
        row = await self.mirror.journal(Journal.find_series, demand.series_uid)
        if row is not None and row.is_listed:
            await self._take_list(demand, row)

    async def _begin_one(self, run: MirrorRun, demand: InstanceDemand) -> None:
        found = await asyncio.to_thread(self._series, demand.series_uid)
        if found is None:
            self._end_one(demand, Unavailable("the archive does not have this series any more"))
            return
        await self._make_room(demand.entry.size_bytes or 0)
        if not await run.add_instance(found, demand.entry, self.layout, lost=demand.lost):
            self._end_one(demand)

    def _end_one(self, demand: InstanceDemand, failure: Unavailable | None = None) -> None:
        self._single.pop((demand.series_uid, demand.entry.key), None)
        if failure is not None:
            self._lists.forget(demand.series_uid)
        self._new.set()
        demand.end(failure)

    async def _on_listed(self, series_uid: SeriesUid, keys: frozenset[str] | None) -> None:
        del keys  # those of a list that is not complete count, too
        row = await self.mirror.journal(Journal.find_series, series_uid)
        if row is not None and (demand := self._demands.get(series_uid)) is not None:
            await self._take_list(demand, row)

    async def _take_list(self, demand: Demand, row: SeriesRow) -> None:
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

    def _take_entry(self, demand: Demand, entry: EntryRow) -> None:
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
            for one in group:
                if (single := self._single.get((series_uid, one.key))) is not None:
                    self._end_one(single, None if one in held else _failure_of(one))
            if (demand := self._demands.get(series_uid)) is not None:
                for one in group:
                    if one in held:
                        demand.took(one.key, one.sop_uid or "", _name_of(one))
                    else:
                        demand.failures[one.key] = _failure_of(one)
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

    async def _settle(self, demand: Demand) -> None:
        """Wake who waits for a demand; it ends when all its entries have arrived or failed."""
        if has_ended := demand.is_over:
            self._demands.pop(demand.series_uid, None)
            if demand.failure is None:
                await asyncio.to_thread(self.holdings.complete, demand.series_uid)
            self._new.set()
        demand.notify(has_ended=has_ended)

    def _fail(self, demand: Demand, error: Unavailable) -> None:
        demand.error = error
        self._demands.pop(demand.series_uid, None)
        self._new.set()
        demand.notify(has_ended=True)

    def _fail_all(self, error: BulkdlError) -> None:
        self._waiting.clear()
        for demand in list(self._demands.values()):
            self._fail(demand, _unavailable(error.code, str(error)))
        for single in list(self._single.values()):
            self._end_one(single, _unavailable(error.code, str(error)))

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
                for used_at, series_uid, size_bytes in page:
                    after = used_at, series_uid
                    if over > 0 and series_uid not in self._in_use and series_uid not in self._demands:
                        await self._remove(series_uid)
                        over -= size_bytes

    async def remove_outdated(self) -> None:
        """Remove the Series that the archive describes otherwise than when they were downloaded."""
        for series_uid in await asyncio.to_thread(self._outdated):
            await self._remove(series_uid)

    def _outdated(self) -> list[str]:
        found: list[str] = []
        after = (-1, "")
        with Journal.open_readonly(self.mirror.files.journal_path) as journal:
            while page := self.holdings.least_used(after, _PAGE):
                for used_at, series_uid, _ in page:
                    after = used_at, series_uid
                    now, row = self._series(series_uid), journal.find_series(SeriesUid(series_uid))
                    if now is not None and row is not None and _is_outdated(row.series, now):
                        found.append(series_uid)
        return found

    async def note_use(self) -> None:
        """Note when Series were used last."""
        used, self._used = self._used, {}
        await asyncio.to_thread(self.holdings.note_use, used)

    async def _remove(self, series_uid: str) -> None:
        self._known.discard(series_uid)
        root = self.mirror.files.root
        files = await asyncio.to_thread(self.catalogue.files, series_uid)
        await self.mirror.journal(Journal.forget_series, SeriesUid(series_uid))
        await asyncio.to_thread(self.holdings.remove, series_uid)
        await asyncio.to_thread(self.mirror.files.remove, [file.path.relative_to(root).as_posix() for file in files])


async def _until(demand: Demand, wanted: Wanted | None = None) -> None:
    """Wait until a Series is whole, or has a wanted instance. Raises Unavailable: something of it failed."""
    while not demand.has_ended and not (wanted is not None and demand.has(wanted)):
        await demand.changed.wait()
    if wanted is not None and demand.has(wanted):
        return
    if (failure := demand.failure) is not None:
        raise failure


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """Raise what the archive does not answer as what the server says of it."""
    try:
        yield
    except ArchiveError as error:
        raise _unavailable(error.code, str(error)) from error


def _failure_of(outcome: InstanceOutcome) -> Unavailable:
    return _unavailable(outcome.error or "", outcome.message or outcome.error or "")


def _is_there(file: ServedFile) -> bool:
    try:
        return file.path.lstat().st_size == file.size_bytes
    except OSError:
        return False


def _is_outdated(before: Series, now: Series) -> bool:
    return is_changed(before, now) or before.location != now.location


def _name_of(held: InstanceOutcome) -> str:
    return held.name or default_file_name(held.sop_uid or "")


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
        if outage.notice(event):
            context.sink(event)

    watched = replace(context, sink=announce, settings=replace(context.settings, once=True))
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
            loading = CatalogueLoading(archive.client, gateway.holdings, watched.sink)
            is_new = await _load(gateway, loading)
            await asyncio.to_thread(_make_agree, gateway.holdings, mirror.files.journal_path)
            if is_new:
                await gateway.remove_outdated()
            try:
                async with Tasks() as tasks:
                    tasks.join(gateway.work())
                    describing = tasks.join(loading.describe()) if is_new else None
                    try:
                        yield gateway
                    finally:
                        context.stop.set()
                        if describing is not None:
                            describing.cancel()
            finally:
                await gateway.note_use()


def _make_agree(holdings: Holdings, journal_path: Path) -> None:
    with Journal.open_readonly(journal_path) as journal:
        holdings.agree_with(journal)


async def _load(gateway: Gateway, loading: CatalogueLoading) -> bool:
    """Load all Series of the archive, and return True, unless the catalogue has those of its release.

    Raises ArchiveError: that fails, and there are none from earlier.
    """
    known = await asyncio.to_thread(gateway.holdings.source)
    try:
        return await loading.load()
    except ArchiveError as error:
        if known.get("archive") != gateway.archive.client.url:
            raise
        gateway.outage.message = str(error)
        gateway.context.sink(
            Noted(f"the archive does not answer: {error}; serving what it listed on {known['loaded']}")
        )
        return False

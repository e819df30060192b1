"""The cache of an archive, for `serve`: a Series is downloaded into a mirror when it is needed for the first time.

However many ask for a Series, it is one *demand*, and each of its instances is downloaded once (`cache_downloads`).
What is complete is served from the mirror, whether the archive answers or not (`held_series`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bulkdl.errors import ArchiveError
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Event, Noted, RunContext, Sink
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.disk import BOOKKEEPING
from bulkdl.runtime.tasks import Tasks
from bulkdl.server.catalogue import Catalogue, ServedFile
from bulkdl.server.catalogue.holdings import Holdings
from bulkdl.server.responses import Unavailable
from bulkdl.server.supply import ListedInstance, Wanted
from bulkdl.verbs.connections.open_archive import OpenArchive, open_archive
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.serving.archive_lists import ArchiveLists
from bulkdl.verbs.serving.cache_downloads import CacheDownloads
from bulkdl.verbs.serving.catalogue_loading import CatalogueLoading
from bulkdl.verbs.serving.demands import Demand, Demands
from bulkdl.verbs.serving.held_series import HeldSeries
from bulkdl.verbs.serving.outages import NotedOutage, as_unavailable

SETTINGS: Final = FetchSettings(max_attempts=4, give_up_after_seconds=30.0, workers=1)
"""A client waits for its answer, so failures are reported soon; one process is enough for a server."""

_CATALOGUE: Final = f"{BOOKKEEPING}/catalogue.sqlite"


class ArrivingSeries:
    """The files of a demand, see `server.supply.Arriving`."""

    def __init__(self, catalogue: Catalogue, demand: Demand) -> None:
        self._catalogue = catalogue
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
        files = await asyncio.to_thread(self._catalogue.files, demand.series_uid)
        return [file for file in files if file.path.name in new]


@dataclass(slots=True, kw_only=True)
class Gateway:
    """The cache of an archive, see `server.supply.Supply`."""

    archive: OpenArchive
    outage: NotedOutage
    held: HeldSeries
    demands: Demands
    lists: ArchiveLists

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
        return self.archive.client.capabilities.lists_checksums and self.lists.have_uids

    def is_whole(self, series_uid: str) -> bool:
        """See `server.supply.Supply.is_whole`."""
        return self.held.is_whole(series_uid)

    async def sop_uids(self, series_uid: str) -> Sequence[str] | None:
        """See `server.supply.Supply.sop_uids`."""
        if not self.lists.have_uids or await asyncio.to_thread(self.is_whole, series_uid):
            return None
        series = await asyncio.to_thread(self.held.find, series_uid)
        with as_unavailable():
            return await self.lists.sop_uids(series) if series is not None else ()

    async def listed(self, series_uid: str) -> Sequence[ListedInstance] | None:
        """See `server.supply.Supply.listed`. The lists of buckets have sizes and MD5s; the time is that of now."""
        if not self.lists_checksums:
            return None
        series = await asyncio.to_thread(self.held.find, series_uid)
        with as_unavailable():
            entries = await self.lists.identified(series) if series is not None else ()
        now = time.time_ns()
        known = [
            ListedInstance(entry.sop_uid, entry.size_bytes, entry.md5, now)
            for entry in entries or ()
            if entry.sop_uid is not None and entry.size_bytes is not None and entry.md5 is not None
        ]
        return known if entries is not None and len(known) == len(entries) else None

    @asynccontextmanager
    async def using(self, series_uid: str) -> AsyncIterator[None]:
        """See `server.supply.Supply.using`."""
        async with self.held.keeping(series_uid):
            if (demand := await self._demand(series_uid)) is not None:
                await _until(demand)
            yield

    @asynccontextmanager
    async def using_one(self, series_uid: str, wanted: Wanted) -> AsyncIterator[None]:
        """See `server.supply.Supply.using_one`."""
        async with self.held.keeping(series_uid):
            if not await self._take_one(series_uid, wanted) and (demand := await self._demand(series_uid)):
                await _until(demand, wanted)
            yield

    @asynccontextmanager
    async def arriving(self, series_uid: str) -> AsyncIterator[ArrivingSeries | None]:
        """See `server.supply.Supply.arriving`."""
        async with self.held.keeping(series_uid):
            demand = await self._demand(series_uid)
            while demand is not None and not demand.arrived:
                if demand.has_ended:
                    raise demand.failure or Unavailable("the archive lists no instances of this series")
                await demand.changed.wait()
            while demand is not None and demand.entries is None and demand.error is None:
                await demand.changed.wait()
            yield ArrivingSeries(self.held.catalogue, demand) if demand is not None else None

    @asynccontextmanager
    async def downloading(self, series_uid: str) -> AsyncIterator[None]:
        """See `server.supply.Supply.downloading`."""
        async with self.held.keeping(series_uid):
            await self._demand(series_uid)
            yield

    async def _take_one(self, series_uid: str, wanted: Wanted) -> bool:
        """Wait until one instance is here, or known not to exist; False if its whole Series is, or has to be, needed.

        Raises Unavailable: it failed.
        """
        if self._is_needed_whole(series_uid) or await asyncio.to_thread(self.is_whole, series_uid):
            return False
        here, lost = await asyncio.to_thread(self.held.look_for_one, series_uid, wanted)
        if here:
            return True
        series = await asyncio.to_thread(self.held.find, series_uid)
        if series is None or series.image_count == 1 or not self.lists.have_uids:
            return False
        with as_unavailable():
            entry = await self.lists.find(series, wanted.__eq__ if isinstance(wanted, str) else wanted)
        if entry is None or self._is_needed_whole(series_uid):
            return entry is None
        demand = self.demands.of_instance(series.series_uid, entry, lost)
        await demand.has_ended.wait()
        if demand.failure is not None:
            raise demand.failure
        return True

    def _is_needed_whole(self, series_uid: str) -> bool:
        return series_uid in self.demands.whole or self.held.is_known(series_uid)

    async def _demand(self, series_uid: str) -> Demand | None:
        """The demand for a Series, a new one if there is none; None if the Series is whole."""
        if (demand := self.demands.whole.get(series_uid)) is not None:
            return demand
        if self.held.is_known(series_uid):
            return None
        lost = await self.held.find_lost(series_uid)
        if (demand := self.demands.whole.get(series_uid)) is not None:
            return demand
        if lost is None:
            self.held.know(series_uid)
            return None
        return self.demands.add(series_uid, lost)


async def _until(demand: Demand, wanted: Wanted | None = None) -> None:
    """Wait until a Series is whole, or has a wanted instance. Raises Unavailable: something of it failed."""
    while not demand.has_ended and not (wanted is not None and demand.has(wanted)):
        await demand.changed.wait()
    if wanted is not None and demand.has(wanted):
        return
    if (failure := demand.failure) is not None:
        raise failure


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
            demands, lists = Demands(), ArchiveLists(archive.client)
            held = HeldSeries(mirror=mirror, catalogue=catalogue, most_bytes=most_bytes, released=demands.new.set)
            gateway = Gateway(archive=archive, outage=outage, held=held, demands=demands, lists=lists)
            downloads = CacheDownloads(
                mirror=mirror, archive=archive, layout=layout, context=watched, demands=demands, held=held, lists=lists
            )
            loading = CatalogueLoading(archive.client, held.holdings, watched.sink)
            is_new = await _load(gateway, loading, watched.sink)
            await asyncio.to_thread(_make_agree, held.holdings, mirror.files.journal_path)
            if is_new:
                await held.remove_outdated()
            try:
                async with Tasks() as tasks:
                    tasks.join(downloads.work())
                    describing = tasks.join(loading.describe()) if is_new else None
                    try:
                        yield gateway
                    finally:
                        context.stop.set()
                        if describing is not None:
                            describing.cancel()
            finally:
                await held.note_use()


def _make_agree(holdings: Holdings, journal_path: Path) -> None:
    with Journal.open_readonly(journal_path) as journal:
        holdings.agree_with(journal)


async def _load(gateway: Gateway, loading: CatalogueLoading, sink: Sink) -> bool:
    """Load all Series of the archive, and return True, unless the catalogue has those of its release.

    Raises ArchiveError: that fails, and there are none from earlier.
    """
    known = await asyncio.to_thread(gateway.held.holdings.source)
    try:
        return await loading.load()
    except ArchiveError as error:
        if known.get("archive") != gateway.archive.client.url:
            raise
        gateway.outage.message = str(error)
        sink(Noted(f"the archive does not answer: {error}; serving what it listed on {known['loaded']}"))
        return False

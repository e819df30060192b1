"""Load what an archive has into the catalogue of its cache: all Series at the start, and then what it says beside them.

The Series of IDC's index come in groups, those of other archives as `find` yields them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.archive.idc.whole_index import WholeIndex
from bulkdl.errors import ArchiveError, Interrupted
from bulkdl.model.descriptions import CollectionDescription, Descriptions
from bulkdl.model.events import Noted, Sink
from bulkdl.model.selection import Selection
from bulkdl.server.catalogue.arrangement import Arrangement
from bulkdl.server.catalogue.holdings import Holdings

_Entered = TypeVar("_Entered")

_SECONDS: Final = 60.0  # for the description of one Collection


@dataclass(frozen=True, slots=True)
class CatalogueLoading:
    """What loads an archive into a catalogue. `sink` gets what is left out."""

    archive: Archive
    holdings: Holdings
    sink: Sink

    async def load(self) -> bool:
        """Load all Series, and return True, unless the catalogue has those of the archive's release.

        Raises:
            ArchiveError: that fails; the catalogue keeps what it has.
        """
        known = await asyncio.to_thread(self.holdings.source)
        if isinstance(self.archive, IdcArchive):
            catalogue = await self.archive.catalogue()
            source = self._source(str(catalogue.release))
            if known | {"loaded": ""} == source | {"loaded": ""}:
                return False
            await asyncio.to_thread(self._load_index, source, await self.archive.whole_index())
            descriptions = await asyncio.to_thread(catalogue.collection_descriptions)
            await asyncio.to_thread(self.holdings.describe, descriptions)
        else:
            await self._load_found()
        return True

    def _source(self, release: str | None) -> dict[str, str]:
        return {"archive": self.archive.url, "release": release or "", "loaded": _now()}

    def _load_index(self, source: dict[str, str], index: WholeIndex) -> None:
        with self.holdings.loading(source) as arrangement:
            try:
                arrangement.add_grouped(index)
                if invalid := index.invalid_rows():
                    self.sink(Noted(f"left out: {invalid:,} rows of the index without a valid UID, bucket or folder"))
            finally:
                index.close()  # the indexes of the catalogue need the memory

    async def _load_found(self) -> None:
        async with aclosing(self.archive.find(Selection(everything=True))) as batches:
            first = await anext(batches, FoundSeries())
            async with _entered_in_thread(self.holdings.loading(self._source(first.release))) as arrangement:
                await self._add(arrangement, first, first.release)
                async for batch in batches:
                    await self._add(arrangement, batch, first.release)

    async def _add(self, arrangement: Arrangement, batch: FoundSeries, release: str | None) -> None:
        if batch.failed and release is None:
            raise batch.failed[0][1]
        for question, error in batch.failed:
            self.sink(Noted(f"left out until the next start: {question}: {error}"))
        await asyncio.to_thread(arrangement.add_records, batch.series, batch.descriptions)

    async def describe(self) -> None:
        """Ask an archive that has no index for its Collections, each once. What it does not answer stays unknown."""
        if isinstance(self.archive, IdcArchive):
            return
        found: list[CollectionDescription] = []

        async def take(described: Descriptions) -> None:
            found.extend(described.collections)

        failure: str | None = None
        for name in await asyncio.to_thread(self.holdings.collections):
            try:
                async with asyncio.timeout(_SECONDS):
                    await self.archive.describe(name, take)
            except Interrupted:
                return
            except (ArchiveError, TimeoutError) as error:
                failure = str(error) or "it did not answer in time"
                if isinstance(error, TimeoutError):
                    break
        if found:
            await asyncio.to_thread(self.holdings.describe, found)
        if failure is not None:
            self.sink(Noted(f"the archive did not describe all of its collections: {failure}"))


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

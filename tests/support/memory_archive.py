"""An archive in memory: entries of one Series by key, each with the bodies that it sends one after the other.

`series` and `entries` are what it finds and lists.
"""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from bulkdl.archive.base import BundleForm, Capabilities, FoundSeries, Listing, Rest, Take
from bulkdl.errors import BulkdlError, NotFound
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, References, Series, SeriesSize
from bulkdl.model.selection import Selection
from bulkdl.runtime.attempts import Retrier, RetryPolicy
from bulkdl.runtime.concurrency import Limiter
from bulkdl.runtime.rates import ByteRate
from bulkdl.runtime.tasks import in_thread


class MemoryBody:
    """A body of known length. With `cut` it breaks off after so many bytes, with that error.

    `watch` is called when a piece has been taken. With `is_for_threads` it is `threaded` too.
    """

    def __init__(self, content: bytes, *, start: int = 0, validator: str | None = None) -> None:
        self.length: int | None = len(content) - start
        self.start = start
        self.is_part = start > 0
        self.validator = validator
        self.content_type = "application/dicom"
        self.headers: Mapping[str, str] = {}
        self._content = content[start:]
        self.cut: tuple[int, BulkdlError] | None = None
        self.arrived = 0
        self.piece_bytes = 1 << 20
        self.watch: Callable[[], None] = lambda: None
        self.is_for_threads = False
        self._pieces: AsyncIterator[bytes] | None = None

    @property
    def threaded(self) -> MemoryBody | None:
        return self if self.is_for_threads else None

    async def receive(self, take: Callable[[memoryview], None], at_most: int) -> int:
        self._pieces = self._pieces or self.chunks()
        piece = await anext(self._pieces, b"")
        if piece:
            await in_thread(take, memoryview(piece))
        return len(piece)

    async def chunks(self) -> AsyncIterator[bytes]:
        end = len(self._content) if self.cut is None else self.cut[0]
        for at in range(0, end, self.piece_bytes):
            piece = self._content[at : min(at + self.piece_bytes, end)]
            yield piece
            self.arrived += len(piece)
            self.watch()
        if self.cut is not None:
            raise self.cut[1]

    async def read(self, at_most: int) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])


class MemoryArchive:
    """See `bulkdl.archive.base.Archive`. The last of an entry's bodies is sent again and again."""

    name = "memory"
    url = "https://memory.example"

    def __init__(
        self,
        bodies: Mapping[str, list[bytes]],
        *,
        bundle: bytes | None = None,
        rate: ByteRate | None = None,
        permits: int = 4,
    ) -> None:
        self.bodies = bodies
        self.bundle = bundle
        self.series: list[Series] = []
        self.entries: list[Entry] = []
        self.invalid_rows = 0
        self.checksums: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.rests: list[Rest | None] = []
        self.change: Callable[[str, MemoryBody], None] = lambda *_: None
        self.capabilities = Capabilities(bundle=BundleForm.ZIP if bundle is not None else None, ranges=True)
        policy = RetryPolicy(max_attempts=4, give_up_after_seconds=60, wait_scale=0)
        self.retrier = Retrier(
            limiter=Limiter(ceiling=permits, first=permits), policy=policy, stop=asyncio.Event(), rate=rate
        )

    @property
    def requests(self) -> int:
        return self.asked.total()

    @asynccontextmanager
    async def open(self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[MemoryBody]:
        self.asked[entry.key] += 1
        self.rests.append(rest)
        bodies = self.bodies.get(entry.key)
        if not bodies:
            raise NotFound(f"no entry {entry.key}")
        content = bodies[min(self.asked[entry.key], len(bodies)) - 1]
        body = MemoryBody(content, start=rest.start if rest is not None else 0, validator='"one"')
        self.change(entry.key, body)
        yield body

    @asynccontextmanager
    async def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AsyncIterator[MemoryBody]:
        self.asked["bundle"] += 1
        body = MemoryBody(self.bundle or b"")
        self.change("bundle", body)
        yield body

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        self.asked["checksum"] += 1
        return self.checksums.get(entry.key)

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        yield FoundSeries(tuple(self.series))

    async def describe(self, collection: str, take: Take, *, patient_id: str | None = None) -> None:
        return

    async def list(self, series: Series) -> Listing:
        return Listing(tuple(self.entries), self.invalid_rows)

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        del doi
        return None

    async def collections(self) -> tuple[str, ...]:
        return ()

    async def references(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        return {}

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        return SeriesSize(None, None)

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        return None

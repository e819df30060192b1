"""An archive opened against a server that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.archive.connect import connect
from bulkdl.archive.profiles import Profile
from bulkdl.archive.transports import OpenTransport, open_transport
from bulkdl.model.access import Access
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.runtime.attempts import Retrier, RetryPolicy
from bulkdl.runtime.concurrency import Limiter, Sample

TRANSPORT: ContextVar[OpenTransport] = ContextVar("TRANSPORT", default=open_transport)
"""The transport of the archives that `opened` opens."""


class Recorder(Limiter):
    """A limiter that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(ceiling=16)
        self.samples: list[Sample] = []
        self.begun: list[tuple[float, int]] = []

    def begin(self, seconds: float, size_bytes: int, *, in_flight: int, now: float) -> None:
        self.begun.append((seconds, size_bytes))
        super().begin(seconds, size_bytes, in_flight=in_flight, now=now)

    def record(self, sample: Sample, *, in_flight: int, now: float) -> None:
        self.samples.append(sample)
        super().record(sample, in_flight=in_flight, now=now)


def make_retrier(*, max_attempts: int = 1) -> Retrier:
    """A retrier that does not wait, and gives up on an unreachable archive at once."""
    policy = RetryPolicy(max_attempts=max_attempts, give_up_after_seconds=0, chance=lambda: 0.0)
    return Retrier(limiter=Recorder(), policy=policy, stop=asyncio.Event())


@asynccontextmanager
async def opened(
    url: str,
    *,
    kind: str = "nbia-v1",
    max_attempts: int = 1,
    access: Access | None = None,
    notes: list[str] | None = None,
) -> AsyncIterator[Archive]:
    """The archive of that kind at `url`."""
    retrier = make_retrier(max_attempts=max_attempts)
    note = ([] if notes is None else notes).append
    profile = Profile("faulty", url, kind)
    async with connect(profile, retrier, access=access, note=note, open_transport=TRANSPORT.get()) as archive:
        yield archive


def samples(archive: Archive) -> list[Sample]:
    """What the limiter recorded of the requests of an archive from `opened`."""
    limiter = archive.retrier.limiter
    assert isinstance(limiter, Recorder)
    return limiter.samples


async def found_series(archive: Archive, selection: Selection) -> list[Series]:
    """All Series that `find` yields."""
    async with aclosing(archive.find(selection)) as batches:
        return [series async for batch in batches for series in batch.series]


async def found_at(archive: Archive, selection: Selection) -> FoundSeries:
    """All that `find` yields, as one batch."""
    async with aclosing(archive.find(selection)) as batches:
        found = [batch async for batch in batches]
    return FoundSeries(
        tuple(series for batch in found for series in batch.series),
        tuple(question for batch in found for question in batch.not_found),
        tuple(failure for batch in found for failure in batch.failed),
    )

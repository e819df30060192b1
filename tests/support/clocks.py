"""A clock that tests move by hand, and made-up progress."""

from __future__ import annotations

import asyncio
import io
import time

import pytest

from bulkdl.model.events import Progress
from tests.support.faults import Action, Exchange

_DICOM = {"Content-Type": "application/dicom"}


class HandMovedClock:
    """Seconds; `now` is moved by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def progress(
    held: int,
    *,
    size_bytes: int = 0,
    left: int | None = None,
    failed: int = 0,
    retries: int = 0,
    resolving: bool = False,
) -> Progress:
    """Progress of a run of 2,000 instances in 4 Series; of 20 MB, if `left` is given."""
    return Progress(
        series_selected=4,
        series_done=1,
        instances_selected=2000,
        instances_held=held,
        instances_failed=failed,
        bytes_fetched=size_bytes,
        bytes_selected=0 if left is None else 20_000_000,
        bytes_left=left,
        bytes_per_second=2_000_000,
        seconds_left=None if resolving else 28.4,
        retries=retries,
        in_flight=8,
        limit=16,
        resolving=resolving,
        at_work=("TCGA-GBM",),
    )


class JumpingClock:
    """`time.monotonic`, and with it the event loop of a test, with jumps: what is awaited meanwhile has timed out."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._real = time.monotonic
        self._ahead = 0.0
        patch.setattr(time, "monotonic", self)

    def __call__(self) -> float:
        return self._real() + self._ahead

    def jump(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._ahead += seconds

    def stall(self, seconds: float, body: bytes = b"", *, after: int | None = None) -> Action:
        """As `faults.stall`: then so much time passes, and no more is sent."""

        async def act(exchange: Exchange) -> None:
            if after is not None:
                await exchange.send_head(200, {"Content-Length": str(len(body)), **_DICOM})
                await exchange.send(body[:after])
                await _until_read()
            self.jump(seconds)
            await asyncio.Event().wait()

        return act

    def slowly(self, seconds: float, body: bytes, *, piece_bytes: int) -> Action:
        """As `faults.slowly`, with so much time behind each piece."""

        async def act(exchange: Exchange) -> None:
            await exchange.send_head(200, {"Content-Length": str(len(body)), **_DICOM})
            for start in range(0, len(body), piece_bytes):
                await exchange.send(body[start : start + piece_bytes])
                await _until_read()
                self.jump(seconds)

        return act


async def _until_read() -> None:
    """Let a client in the same event loop read what was sent."""
    for _ in range(5):
        await asyncio.sleep(0)

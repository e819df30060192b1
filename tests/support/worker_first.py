"""The worker in a process of its own begins first: a short run would be over before that process has started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from bulkdl.fetch import worker_process
from bulkdl.fetch.worker import Deliver, Worker
from bulkdl.model.outcomes import SeriesWork


@contextmanager
def worker_first() -> Iterator[None]:
    """Have runs of two workers and more, in this process, wait here until a worker elsewhere has begun, or ended."""
    has_begun = asyncio.Event()
    receive, run = worker_process.receive, Worker.run

    async def receive_and_tell(stream: asyncio.StreamReader) -> Any:
        said = await receive(stream)
        if said is None or said.begun or said.is_last:
            has_begun.set()
        return said

    async def run_later(self: Worker, items: AsyncIterator[SeriesWork], deliver: Deliver) -> None:
        await has_begun.wait()
        await run(self, items, deliver)

    with patch.object(worker_process, "receive", receive_and_tell), patch.object(Worker, "run", run_later):
        yield

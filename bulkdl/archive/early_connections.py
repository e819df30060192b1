"""Connections that are opened before requests need them, so that these do not wait for handshakes over a long line."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from bulkdl.errors import BulkdlError
from bulkdl.runtime.tasks import Tasks

Origin = TypeVar("Origin")
Connection = TypeVar("Connection")


class EarlyConnections(Generic[Origin, Connection]):
    """Opens connections by `connect` in tasks of `tasks`; what no request waits for is given to `keep`."""

    def __init__(
        self, tasks: Tasks, connect: Callable[[Origin], Awaitable[Connection]], keep: Callable[[Connection], None]
    ) -> None:
        self._tasks = tasks
        self._connect = connect
        self._keep = keep
        self._opening: set[asyncio.Task[None]] = set()
        self._awaited: defaultdict[Origin, deque[asyncio.Future[Connection | None]]] = defaultdict(deque)
        self._under_way: defaultdict[Origin, int] = defaultdict(int)

    def under_way(self, origin: Origin) -> int:
        """How many connections are being opened."""
        return self._under_way[origin]

    def open(self, origin: Origin, connections: int) -> None:
        """Begin to open so many. One that fails is missing, without a message: a request will meet the error."""
        for _ in range(connections):
            self._under_way[origin] += 1
            task = self._tasks.join(self._open(origin), name="connect-early")
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, origin: Origin) -> None:
        connection: Connection | None = None
        try:
            connection = await self._connect(origin)
        except BulkdlError:
            pass
        finally:
            self._under_way[origin] -= 1
            self._hand_over(origin, connection)

    def _hand_over(self, origin: Origin, connection: Connection | None) -> None:
        awaited = self._awaited[origin]
        while awaited:
            waiter = awaited.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is not None:
            self._keep(connection)

    async def next(self, origin: Origin) -> Connection | None:
        """Wait for the next one that no other request waits for; None if there is none, or it could not be opened."""
        awaited = self._awaited[origin]
        if len(awaited) >= self._under_way[origin]:
            return None
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        awaited.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and (connection := waiter.result()) is not None:
                self._keep(connection)
            raise

    def close(self) -> None:
        """Stop opening."""
        for task in self._opening:
            task.cancel()

"""What the archive behind a cache does not answer: whether it answers at all, and what the server says of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from bulkdl.errors import ArchiveError, ArchiveUnreachable, ConnectFailed, TimedOut, TooManyRequests
from bulkdl.model.events import ArchiveDown, ArchiveUp, Event
from bulkdl.server.responses import Unavailable

_STATUSES: Final = {
    ArchiveUnreachable.code: HTTPStatus.SERVICE_UNAVAILABLE,
    ConnectFailed.code: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyRequests.code: HTTPStatus.SERVICE_UNAVAILABLE,
    TimedOut.code: HTTPStatus.GATEWAY_TIMEOUT,
}


def unavailable(code: str, message: str) -> Unavailable:
    """What the server says of an error with this code."""
    return Unavailable(message, _STATUSES.get(code, HTTPStatus.BAD_GATEWAY))


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Raise what the archive does not answer as what the server says of it."""
    try:
        yield
    except ArchiveError as error:
        raise unavailable(error.code, str(error)) from error


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

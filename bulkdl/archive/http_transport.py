"""The interface below the HTTP client: `send` sends one request; each transport implements it.

A transport follows no redirects, keeps no cookies, decodes no bodies, and never repeats a request. It raises the errors
of `bulkdl.errors` only. `transports` chooses one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from yarl import URL

from bulkdl.archive.request import Content


class ThreadedResponse(Protocol):
    """A response whose body, of known length, threads can read."""

    async def readable(self) -> bool:
        """Wait until `receive` may find bytes; False at the end of the body."""

    def receive(self, take: Callable[[memoryview], None], at_most: int) -> int:
        """Pass what has arrived to `take`, until `at_most` bytes are reached; return how many. Blocking.

        It is called after `readable`, in a thread. It raises nothing but what `take` raises: what ends the response
        early is raised by the next `readable`.
        """


class HttpResponse(Protocol):
    """A response whose header has arrived. `release` must be called once it is no longer needed.

    Reading raises RequestFailed if the connection broke, or nothing arrived for too long.
    """

    status: int
    reason: str  # the text behind the status code; may be empty
    headers: Mapping[str, str]  # names in any case
    length: int | None  # the value of Content-Length
    content_type: str  # without parameters, in lower case; `application/octet-stream` if there is none
    waited_seconds: float  # for the header, from the request
    is_request_unsent: bool  # at least its end: the response began before

    @property
    def threaded(self) -> ThreadedResponse | None:
        """The same response for threads, None if they cannot read it."""

    @property
    def arrived(self) -> int:
        """How many bytes of the body have arrived, undecoded, whether they were read or not."""

    async def chunk(self) -> bytes:
        """Return the next bytes as they arrive, undecoded; empty at the end of the body."""

    async def read(self) -> bytes:
        """Return the whole body, undecoded."""

    def release(self) -> None:
        """Keep the connection for the next request if the body was read to its end; close it otherwise."""


class HttpTransport(Protocol):
    """Sends requests. `requests` counts those whose header was sent, whether they were answered or not."""

    requests: int

    async def send(self, url: URL, headers: Mapping[str, str], content: Content | None) -> HttpResponse:
        """Send a GET, or a POST of `content`, and wait for the header of the response.

        The rest of an upload is not sent where the response begins before its end.

        Raises:
            RequestFailed: there was no connection, or no valid response.
            ArchiveUnreachable: the certificate of the archive is not trusted.
            What the chunks of an upload raise.
        """

    def open_early(self, url: URL, connections: int) -> bool:
        """Begin to open connections to the origin of `url` until there are so many, if the way there is long.

        False if that is not known yet. A failure says nothing; a request that needs a connection meets it again.
        """

"""What the server did since its start, in the text format of Prometheus: requests, bytes, connections, pictures.

`prometheus_client` would add a third of a second to the start of the command, and a registry for the whole process;
the format is a few lines. Source: Prometheus, Exposition formats, version 0.0.4.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware

from bulkdl.server.responses import Stream

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Metrics:
    """Counts. Requests are counted by the pattern of their route, never by what a client has put into a path."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    pictures: Counter[str] = field(default_factory=Counter)
    connections: Callable[[], int] = lambda: 0

    def middleware(self) -> Middleware:
        """The middleware that counts every request."""

        @web.middleware
        async def count(request: web.Request, handler: _Handler) -> web.StreamResponse:
            begun, status = time.perf_counter(), 0
            try:
                response = await handler(request)
                status = response.status
                self.sent_bytes += _bytes_of(response)
            except web.HTTPException as error:
                status = error.status
                raise
            finally:
                resource = request.match_info.route.resource
                endpoint = resource.canonical if resource is not None else ""
                self.requests[endpoint, status] += 1
                self.seconds[endpoint] += time.perf_counter() - begun  # type: ignore[assignment]
            return response

        return count

    def text(self) -> str:
        """All counts. A status of 0 is a request that ended without an answer."""
        return "".join(
            (
                *_metric(
                    "bulkdl_requests_total",
                    "counter",
                    "Requests by endpoint and status.",
                    (
                        (f'endpoint="{_escaped(name)}",status="{status}"', n)
                        for (name, status), n in self.requests.items()
                    ),
                ),
                *_metric(
                    "bulkdl_request_seconds_total",
                    "counter",
                    "Time that requests took, with the sending of their answers, by endpoint.",
                    ((f'endpoint="{_escaped(name)}"', seconds) for name, seconds in self.seconds.items()),
                ),
                *_metric("bulkdl_sent_bytes_total", "counter", "Bytes of bodies.", [("", self.sent_bytes)]),
                *_metric("bulkdl_connections", "gauge", "Connections that are open.", [("", self.connections())]),
                *_metric(
                    "bulkdl_pictures_total",
                    "counter",
                    "Pictures by where they came from.",
                    ((f'source="{_escaped(name)}"', n) for name, n in self.pictures.items()),
                ),
            )
        )


METRICS: Final = web.AppKey("metrics", Metrics)
"""Where an application has its metrics."""


def _bytes_of(response: web.StreamResponse) -> int:
    if isinstance(response, Stream):
        return response.bytes_sent
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, bytes) else 0


def _metric(name: str, kind: str, text: str, values: Iterable[tuple[str, float]]) -> Iterable[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in values:
        yield f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

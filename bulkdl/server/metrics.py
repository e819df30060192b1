"""What the server did since its start, in the text format of Prometheus: requests, bytes, connections, pictures.

`prometheus_client` would add a third of a second to the start of the command, and a registry for the whole process;
the format is a few lines. Source: Prometheus, Exposition formats, version 0.0.4.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from aiohttp.web import AbstractResource

from bulkdl.server.responses import bytes_sent

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Metrics:
    """Counts. Requests are counted by the resource of their route, never by what a client has put into a path."""

    requests: Counter[tuple[AbstractResource | None, int]] = field(default_factory=Counter)
    seconds: dict[AbstractResource | None, float] = field(default_factory=dict)
    sent_bytes: int = 0
    pictures: Counter[str] = field(default_factory=Counter)
    connections: Callable[[], int] = lambda: 0

    def count(self, request: web.BaseRequest, response: web.StreamResponse | None, seconds: float) -> None:
        """Count a request that was answered, or that ended without an answer. It is called for every instance."""
        resource = request.match_info.route.resource if isinstance(request, web.Request) else None
        self.requests[resource, response.status if response is not None else 0] += 1
        self.seconds[resource] = self.seconds.get(resource, 0.0) + seconds
        if response is not None:
            self.sent_bytes += bytes_sent(request, response)

    def text(self) -> str:
        """All counts. A status of 0 is a request that ended without an answer."""
        requests, seconds = Counter[tuple[str, int]](), Counter[str]()  # several resources may have one path
        for (resource, status), number in self.requests.items():
            requests[_path_of(resource), status] += number
        for resource, spent in self.seconds.items():
            seconds[_path_of(resource)] += spent  # type: ignore[assignment]
        return "".join(
            (
                *_metric(
                    "bulkdl_requests_total",
                    "counter",
                    "Requests by endpoint and status.",
                    ((f'endpoint="{_escaped(name)}",status="{status}"', n) for (name, status), n in requests.items()),
                ),
                *_metric(
                    "bulkdl_request_seconds_total",
                    "counter",
                    "Time that requests took, by endpoint.",
                    ((f'endpoint="{_escaped(name)}"', spent) for name, spent in seconds.items()),
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


def _path_of(resource: AbstractResource | None) -> str:
    return resource.canonical if resource is not None else ""


def _metric(name: str, kind: str, text: str, values: Iterable[tuple[str, float]]) -> Iterable[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in values:
        yield f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

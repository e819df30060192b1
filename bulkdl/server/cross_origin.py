"""Answers that pages of other web sites may read: the headers of CORS, for the origins that are allowed.

Without it a browser lets no other site read an answer, which protects what is served on a local machine. Credentials of
the browser are never allowed: the session of the pages stays theirs, and a page elsewhere sends a token itself.

Source: the Fetch standard, §3.2 (CORS protocol); PS3.18 §8.2 leaves it to the server.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from typing import Final

from aiohttp import web

from bulkdl.errors import ConfigurationError

ANY_ORIGIN: Final = "*"

_ORIGIN: Final = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII)
_EXPOSED: Final = "Accept-Ranges, Content-Length, Content-Location, Content-Range, ETag, Last-Modified, Warning"
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type, If-Match, If-None-Match, If-Range, Range",
    "Access-Control-Max-Age": "86400",
}


def read_origins(origins: Collection[str]) -> frozenset[str]:
    """The origins as a browser sends them: lower case, without a slash at the end.

    Raises:
        ConfigurationError: one is neither `*` nor a scheme and a host, with or without a port.
    """
    found = frozenset(origin.lower().removesuffix("/") for origin in origins)
    for origin in found:
        if origin != ANY_ORIGIN and _ORIGIN.fullmatch(origin) is None:
            raise ConfigurationError(f"{origin!r} is not an origin, such as https://viewer.example.org or *")
    return found


def with_origins(app: web.Application, origins: frozenset[str]) -> web.Application:
    """The application, whose answers pages of these origins may read. It answers what browsers ask before, too."""
    if origins:
        rules = _CrossOrigin(origins)
        app.middlewares.append(rules.middleware)
        app.on_response_prepare.append(rules.on_prepare)
    return app


class _CrossOrigin:
    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    async def on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers to a response that its handler sends."""
        if (allowed := self._allowed(request)) is not None:
            response.headers["Access-Control-Allow-Origin"] = allowed
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        if ANY_ORIGIN not in self._origins:
            response.headers["Vary"] = "Origin"

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer, and add the headers to a response that is not sent yet: `on_prepare` is not called for all."""
        asks_before = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if asks_before and self._allowed(request) is not None:
            response: web.StreamResponse = web.Response(status=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)
        else:
            response = await handler(request)
        if not response.prepared:
            await self.on_prepare(request, response)
        return response

    def _allowed(self, request: web.Request) -> str | None:
        """The origin that the answer names; None if the page may not read it."""
        if ANY_ORIGIN in self._origins:
            return ANY_ORIGIN
        origin = request.headers.get("Origin", "")
        return origin if origin in self._origins else None

"""The HTTP server: one aiohttp application over one catalogue, to which each API adds its routes.

To add an API, add a folder beside `nbia` with a function like `nbia.routes.add_routes`, and call it in `make_app`. APIs
share the catalogue, authentication and threads of `ServerContext`, and do not import each other.
"""

import asyncio
import errno
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote_plus

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from bulkdl.errors import ConfigurationError
from bulkdl.server.access import AccessRules, Authenticator
from bulkdl.server.bucket import routes as bucket
from bulkdl.server.catalogue import Catalogue
from bulkdl.server.connections import HANDSHAKE_SECONDS, Connections, end_stalled_readers
from bulkdl.server.context import ServerContext
from bulkdl.server.dicomweb import routes as dicomweb
from bulkdl.server.inspection import Inspector
from bulkdl.server.metrics import METRICS, Metrics
from bulkdl.server.nbia import routes as nbia
from bulkdl.server.nbia.apis import SERVICES_PATH
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.pathdb import routes as pathdb
from bulkdl.server.pathdb.slides import ServedSlides
from bulkdl.server.portal import routes as portal
from bulkdl.server.reception import Reception
from bulkdl.server.responses import NotedResponse, ServerThreads, Stream, bytes_sent, status_page
from bulkdl.server.services import routes as services
from bulkdl.server.supply import Supply

_SHUTDOWN_SECONDS: Final = 2.0
_BACKLOG: Final = 1024
_MAX_BODY_BYTES: Final = 1 << 24
_SECRETS: Final = frozenset({"api_key", "password", "client_secret", "token", "access_token", "refresh_token"})


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One answered request. `bytes_sent` counts the body; `note` says why the request failed, if that is known.

    Keys, passwords and tokens in the address are removed from `path_qs`.
    """

    method: str
    path_qs: str
    status: int
    bytes_sent: int
    seconds: float
    note: str | None = None


def make_app(
    catalogue: Catalogue,
    *,
    rules: AccessRules | None = None,
    quirks: frozenset[Quirk] = frozenset(),
    supply: Supply | None = None,
    slides: ServedSlides | None = None,
    mirrors: Sequence[Path] = (),
    reception: Reception | None = None,
) -> web.Application:
    """Make the application of all APIs. The caller closes the catalogue, and `supply`, afterwards.

    `mirrors` are those of which the pages show the runs. `reception` takes instances that clients store.

    Raises:
        DiskError: the shared lists beside the catalogue cannot be read.
    """
    context = ServerContext(catalogue, Authenticator(rules), ServerThreads(), Inspector(), supply)
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app[METRICS] = Metrics()
    nbia.add_routes(app.router, context, quirks=quirks)
    bucket.add_routes(app.router, context)
    services.add_routes(app.router, context)
    pathdb.add_routes(app.router, context, slides or ServedSlides())
    dicomweb.add_routes(app.router, context, reception)
    portal.add_routes(app.router, context, services=SERVICES_PATH, mirrors=mirrors)
    app.router.add_route("*", "/{anything:.*}", _unknown)

    async def end(_app: web.Application) -> None:
        context.ending.set()

    async def close(_app: web.Application) -> None:
        await context.inspector.close()
        for threads in (context.threads, context.hashing, context.logins):
            threads.close()

    app.on_shutdown.append(end)
    app.on_cleanup.append(close)
    return app


async def _unknown(http: web.Request) -> web.Response:
    return bucket.other_bucket(http) or await status_page(http)


@asynccontextmanager
async def serving(
    app: web.Application,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    hosts: Iterable[str] = (),
    access_log: Callable[[AccessRecord], None] | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serve `app` for the length of the block. Yields the base address, `http://127.0.0.1:PORT/nbia-api/services`.

    With `tls` it is served by https alone.

    Port 0 picks a free port. `hosts` are names that the server answers to, besides `localhost`, `host` and the address
    that a client connects to. `access_log` is called in the event loop after each answer. At the end, running requests
    have two seconds to finish.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    runner = web.AppRunner(
        app,
        access_log_class=_access_logger(access_log) if access_log else AbstractAccessLogger,
        access_log=logging.getLogger(__name__) if access_log else None,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    server = runner.server
    assert server is not None  # noqa: S101 - it was set up
    app[METRICS].connections = lambda: len(server.connections)
    try:
        names = frozenset(name.lower().removesuffix(".") for name in (host, *hosts))
        with Connections(hosts=names, count=app[METRICS].count).guarded(server) as accept:
            async with await _listen(accept, host, port, tls) as listening:
                address, bound = listening.sockets[0].getsockname()[:2]
                scheme = "https" if tls is not None else "http"
                yield f"{scheme}://{f'[{address}]' if ':' in address else address}:{bound}{SERVICES_PATH}"
    finally:
        await runner.cleanup()


async def _listen(
    accept: Callable[[], asyncio.Protocol], host: str, port: int, tls: ssl.SSLContext | None
) -> asyncio.Server:
    handshake_seconds = HANDSHAKE_SECONDS if tls is not None else None
    try:
        listening = await asyncio.get_running_loop().create_server(
            accept, host, port, backlog=_BACKLOG, ssl=tls, ssl_handshake_timeout=handshake_seconds
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = "choose another with --port, or a free one: --port 0"
            raise ConfigurationError(f"port {port} of {host} is taken by another program; {advice}") from error
        reason = os.strerror(error.errno) if error.errno else error  # the text of asyncio repeats address and port
        raise ConfigurationError(f"cannot listen at {host}, port {port}: {reason}") from error
    for each in listening.sockets:
        end_stalled_readers(each)
    return listening


def _access_logger(sink: Callable[[AccessRecord], None]) -> type[AbstractAccessLogger]:
    class Logger(AbstractAccessLogger):
        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            note = response.note if isinstance(response, Stream | NotedResponse) else None
            sent = bytes_sent(request, response)
            sink(AccessRecord(request.method, _shown(request.path_qs), response.status, sent, time, note))

    return Logger


def _shown(path_qs: str) -> str:
    """An address without the secrets in its query."""
    path, mark, query = path_qs.partition("?")
    pairs = (pair.partition("=") for pair in query.split("&"))
    shown = (f"{name}=…" if _is_secret(name) else name + equal + value for name, equal, value in pairs)
    return path + mark + "&".join(shown)


def _is_secret(name: str) -> bool:
    return unquote_plus(name).casefold() in _SECRETS

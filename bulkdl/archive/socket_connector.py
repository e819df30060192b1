"""Connect to hosts: names are resolved, several addresses are tried, and TLS is begun."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from aiohappyeyeballs import start_connection

from bulkdl.archive import connection_errors
from bulkdl.archive.certificates import Certificates
from bulkdl.archive.socket_connection import Connection, Origin, wake_up
from bulkdl.model.access import Access
from bulkdl.model.text import error_text
from bulkdl.runtime.disk import is_shortage

_CONNECTIONS: Final = 4  # name, several addresses, TLS
_ADDRESS_SECONDS: Final = 300.0
_MOST_ADDRESSES: Final = 64
_NEXT_ADDRESS_SECONDS: Final = 0.25  # RFC 8305 §5

_AddressInfo: TypeAlias = tuple[Any, ...]


class Connector:
    """Opens connections within the limits of `access`. `clock` measures how long each takes.

    Raises:
        ConfigurationError: the certificate bundle cannot be read.
    """

    def __init__(self, access: Access, clock: Callable[[], float]) -> None:
        self._access = access
        self._clock = clock
        self._certificates = Certificates(access.ca_bundle)
        self._loop = asyncio.get_running_loop()
        self._seconds: dict[Origin, float] = {}  # the shortest time
        self._addresses: dict[Origin, tuple[float, list[_AddressInfo]]] = {}
        self._resolving: dict[Origin, asyncio.Lock] = {}

    def seconds(self, origin: Origin) -> float | None:
        """The shortest time that it took to connect; None before the first connection."""
        return self._seconds.get(origin)

    async def connect(self, origin: Origin) -> Connection:
        """Open a connection.

        Raises:
            RequestFailed: there is none in time, or the other side is not trusted.
            ConfigurationError: the certificates cannot be read.
        """
        scheme, host, port = origin
        began = self._clock()
        bound = min(_CONNECTIONS * self._access.connect_seconds, self._access.answer_seconds)
        try:
            async with asyncio.timeout(bound):
                link = await self._link(origin, await self._resolved(origin))
                if scheme == "https":
                    link = await self._encrypted(link, host)
        except TimeoutError as error:
            raise connection_errors.no_connection_in_time() from error
        except ssl.SSLCertVerificationError as error:
            raise connection_errors.not_trusted(host, error.verify_message) from error
        except (OSError, RuntimeError) as error:  # uvloop may raise the other one
            if is_shortage(error):  # of threads, in which names are resolved: no fault of the archive
                raise
            if "WRONG_VERSION_NUMBER" in str(error):
                raise connection_errors.speaks_no_tls(f"{host}:{port}") from error
            self._addresses.pop(origin, None)
            too_many = connection_errors.too_many_files(error)
            raise too_many or connection_errors.cannot_reach(f"{host}:{port}", error_text(error)) from error
        seconds = self._clock() - began
        self._seconds[origin] = min(seconds, self._seconds.get(origin, seconds))
        return Connection(link, origin)

    async def _resolved(self, origin: Origin) -> list[_AddressInfo]:
        """The addresses of a host, which are asked for once in a while."""
        _, host, port = origin
        if len(self._addresses) > _MOST_ADDRESSES:
            self._addresses.clear()
            self._resolving.clear()
            self._seconds.clear()
        async with self._resolving.setdefault(origin, asyncio.Lock()):
            until, known = self._addresses.get(origin, (0.0, []))
            if time.monotonic() < until:
                return known
            try:
                found: list[_AddressInfo] = list(await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (socket.gaierror, UnicodeError) as error:
                raise connection_errors.unknown_host(host, error_text(error)) from error
            self._addresses[origin] = (time.monotonic() + _ADDRESS_SECONDS, found)
            return found

    async def _link(self, origin: Origin, addresses: list[Any]) -> socket.socket:
        async with asyncio.timeout(self._access.connect_seconds):
            link = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    async def _encrypted(self, link: socket.socket, host: str) -> ssl.SSLSocket:
        try:
            context = await self._certificates.context()
            tls = context.wrap_socket(
                link, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except BaseException:
            link.close()
            raise
        try:
            async with asyncio.timeout(self._access.connect_seconds):
                await self._shake_hands(tls)
        except BaseException:
            tls.close()
            raise
        return tls

    async def _shake_hands(self, tls: ssl.SSLSocket) -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await _ready(self._loop.add_reader, self._loop.remove_reader, tls)
            except ssl.SSLWantWriteError:
                await _ready(self._loop.add_writer, self._loop.remove_writer, tls)
            else:
                return


async def _ready(add: Callable[..., None], remove: Callable[..., object], link: socket.socket) -> None:
    """Wait until a socket can be read, or written: as `add` and `remove` of the loop say."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(link, wake_up, waiter)
    try:
        await waiter
    finally:
        remove(link)

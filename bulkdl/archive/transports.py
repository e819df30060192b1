"""Which transport sends the requests to an archive."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from bulkdl.archive.certificates import import_aiohttp
from bulkdl.archive.http_transport import HttpTransport
from bulkdl.model.access import Access

OpenTransport: TypeAlias = Callable[[Access], AbstractAsyncContextManager[HttpTransport]]


def open_transport(access: Access) -> AbstractAsyncContextManager[HttpTransport]:
    """A transport for one archive; its connections are closed at the end of the block.

    Raises:
        ConfigurationError: the certificate bundle cannot be read.
    """
    if _needs_aiohttp(access):
        from bulkdl.archive import aiohttp_transport  # noqa: PLC0415 - late: it takes half of a start

        return aiohttp_transport.open_transport(access)
    from bulkdl.archive import socket_transport  # noqa: PLC0415 - late, too: a run that asks no archive needs none

    return socket_transport.open_transport(access)


def import_transport(access: Access) -> None:
    """Import the transport, before it is needed. For processes of bulkdl only; see `import_aiohttp`."""
    if _needs_aiohttp(access):
        import_aiohttp()
    else:
        import bulkdl.archive.socket_transport  # noqa: F401, PLC0415 - now


def _needs_aiohttp(access: Access) -> bool:
    return access.proxy is not None or sys.platform == "win32"  # whose event loop cannot watch sockets

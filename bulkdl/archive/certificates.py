"""The certificates of the system: loaded once, when the first address needs them.

aiohttp loads them twice when it is imported, 20 ms each time (measured with 3.14), for archives without TLS as well.
"""

import asyncio
import errno
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from bulkdl.errors import ConfigurationError
from bulkdl.model.text import error_text
from bulkdl.runtime.bounded_files import read_file

_PROTOCOLS: Final = ("http/1.1",)
_PEM: Final = b"-----BEGIN "
_MOST_BYTES: Final = 1 << 26


def import_aiohttp() -> None:
    """Import aiohttp without certificates, if it is not imported yet.

    Its own contexts trust no server afterwards, so call this only in a process that bulkdl has started, before there
    are threads. `aiohttp_transport` uses a context of `Certificates`.
    """
    name, load = "set_default_verify_paths", ssl.SSLContext.load_default_certs
    loading: Any = ssl.SSLContext
    loading.load_default_certs = lambda *_: None
    setattr(loading, name, lambda *_: None)
    try:
        import bulkdl.archive.aiohttp_transport  # noqa: F401, PLC0415 - now
    finally:
        loading.load_default_certs = load
        delattr(loading, name)


class Certificates:
    """The certificates of `bundle`, or else those of the system, which the first TLS connection loads.

    Raises:
        ConfigurationError: the bundle cannot be read, or has no certificate in the form PEM (RFC 7468).
    """

    def __init__(self, bundle: str | None) -> None:
        self._bundle = bundle
        self._loading = asyncio.Lock()
        self._context: ssl.SSLContext | None = None
        if bundle is not None:  # at once, because the first TLS connection may be that of a redirect, days later
            with _certificate_errors(bundle):
                if _PEM not in read_file(bundle, at_most=_MOST_BYTES):
                    raise ssl.SSLError("it has no certificate in the form PEM")

    async def context(self) -> ssl.SSLContext:
        """A TLS context that trusts them. Raises ConfigurationError: they cannot be read."""
        async with self._loading:
            if self._context is None:
                with _certificate_errors(self._bundle):
                    context = await asyncio.to_thread(ssl.create_default_context, cafile=self._bundle)
                context.set_alpn_protocols(_PROTOCOLS)
                # Python before 3.11.4 sets it: a connection that is cut without an alert then seems to have ended.
                context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
                self._context = context
            return self._context


@contextmanager
def _certificate_errors(bundle: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error
        of = f"in {bundle}" if bundle is not None else "of the system"
        raise ConfigurationError(f"the certificates {of} cannot be read: {error_text(error)}") from error

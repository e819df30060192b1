"""The certificates of the system: loaded once, when the first address needs them.

aiohttp loads them twice when it is imported, 20 ms each time (measured with 3.14), for archives without TLS as well.
"""

import asyncio
import errno
import ssl
from typing import Any, Final

from bulkdl.errors import ConfigurationError
from bulkdl.model.text import error_text

_PROTOCOLS: Final = ("http/1.1",)


def import_aiohttp() -> None:
    """Import aiohttp without certificates, if it is not imported yet.

    Its own contexts trust no server afterwards, so call this only in a process that bulkdl has started, before there
    are threads. `aiohttp_transport` uses a context of `load_certificates`.
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


async def load_certificates(bundle: str | None) -> ssl.SSLContext:
    """A TLS context that trusts the certificates of `bundle`, or else those of the system.

    Raises:
        ConfigurationError: they cannot be read.
    """
    try:
        context = await asyncio.to_thread(ssl.create_default_context, cafile=bundle)
    except (OSError, ssl.SSLError) as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error
        of = f"in {bundle}" if bundle is not None else "of the system"
        raise ConfigurationError(f"the certificates {of} cannot be read: {error_text(error)}") from error
    context.set_alpn_protocols(_PROTOCOLS)
    return context

"""The TLS of the server: its certificate and its private key, and its connections.

asyncio has its own layer for that, which takes some forty calls for a request and its response. Without them, a small
instance takes a tenth less processor time (measured).
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bulkdl.errors import ConfigurationError
from bulkdl.model.text import error_text

HANDSHAKE_SECONDS: Final = 10.0
"""How long a client may take for the handshake."""
_RECEIVED_BYTES: Final = 1 << 15
_READ_BYTES: Final = 1 << 14  # as many as a record of TLS has at most


def read_certificate(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """The TLS context of a server with this certificate, or chain of them; without `key` it is in the same file. PEM.

    Raises:
        ConfigurationError: a file cannot be read, is not PEM, or the key is encrypted or of another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # without one, OpenSSL asks at the terminal
    except (OSError, ValueError) as error:
        files = f"{certificate} and {key}" if key is not None else str(certificate)
        needed = "a certificate and its private key, not encrypted, in PEM form"
        raise ConfigurationError(f"{files} cannot be used for TLS: {error_text(error)}; needed is {needed}") from error
    return context


def by_tls(context: ssl.SSLContext, accept: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.BufferedProtocol]:
    """A factory of protocols for a listening socket, whose connections those of `accept` get after the handshake."""
    return lambda: _TlsConnection(context, accept())


class _TlsConnection(asyncio.BufferedProtocol, asyncio.Transport):
    """A connection by TLS: the protocol of its socket, and the transport of `protocol`, which sees nothing of TLS.

    The buffers for what is sent, and their limits, are those of the socket.
    """

    def __init__(self, context: ssl.SSLContext, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._context = context
        self._encrypted, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._encrypted, self._to_send, server_side=True)
        self._received = memoryview(bytearray(_RECEIVED_BYTES))
        self._is_open = False  # from the handshake on
        self._is_paused = False

    # --- for the socket -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what sockets have
        self._socket = transport
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(HANDSHAKE_SECONDS, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        if self._is_open:
            self._protocol.connection_lost(error)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        self._encrypted.write(self._received[:nbytes])
        try:
            if not self._is_open:
                self._tls.do_handshake()
                self._timer.cancel()
                self._is_open = True
                self._protocol.connection_made(self)
            self._decrypt()
        except ssl.SSLWantReadError:
            self._send()
        except ssl.SSLError:  # it is not TLS, or damaged
            self._send()  # the alert, for the client
            self._socket.close()

    def _decrypt(self) -> None:
        """Hand on what has arrived."""
        while (self._encrypted.pending or self._tls.pending()) and not self._is_paused and not self.is_closing():
            if not (data := self._tls.read(_READ_BYTES)):  # the client has closed it
                self.close()
                return
            self._protocol.data_received(data)
        if self._to_send.pending:
            self._send()

    def _send(self) -> None:
        if data := self._to_send.read():
            self._socket.write(data)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    # --- for the protocol ---------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._socket.is_closing():
            return
        self._tls.write(data)
        self._socket.write(self._to_send.read())

    def close(self) -> None:
        if not self._socket.is_closing():
            with suppress(ssl.SSLError):
                self._tls.unwrap()  # says that nothing follows; the client need not answer
            self._send()
            self._socket.close()

    def abort(self) -> None:
        self._socket.abort()

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def pause_reading(self) -> None:
        self._is_paused = True
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        self._socket.resume_reading()
        self._loop.call_soon(self.buffer_updated, 0)  # what has arrived before

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        own = {"sslcontext": self._context, "ssl_object": self._tls}
        return own[name] if name in own else self._socket.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size()

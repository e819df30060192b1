"""The TLS of the server: its certificate and its private key, which are read again after they were renewed."""

import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from bulkdl.errors import ConfigurationError
from bulkdl.model.text import error_text

_LOOK_SECONDS: Final = 60.0


def read_certificate(certificate: Path, key: Path | None, *, look_seconds: float = _LOOK_SECONDS) -> ssl.SSLContext:
    """The TLS context of a server with this certificate, or chain of them; without `key` it is in the same file. PEM.

    New connections get the certificate that is there, which is looked at every `look_seconds`; the earlier one, as long
    as that cannot be used.

    Raises:
        ConfigurationError: a file cannot be read, is not PEM, or the key is encrypted or of another certificate.
    """
    used = _UsedCertificate(certificate, key, look_seconds)
    used.context.sni_callback = used.choose  # which OpenSSL also calls for clients that send no name
    return used.context


class _UsedCertificate:
    """The TLS context of new connections, with the certificate that was read last."""

    def __init__(self, certificate: Path, key: Path | None, look_seconds: float) -> None:
        self._certificate, self._key = certificate, key
        self._look_seconds = look_seconds
        self._looked_at = time.monotonic()
        self._state = self._look()
        self.context = _load(certificate, key)

    def choose(self, connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        """Give a new connection the certificate, after looking whether there is another one."""
        now = time.monotonic()
        if now - self._looked_at >= self._look_seconds:
            self._looked_at = now
            self._read_again()
        connection.context = self.context

    def _read_again(self) -> None:
        if (state := self._look()) != self._state:
            with suppress(ConfigurationError):  # the key is still the earlier one: it is tried again
                self.context, self._state = _load(self._certificate, self._key), state

    def _look(self) -> tuple[int, int, int] | None:
        """What tells whether the certificate is another one, also where a link leads to it."""
        with suppress(OSError):
            status = self._certificate.stat()
            return status.st_ino, status.st_size, status.st_mtime_ns
        return None


def _load(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # without one, OpenSSL asks at the terminal
    except (OSError, ValueError) as error:
        files = f"{certificate} and {key}" if key is not None else str(certificate)
        needed = "a certificate and its private key, not encrypted, in PEM form"
        raise ConfigurationError(f"{files} cannot be used for TLS: {error_text(error)}; needed is {needed}") from error
    return context

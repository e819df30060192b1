"""The TLS of the server: its certificate and its private key."""

import ssl
from pathlib import Path

from bulkdl.errors import ConfigurationError
from bulkdl.model.text import error_text


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

"""The certificates of the system are loaded when an address needs them, and not before."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest
from yarl import URL

from bulkdl.archive.certificates import load_certificates
from bulkdl.archive.transports import open_transport
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import Access
from tests.support.faults import CERTIFICATE, FaultyServer, answer, in_turn, self_signed

PROGRAM = """
import ssl, sys
loaded = []
real = ssl.SSLContext.load_default_certs
from bulkdl.archive.certificates import import_aiohttp
import_aiohttp()
import aiohttp.connector
context = aiohttp.connector._SSL_CONTEXT_VERIFIED
print(context.verify_mode == ssl.CERT_REQUIRED, context.check_hostname, context.cert_store_stats()["x509"])
print(ssl.SSLContext.load_default_certs is real, ssl.create_default_context().cert_store_stats()["x509"])
"""


def test_aiohttp_is_imported_without_certificates_and_python_loads_them_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["True True 0", "True 1"]


async def test_the_certificates_of_the_system_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    script = in_turn(answer(b"body"), answer(b"body"))
    async with FaultyServer(script, tls=self_signed()) as server, open_transport(Access()) as transport:
        for _ in range(2):
            response = await transport.send(URL(server.url), {}, None)
            assert await response.read() == b"body"
            response.release()


async def test_a_context_requires_a_certificate_and_the_name_of_the_host() -> None:
    context = await load_certificates(str(CERTIFICATE))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_a_bundle_that_cannot_be_read_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"the certificates in missing\.pem cannot be read"):
        await load_certificates("missing.pem")

"""The certificates of the system are loaded when an address needs them, and not before."""

from __future__ import annotations

import ssl
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from yarl import URL

from bulkdl.archive.certificates import Certificates
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
    context = await Certificates(str(CERTIFICATE)).context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "other"])
def test_a_bundle_that_cannot_be_read_is_a_configuration_error_at_once(content: str | None, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(ConfigurationError, match=r"the certificates in .*ca\.pem cannot be read"):
        Certificates(str(bundle))


async def test_a_damaged_bundle_is_a_configuration_error_before_anything_is_sent(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    access = Access(ca_bundle=str(bundle))
    async with FaultyServer(in_turn(), tls=self_signed()) as server, open_transport(access) as transport:
        with pytest.raises(ConfigurationError, match=r"the certificates in .*ca\.pem cannot be read"):
            await transport.send(URL(server.url), {}, None)
        assert server.requests == []


async def test_the_first_tls_connection_loads_them_and_no_other_one(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(CERTIFICATE.read_bytes())
    plain, encrypted = FaultyServer(in_turn(answer(b"body"))), FaultyServer(in_turn(), tls=self_signed())
    async with plain, encrypted, open_transport(Access(ca_bundle=str(bundle))) as transport:
        bundle.unlink()
        response = await transport.send(URL(plain.url), {}, None)
        assert await response.read() == b"body"
        response.release()
        with pytest.raises(ConfigurationError, match=r"the certificates in .*ca\.pem cannot be read"):
            await transport.send(URL(encrypted.url), {}, None)


def test_a_bundle_takes_as_much_memory_as_it_has_bytes() -> None:
    tracemalloc.start()
    try:
        Certificates(str(CERTIFICATE))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_bundle_without_an_end_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="it has more than"):
        Certificates("/dev/zero")

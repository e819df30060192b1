"""The server by https: what it reads, and whom it refuses."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulkdl.errors import ArchiveUnreachable, ConfigurationError
from bulkdl.model.reports.base import RunOutcome
from bulkdl.server.app import AccessRecord
from bulkdl.server.tls import read_certificate
from bulkdl.verbs.connections.reach import reach
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.plan import plan_async
from bulkdl.verbs.serve import serve_async
from tests.support.bad_archive import QUICK
from tests.support.dicom_files import instances, write_folder
from tests.support.faults import CERTIFICATE
from tests.support.mirrors import checksums_of, checksums_on_disk
from tests.support.waiting import until

RENEWED = CERTIFICATE.with_name("renewed.pem")
ENCRYPTED = CERTIFICATE.with_name("encrypted_key.pem")


def apart(folder: Path) -> tuple[Path, Path]:
    """The certificate and its key, in two files."""
    key, begin, certificate = CERTIFICATE.read_text().partition("-----BEGIN CERTIFICATE")
    (folder / "key.pem").write_text(key)
    (folder / "cert.pem").write_text(begin + certificate)
    return folder / "cert.pem", folder / "key.pem"


def test_a_certificate_and_its_key_are_in_one_file_or_in_two(tmp_path: Path) -> None:
    for files in ((CERTIFICATE, None), apart(tmp_path)):
        assert len(read_certificate(*files).get_ciphers()) > 0


@pytest.mark.parametrize("wrong", ["missing", "no PEM", "no key", "an encrypted key"])
def test_a_certificate_that_cannot_be_used_is_named(wrong: str, tmp_path: Path) -> None:
    certificate, key = apart(tmp_path)[0], None
    if wrong == "missing":
        certificate.unlink()
    elif wrong == "no PEM":
        certificate.write_text("hunter2")
    elif wrong == "an encrypted key":
        key = ENCRYPTED
    with pytest.raises(ConfigurationError, match=r"cert\.pem .*cannot be used for TLS") as caught:
        read_certificate(certificate, key)
    assert "hunter2" not in str(caught.value)


def sent_certificate(server: ssl.SSLContext) -> str | None:
    """The certificate, in PEM form, that a server sends to a new connection."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    ends = [asking, server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(3):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    sent = asking.getpeercert(binary_form=True)
    return None if sent is None else ssl.DER_cert_to_PEM_cert(sent).strip()


def certificate_in(path: Path) -> str:
    return "-----BEGIN CERT" + path.read_text().partition("-----BEGIN CERT")[2].strip()


@pytest.mark.parametrize("files", ["one", "two", "a link"])
def test_a_renewed_certificate_is_sent_to_new_connections(files: str, tmp_path: Path) -> None:
    certificate, key = apart(tmp_path) if files == "two" else (tmp_path / "both.pem", None)
    if files == "one":
        certificate.write_bytes(CERTIFICATE.read_bytes())
    elif files == "a link":
        certificate.symlink_to(CERTIFICATE)
    server = read_certificate(certificate, key, look_seconds=0)
    assert sent_certificate(server) == certificate_in(CERTIFICATE)
    text, begin, renewed = RENEWED.read_text().partition("-----BEGIN CERT")
    if key is None:
        certificate.unlink()
        assert sent_certificate(server) == certificate_in(CERTIFICATE)
        certificate.symlink_to(RENEWED)
    else:
        certificate.write_text(begin + renewed)
        assert sent_certificate(server) == certificate_in(CERTIFICATE)  # the key is still that of the first one
        key.write_text(text)
    assert sent_certificate(server) == certificate_in(RENEWED)
    assert sent_certificate(server) == certificate_in(RENEWED)


def test_the_files_of_a_certificate_are_looked_at_now_and_then(tmp_path: Path) -> None:
    certificate = tmp_path / "both.pem"
    certificate.write_bytes(CERTIFICATE.read_bytes())
    server = read_certificate(certificate, None)
    certificate.write_bytes(RENEWED.read_bytes())
    assert sent_certificate(server) == certificate_in(CERTIFICATE)


async def test_a_mirror_is_made_by_https_and_by_nothing_else(tmp_path: Path) -> None:
    made_up = write_folder(tmp_path / "files", instances(series=2, per_series=3))
    async with serve_async(tmp_path / "files", cache=tmp_path / "cache", tls_cert=CERTIFICATE) as served:
        assert served.url.startswith("https://127.0.0.1:")
        trusting = reach(served.url, ca_bundle=str(CERTIFICATE))
        report = await mirror_async(
            collection=made_up[0].collection, to=tmp_path / "mirror", archive=trusting, settings=QUICK
        )
        with pytest.raises(ArchiveUnreachable, match="is not trusted"):
            await plan_async(everything=True, archive=served.url, settings=QUICK)
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(served.url).port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" not in await reader.read()
        writer.close()
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


async def test_a_key_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--tls-cert"):
        async with serve_async(tmp_path, cache=tmp_path / "cache", tls_key=CERTIFICATE):
            pass


async def test_a_client_that_leaves_in_the_middle_of_a_file_is_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = write_folder(tmp_path / "files", instances(series=1, per_series=1, rows=2000))[0]
    log: list[AccessRecord] = []
    async with serve_async(
        tmp_path / "files", cache=tmp_path / "cache", tls_cert=CERTIFICATE, access_log=log.append
    ) as served:
        address, trusting = urlsplit(served.url), ssl.create_default_context(cafile=CERTIFICATE)
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port, ssl=trusting, limit=1000)
        query = f"SeriesInstanceUID={made.series_uid}&SOPInstanceUID={made.sop_uid}"
        writer.write(f"GET {address.path}/v1/getSingleImage?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        await until(lambda: log)
    assert (log[0].status, log[0].note) == (200, "the client has left")
    assert log[0].bytes_sent < len(made.content)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []

"""The server by https: what it reads, and whom it refuses."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulkdl.errors import ArchiveUnreachable, ConfigurationError
from bulkdl.model.reports.base import RunOutcome
from bulkdl.server.responses import SHORT_BYTES
from bulkdl.server.tls import read_certificate
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.plan import plan_async
from bulkdl.verbs.reach import reach
from bulkdl.verbs.serve import serve_async
from tests.support.bad_archive import QUICK
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.faults import CERTIFICATE
from tests.support.mirrors import checksums_of, checksums_on_disk

LARGE_ROWS = 256  # pixels: more bytes than are sent in one write with the headers
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


async def test_a_mirror_is_made_by_https_and_by_nothing_else(tmp_path: Path) -> None:
    made_up = write_folder(tmp_path / "files", instances(series=2, per_series=3))
    async with serve_async(tmp_path / "files", cache=tmp_path / "cache", tls_cert=CERTIFICATE) as served:
        assert served.url.startswith("https://127.0.0.1:")
        trusted = reach(served.url, ca_bundle=str(CERTIFICATE))
        report = await mirror_async(
            collection=made_up[0].collection, to=tmp_path / "mirror", archive=trusted, settings=QUICK
        )
        with pytest.raises(ArchiveUnreachable, match="is not trusted"):
            await plan_async(everything=True, archive=served.url, settings=QUICK)
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(served.url).port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" not in await reader.read()
        writer.close()
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


@asynccontextmanager
async def serving(folder: Path, *, rows: int = 8) -> AsyncIterator[tuple[MadeUp, str, int]]:
    """An instance that is served by https, the path of its address, and the port of the server."""
    (made_up,) = write_folder(folder / "files", instances(series=1, per_series=1, rows=rows))
    async with serve_async(folder / "files", cache=folder / "cache", tls_cert=CERTIFICATE) as served:
        address = urlsplit(served.url)
        path = (
            f"{address.path}/v1/getSingleImage?SeriesInstanceUID={made_up.series_uid}&SOPInstanceUID={made_up.sop_uid}"
        )
        yield made_up, path, address.port or 0


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=trusting())


def request(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of a response."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def test_a_request_may_come_in_pieces_and_with_others(tmp_path: Path) -> None:
    async with serving(tmp_path) as (made_up, path, port):
        reader, writer = await connect(port)
        for byte in request(path):
            writer.write(bytes([byte]))
            await writer.drain()
        assert await answer(reader) == (200, made_up.content)
        writer.write(request(path) * 20)
        for _ in range(20):
            assert await answer(reader) == (200, made_up.content)
        writer.close()


async def test_a_long_file_is_sent_whole_and_in_part(tmp_path: Path) -> None:
    async with serving(tmp_path, rows=LARGE_ROWS) as (made_up, path, port):
        assert len(made_up.content) > SHORT_BYTES
        reader, writer = await connect(port)
        writer.write(request(path))
        assert await answer(reader) == (200, made_up.content)
        writer.write(request(path, "Range: bytes=1000-99999"))
        assert await answer(reader) == (206, made_up.content[1000:100_000])
        writer.close()


async def test_the_last_response_of_a_connection_is_whole_and_ends_it(tmp_path: Path) -> None:
    async with serving(tmp_path, rows=LARGE_ROWS) as (made_up, path, port):
        received = await asyncio.to_thread(to_the_end, port, request(path, "Connection: close"))
    assert received.endswith(b"\r\n\r\n" + made_up.content)


def to_the_end(port: int, sent: bytes) -> bytes:
    """What comes until the server says that nothing follows. SSLError: the connection ends without that."""
    with (
        socket.create_connection(("127.0.0.1", port)) as link,
        trusting().wrap_socket(link, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as tls,
    ):
        tls.sendall(sent)
        return b"".join(iter(lambda: tls.recv(1 << 16), b""))


async def test_a_damaged_connection_ends_and_others_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as (made_up, path, port):
        (reader, writer), (other_reader, other_writer) = await connect(port), await connect(port)
        os.write(writer.get_extra_info("socket").fileno(), b"not a record of TLS")
        with pytest.raises(ssl.SSLError, match="ALERT"):
            await reader.read()
        other_writer.write(request(path))
        assert await answer(other_reader) == (200, made_up.content)
        other_writer.close()
    assert not caplog.records


async def test_a_key_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--tls-cert"):
        async with serve_async(tmp_path, cache=tmp_path / "cache", tls_key=CERTIFICATE):
            pass

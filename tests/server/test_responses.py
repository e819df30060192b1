"""Files over HTTP with ranges, ETag and lengths, and streams of answers."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import logging
import os
import socket
import tracemalloc
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulkdl.model.ids import stable_uuid
from bulkdl.server.catalogue import Root
from tests.support.dicom_files import instances, write_folder
from tests.support.served import served
from tests.support.served_archive import Archive
from tests.support.waiting import is_waiting, until

FORM = "application/x-www-form-urlencoded"


async def test_a_long_list_is_streamed(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    made = write_folder(folder, instances(series=1, per_series=1500, collection="MANY"))
    archive.catalogue.scan([Root(folder)])
    answer = await archive.get(f"getSOPInstanceUIDs?SeriesInstanceUID={made[0].series_uid}")
    assert answer.headers.get("Transfer-Encoding") == "chunked"
    assert {row["SOPInstanceUID"] for row in answer.rows} == {one.sop_uid for one in made}


async def test_a_client_that_disconnects_does_not_affect_others(archive: Archive) -> None:
    """Half a bundle is read and the connection dropped; the threads must become free."""
    for _ in range(8):
        address = urlsplit(archive.base)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        path = f"{address.path}/v1/getImage?SeriesInstanceUID={archive.made[-1].series_uid}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.read(100)
        writer.transport.abort()
    assert (await archive.image(archive.made[0])).status == 200
    assert (await archive.get("getSeries")).status == 200


async def test_sends_instances_unchanged(archive: Archive) -> None:
    for made in archive.made:
        answer = await archive.image(made)
        assert (answer.status, answer.body) == (200, made.content)
        assert answer.headers["Content-Type"] == "application/dicom"
        assert answer.headers["Content-Disposition"] == f"attachment; filename={made.sop_uid}.dcm"
        assert answer.headers["Content-Length"] == str(len(made.content))


@pytest.mark.parametrize("place", [0, -1], ids=["small", "large"])
@pytest.mark.parametrize(
    ("wanted", "part"),
    [("bytes=10-19", slice(10, 20)), ("bytes=100-", slice(100, None)), ("bytes=-7", slice(-7, None))],
)
async def test_sends_a_range(archive: Archive, place: int, wanted: str, part: slice) -> None:
    made = archive.made[place]
    answer = await archive.image(made, {"Range": wanted})
    start, stop, _ = part.indices(len(made.content))
    assert (answer.status, answer.body) == (206, made.content[part])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(made.content)}"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=9-3", "lines=1-2", "bytes=-", "bytes=x-1"])
async def test_sends_the_whole_file_unless_there_is_a_single_range(archive: Archive, wanted: str) -> None:
    answer = await archive.image(archive.made[0], {"Range": wanted})
    assert (answer.status, answer.body) == (200, archive.made[0].content)


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=-0"])
async def test_rejects_a_range_after_the_end(archive: Archive, wanted: str) -> None:
    answer = await archive.image(archive.made[0], {"Range": wanted})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(archive.made[0].content)}")


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
async def test_a_download_resumes_while_the_file_is_the_same(archive: Archive, header: str) -> None:
    made = archive.made[0]
    validator = (await archive.image(made)).headers[header]
    assert (await archive.image(made, {"Range": "bytes=5-", "If-Range": validator})).status == 206
    stale = '"another"' if header == "ETag" else "Mon, 01 Jan 2001 00:00:00 GMT"
    answer = await archive.image(made, {"Range": "bytes=5-", "If-Range": stale})
    assert (answer.status, answer.body) == (200, made.content)


@pytest.mark.parametrize(
    "date",
    ["no date", "Sun, 06 Nov 99999999999999999999 08:49:37 GMT", "Sun, 06 Nov 1999 08:49:37 +99999999999999999999"],
)
@pytest.mark.parametrize("name", ["If-Range", "If-Modified-Since", "If-Unmodified-Since"])
async def test_a_date_that_cannot_be_is_not_a_condition_or_one_that_is_not_met(
    archive: Archive, name: str, date: str
) -> None:
    made = archive.made[0]
    answer = await archive.image(made, {"Range": "bytes=5-", name: date})
    assert (answer.status, answer.body) == ((200, made.content) if name == "If-Range" else (206, made.content[5:]))


@pytest.mark.parametrize("place", [0, -1], ids=["small", "large"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "ETAG"}, 304),
        ({"If-None-Match": '"another"'}, 200),
        ({"If-Modified-Since": "DATE"}, 304),
        ({"If-Match": "ETAG", "Range": "bytes=5-9"}, 206),
        ({"If-Match": '"another"', "Range": "bytes=5-9"}, 412),
    ],
)
async def test_holds_to_conditions(archive: Archive, place: int, headers: dict[str, str], status: int) -> None:
    """A part of a newer version than the one that a client asks for must not be sent."""
    made = archive.made[place]
    before = (await archive.image(made)).headers
    known = {"ETAG": before["ETag"], "DATE": before["Last-Modified"]}
    sent = {name: known.get(value, value) for name, value in headers.items()}
    for method in ("GET", "HEAD"):
        answer = await archive.image(made, sent, method)
        assert (answer.status, answer.headers["ETag"]) == (status, before["ETag"])
        assert len(answer.body) == {200: len(made.content), 206: 5}.get(status, 0) * (method == "GET")


@pytest.mark.parametrize(
    ("version", "connection", "answered"),
    [
        ("1.1", "keep-alive", None),
        ("1.1", "close", "close"),
        ("1.0", "keep-alive", "keep-alive"),
        ("1.0", "close", None),
    ],
)
async def test_a_short_file_is_sent_over_every_kind_of_connection(
    archive: Archive, version: str, connection: str, answered: str | None
) -> None:
    made, address = archive.made[0], urlsplit(archive.base)
    query = f"SeriesInstanceUID={made.series_uid}&SOPInstanceUID={made.sop_uid}"
    request = f"GET {address.path}/v1/getSingleImage?{query} HTTP/{version}\r\nHost: localhost\r\n"
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    times = 2 if connection == "keep-alive" else 1
    writer.write(f"{request}Connection: {connection}\r\n\r\n".encode() * times)
    async with asyncio.timeout(10):
        for _ in range(times):
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = dict(line.split(": ") for line in lines)
            assert (status, headers.get("Connection")) == (f"HTTP/{version} 200 OK", answered)
            assert await reader.readexactly(int(headers["Content-Length"])) == made.content
            assert {"Date", "Server", "ETag", "Last-Modified", "X-Content-Type-Options"} < headers.keys()
        if connection == "close":
            assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("seconds", [1 << 38, -(1 << 34)], ids=["the year 10680", "the year 1425"])
async def test_a_file_of_any_date_is_sent(seconds: int, tmp_path: Path) -> None:
    """A damaged clock or file system gives such dates. One of them stopped the server at its start."""
    made = write_folder(tmp_path / "files", instances(series=1, per_series=1, collection="SMALL"))
    made += write_folder(tmp_path / "files", instances(series=1, per_series=1, collection="LARGE", rows=256))
    for each in made:
        os.utime(tmp_path / "files" / each.path, (seconds, seconds))
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalogue.sqlite") as archive:
        for each in made:
            asked = {"SeriesInstanceUID": each.series_uid, "SOPInstanceUID": each.sop_uid}
            key = f"{stable_uuid(each.series_uid)}/{stable_uuid(each.sop_uid)}.dcm"
            for path, params in (("/nbia-api/services/v1/getSingleImage", asked), (f"/bulkdl/{key}", {})):
                answer = await archive.ask(path, params=params)
                assert (answer.status, answer.body) == (200, each.content)
        for path in ("/bulkdl", "/nbia-api/services/v1/getSeries", "/api/v2/collections", "/"):
            assert (await archive.ask(path)).status == 200


async def test_the_etag_changes_with_the_file(archive: Archive) -> None:
    """Bytes of two versions must never be put together. Without a new scan the new version is not sent at all."""
    made = archive.made[0]
    before = (await archive.image(made)).headers["ETag"]
    path = archive.folder / made.path
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert (await archive.image(made)).status == 500
    await asyncio.to_thread(archive.catalogue.scan, [Root(archive.folder)])
    assert (await archive.image(made)).headers["ETag"] != before


async def test_head_gives_the_length_and_sends_no_body(archive: Archive) -> None:
    for made in (archive.made[0], archive.made[-1]):
        answer = await archive.image(made, method="HEAD")
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", str(len(made.content)))


async def _received(reader: asyncio.StreamReader) -> tuple[list[str], bytes]:
    """The lines of the head of a response, and everything after it until the connection ends."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().strip()
    return head.split("\r\n"), await reader.read()


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize(
    "path", ["/nbia-api/services/v1/getImage?SeriesInstanceUID={}", "/download?format=zip&series={}"]
)
async def test_a_stream_ends_with_the_connection_in_http_1_0(archive: Archive, path: str, connection: str) -> None:
    """Which is what a proxy before the server speaks, as nginx does by default."""
    address = urlsplit(archive.base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    target = path.format(archive.made[0].series_uid)
    writer.write(f"GET {target} HTTP/1.0\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        (status, *headers), body = await _received(reader)
    writer.close()
    assert status == "HTTP/1.0 200 OK"
    assert not [line for line in headers if line.startswith(("Transfer-Encoding", "Content-Length", "Connection: k"))]
    with zipfile.ZipFile(io.BytesIO(body)) as archived:
        contents = {archived.read(name) for name in archived.namelist() if name != "LICENSE"}
    assert contents == {made.content for made in archive.made if made.series_uid == archive.made[0].series_uid}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_stream_that_breaks_off_is_not_taken_for_complete(
    archive: Archive, tmp_path: Path, version: str
) -> None:
    """In HTTP/1.0 an orderly end of the connection would be that of the body, so the connection is reset."""
    made = write_folder(tmp_path / "large", instances(series=1, per_series=2, collection="TWO", rows=512))
    archive.catalogue.scan([Root(tmp_path / "large")])
    lost = archive.catalogue.files(made[0].series_uid)[-1].path
    lost.unlink()
    address = urlsplit(archive.base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    target = f"/download?format=zip&series={made[0].series_uid}"
    writer.write(f"GET {target} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(10):
        if version == "1.0":
            with pytest.raises(ConnectionResetError):
                await _received(reader)
        else:
            assert not (await _received(reader))[1].endswith(b"0\r\n\r\n")
    writer.close()
    assert lost.name in (archive.log[-1].note or "")


async def test_a_file_is_sent_where_the_loop_cannot_send_files(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of uvloop."""

    async def sendfile(*_: object) -> int:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sendfile", sendfile)
    made = archive.made[-1]
    assert (await archive.image(made)).body == made.content
    assert (await archive.image(made, {"Range": "bytes=5-99999"})).body == made.content[5:100_000]
    await until(lambda: len(archive.log) == 2)
    assert [record.bytes_sent for record in archive.log] == [len(made.content), 99_995]


async def test_nothing_follows_a_file_that_cannot_be_read_to_its_end(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client would take it for the rest of the file."""
    send, sent = os.sendfile, list[int]()

    def fail(out: int, source: int, offset: int, count: int) -> int:
        if sent:
            raise OSError(errno.EIO, "Input/output error")
        sent.append(send(out, source, offset, min(count, 1000)))
        return sent[0]

    monkeypatch.setattr(os, "sendfile", fail)
    made, address = archive.made[-1], urlsplit(archive.base)
    query = f"SeriesInstanceUID={made.series_uid}&SOPInstanceUID={made.sop_uid}"
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET {address.path}/v1/getSingleImage?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(10):
        _, body = await _received(reader)
    writer.close()
    assert body == made.content[: sent[0]]
    assert (archive.log[-1].bytes_sent, "Input/output error" in (archive.log[-1].note or "")) == (sent[0], True)


async def _leave(archive: Archive, request: str, times: int = 1) -> None:
    """Send a request, and leave while the server waits that more is taken. Wait until the server knows."""
    address, before = urlsplit(archive.base), len(archive.log)
    for _ in range(times):
        taking = socket.socket()
        taking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        taking.connect((address.hostname, address.port))
        reader, writer = await asyncio.open_connection(sock=taking, limit=1000)
        writer.write(request.encode())
        await reader.readuntil(b"\r\n\r\n")  # of the answer, or of 100 Continue
        await until(_is_waiting)
        writer.transport.abort()
        await until(lambda: not _is_waiting())
    await until(lambda: len(archive.log) >= before + times)


def _is_waiting() -> bool:
    """Whether a task of the server waits for its client."""
    return is_waiting("Stream.send", "Stream.send_part", "read_form")


async def test_a_client_that_leaves_is_noted_and_no_error(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = write_folder(tmp_path / "large", instances(series=1, per_series=2, collection="TWO", rows=2000))[0]
    archive.catalogue.scan([Root(tmp_path / "large")])
    series, sop = f"SeriesInstanceUID={made.series_uid}", f"SOPInstanceUID={made.sop_uid}"
    for path in (f"getImage?{series}", f"getSingleImage?{series}&{sop}"):
        await _leave(archive, f"GET /nbia-api/services/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        record = archive.log[-1]
        assert (record.status, record.note) == (200, "the client has left")
        assert record.bytes_sent < 2 * len(made.content)
    head = "Host: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n"
    await _leave(archive, f"POST /nbia-api/oauth/token HTTP/1.1\r\n{head}Content-Type: {FORM}\r\n\r\nabc")
    assert (archive.log[-1].status, archive.log[-1].note) == (499, "the client has left")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_what_clients_did_not_take_is_not_kept_in_memory(archive: Archive, tmp_path: Path) -> None:
    made = write_folder(tmp_path / "large", instances(series=1, per_series=2, collection="TWO", rows=2000))[0]
    archive.catalogue.scan([Root(tmp_path / "large")])
    request = (
        f"GET /nbia-api/services/v1/getImage?SeriesInstanceUID={made.series_uid} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    await _leave(archive, request)  # what is made once
    gc.disable()  # it would find cycles at any time, or late
    tracemalloc.start()
    try:
        await _leave(archive, request, times=8)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept_bytes < 1 << 20

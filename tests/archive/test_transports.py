"""One request over each transport: what is sent and received, and its failures as errors of bulkdl."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from yarl import URL

from bulkdl.archive import aiohttp_transport, socket_transport
from bulkdl.archive.http_transport import HttpResponse
from bulkdl.archive.request import Content, Upload
from bulkdl.archive.transports import OpenTransport
from bulkdl.archive.transports import open_transport as choose
from bulkdl.errors import (
    BulkdlError,
    ChecksumMismatch,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    RequestFailed,
    ShortBody,
    TimedOut,
)
from bulkdl.model.access import Access
from tests.support import variants
from tests.support.faults import (
    CERTIFICATE,
    Action,
    Exchange,
    FaultyServer,
    aborted,
    answer,
    cut,
    drop,
    in_turn,
    over_tls,
    raw,
    redirect,
    self_signed,
    without_body,
)

BY_SOCKETS = pytest.mark.skipif(variants.TRANSPORT == "aiohttp", reason="the suite sends every request with aiohttp")


@pytest.fixture(params=[aiohttp_transport.open_transport, socket_transport.open_transport], ids=["aiohttp", "sockets"])
def open_transport(request: pytest.FixtureRequest) -> OpenTransport:
    found: OpenTransport = request.param
    return found


async def test_a_get_and_its_body(open_transport: OpenTransport) -> None:
    async with (
        FaultyServer(in_turn(answer(b"body", headers={"X-Kind": "Test"}))) as server,
        open_transport(Access()) as transport,
    ):
        response = await transport.send(URL(server.url), {"X-Sent": "1"}, None)
        assert (response.status, response.length, response.headers["x-kind"]) == (200, 4, "Test")
        assert (await response.chunk(), await response.chunk()) == (b"body", b"")
        response.release()
        assert (server.requests[0].method, server.requests[0].headers["x-sent"]) == ("GET", "1")
        assert transport.requests == 1


async def test_a_form_is_posted(open_transport: OpenTransport) -> None:
    async with FaultyServer(in_turn(answer())) as server, open_transport(Access()) as transport:
        response = await transport.send(URL(server.url), {}, (("list", "1"), ("list", "2")))
        assert await response.read() == b""
        response.release()
        assert (server.requests[0].method, server.requests[0].body) == ("POST", b"list=1&list=2")
        assert server.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"


BOTH_WAYS = pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])


async def test_a_name_in_an_address_is_sent_in_utf_8(open_transport: OpenTransport) -> None:
    async with FaultyServer(in_turn(answer())) as server, open_transport(Access()) as transport:
        url = URL(server.url).with_user("mé").with_password("p€:ss")
        response = await transport.send(url, {}, None)
        response.release()
        assert b64decode(server.requests[0].headers["authorization"].removeprefix("Basic ")).decode() == "mé:p€:ss"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_password_of_a_proxy_is_sent_in_utf_8(scheme: str) -> None:
    with over_tls(is_wanted=False):
        proxy = FaultyServer(in_turn(answer(b"body", status=502)))
    async with proxy:
        address = str(URL(proxy.url).with_user("mé").with_password("p€:ss"))
        async with choose(Access(proxy=address)) as transport:
            with suppress(ConnectFailed):
                response = await transport.send(URL(f"{scheme}://archive.test/x"), {}, None)
                response.release()
        (seen,) = proxy.requests
        assert b64decode(seen.headers["proxy-authorization"].removeprefix("Basic ")).decode() == "mé:p€:ss"
        assert Access(proxy=address).secrets[-1] in seen.headers["proxy-authorization"]
        assert seen.target == ("http://archive.test/x" if scheme == "http" else "archive.test:443")


@pytest.mark.parametrize("header", ["a\r\nX-Other: b", "a\nb", "a\0b"])
async def test_a_header_with_a_line_break_is_not_sent(open_transport: OpenTransport, header: str) -> None:
    async with FaultyServer(in_turn(answer())) as server, open_transport(Access()) as transport:
        with pytest.raises(ConfigurationError, match="line break"):
            await transport.send(URL(server.url), {"api_key": header}, None)
        assert server.requests == []


@BOTH_WAYS
@pytest.mark.parametrize("status", [200, 408])
async def test_what_comes_on_an_idle_connection_is_not_the_next_answer(
    open_transport: OpenTransport, status: int, *, is_tls: bool
) -> None:
    """Some servers send a 408 before they close it."""
    idle, sent = asyncio.Event(), asyncio.Event()

    async def act(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        await idle.wait()
        await answer(b"wrong", status=status)(exchange)
        sent.set()

    with over_tls(is_tls):
        server = FaultyServer(in_turn(act, answer(b"next")))
    async with server, open_transport(Access(ca_bundle=str(CERTIFICATE))) as transport:
        for content in (b"first", b"next"):
            response = await transport.send(URL(server.url), {}, None)
            assert await response.read() == content
            response.release()
            idle.set()
            await sent.wait()
            for _ in range(20):
                await asyncio.sleep(0)
        assert server.connections == 2


PIECE = b"1" * 100_000


def upload_of(*pieces: bytes | BulkdlError) -> Upload:
    """A body of pieces, of which an error is raised in its place."""

    async def chunks() -> AsyncGenerator[bytes | memoryview, None]:
        for piece in pieces:
            if isinstance(piece, BulkdlError):
                raise piece
            yield piece

    return Upload("text/plain", sum(len(piece) for piece in pieces if isinstance(piece, bytes)), chunks)


LONG = pytest.mark.parametrize(
    "content", [(("uid", "1" * 10_000),) * 1_000, upload_of(*[PIECE] * 100)], ids=["form", "upload"]
)


@BOTH_WAYS
async def test_an_upload_is_sent_each_time_from_its_beginning(open_transport: OpenTransport, *, is_tls: bool) -> None:
    with over_tls(is_tls):
        server = FaultyServer(in_turn(answer(b"first"), answer(b"second")))
    async with server, open_transport(Access(ca_bundle=str(CERTIFICATE))) as transport:
        for expected in (b"first", b"second"):
            response = await transport.send(URL(server.url), {}, upload_of(b"a" * 70_000, *[PIECE] * 30, b"end"))
            assert await response.read() == expected
            response.release()
        assert [seen.body for seen in server.requests] == [b"a" * 70_000 + PIECE * 30 + b"end"] * 2
        assert {seen.headers["content-length"] for seen in server.requests} == {"3070003"}
        assert (server.requests[0].headers["content-type"], server.connections) == ("text/plain", 1)


async def test_an_upload_that_fails_ends_its_connection(open_transport: OpenTransport) -> None:
    """So that the archive does not wait for the rest."""
    async with reading_no_form(b"", is_tls=False) as url, open_transport(Access()) as transport:
        with pytest.raises(ChecksumMismatch, match="altered"):
            await transport.send(url, {}, upload_of(PIECE, ChecksumMismatch("altered")))


@asynccontextmanager
async def reading_no_form(content: bytes, *, is_tls: bool, closes: bool = False) -> AsyncIterator[URL]:
    """A server that reads the header of a request alone, and sends `content`, or closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        with suppress(ConnectionError):
            await (writer.drain() if closes else ended.wait())
            writer.close()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed() if is_tls else None)
    async with server:
        yield URL(f"http{'s' * is_tls}://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        ended.set()


@BOTH_WAYS
@LONG
async def test_a_request_that_nothing_takes_is_given_up(
    open_transport: OpenTransport, content: Content, *, is_tls: bool
) -> None:
    access = Access(ca_bundle=str(CERTIFICATE), answer_seconds=0.3, silence_seconds=0.3, connect_seconds=5)
    async with reading_no_form(b"", is_tls=is_tls) as url, open_transport(access) as transport:
        with pytest.raises(TimedOut):
            await transport.send(url, {}, content)


@BOTH_WAYS
@LONG
async def test_a_request_whose_connection_ends_is_lost(
    open_transport: OpenTransport, content: Content, *, is_tls: bool
) -> None:
    access = Access(ca_bundle=str(CERTIFICATE))
    async with reading_no_form(b"", is_tls=is_tls, closes=True) as url, open_transport(access) as transport:
        with pytest.raises(ConnectionLost):
            await transport.send(url, {}, content)


@BOTH_WAYS
@LONG
async def test_an_answer_may_come_before_the_request_is_sent(
    open_transport: OpenTransport, content: Content, *, is_tls: bool
) -> None:
    """As a server does that refuses a form for its length; it may never read that."""
    refused = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
    access = Access(ca_bundle=str(CERTIFICATE))
    async with reading_no_form(refused, is_tls=is_tls) as url, open_transport(access) as transport:
        for _ in range(2):
            response = await transport.send(url, {}, content)
            assert (response.status, await response.read()) == (413, b"big")
            response.release()
        assert transport.requests == 2


async def test_a_redirect_is_a_response(open_transport: OpenTransport) -> None:
    async with FaultyServer(in_turn(redirect("/other"))) as server, open_transport(Access()) as transport:
        response = await transport.send(URL(server.url), {}, None)
        response.release()
        assert (response.status, response.headers["Location"], len(server.requests)) == (302, "/other", 1)


@pytest.mark.parametrize("status", [204, 304, 500])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_response_without_a_body_ends_each_time(
    open_transport: OpenTransport, status: int, *, reads: bool
) -> None:
    bodiless = without_body(status)
    async with FaultyServer(in_turn(bodiless)) as server, open_transport(Access()) as transport:
        for _ in range(3):
            response = await transport.send(URL(server.url), {}, None)
            for _ in range(2):
                assert await (response.read() if reads else response.chunk()) == b""
            response.release()


@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_body_that_is_cut_is_an_error(open_transport: OpenTransport, *, reads: bool) -> None:
    async with (
        FaultyServer(in_turn(cut(b"x" * 1000, after=10))) as server,
        open_transport(Access()) as transport,
    ):
        response = await transport.send(URL(server.url), {}, None)
        assert reads or await response.chunk() == b"x" * 10
        with pytest.raises(ShortBody):
            await (response.read() if reads else response.chunk())
        response.release()


async def _every_chunk(response: HttpResponse) -> None:
    while await response.chunk():
        pass


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_reset_does_not_end_a_body_without_a_length(
    open_transport: OpenTransport, *, reads: bool, is_tls: bool
) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)
        exchange.drop(reset=True)

    with over_tls(is_tls):
        async with (
            FaultyServer(in_turn(act)) as server,
            open_transport(Access(ca_bundle=str(CERTIFICATE))) as transport,
        ):
            response = await transport.send(URL(server.url), {}, None)
            with pytest.raises(ShortBody):
                await (response.read() if reads else _every_chunk(response))
            response.release()


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 5\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
READ = {
    "a length": OK + LENGTH + b"hello",
    "chunks": OK + CHUNKED + b"\r\n",
    "chunks of HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n",
    "chunks with extensions": OK + CHUNKED.replace(b"5\r\n", b'5 ;a="b";c\r\n') + b"\r\n",
    "chunks with padded sizes": OK + CHUNKED.replace(b"5\r\n", b"0000000000000005  \r\n") + b"\r\n",
    "trailers": OK + CHUNKED + b"X-Sum: 1\r\nX-Other: 2\r\n\r\n",
    "an end with the connection": OK + b"\r\nhello",
    "informational responses": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n"
    + OK
    + LENGTH
    + b"hello",
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH + b"hello",
    "line feeds alone": (OK + LENGTH).replace(b"\r\n", b"\n") + b"hello",
    "some line feeds alone": OK + LENGTH.replace(b"\r\n", b"\n", 1) + b"hello",
    "a folded field": OK + b"X-Folded: a\r\n b\r\n\tc\r\n" + LENGTH + b"hello",
    "a folded length": OK + LENGTH.replace(b" ", b"\r\n ") + b"hello",
    "a folded coding": OK + CHUNKED.replace(b" ", b"\r\n\t", 1) + b"\r\n",
}
REFUSED = {
    "chunks and a length": OK + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n",
    "a length behind chunks": OK + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"hello",
    "two lengths": OK + b"Content-Length: 6\r\n" + LENGTH + b"hello",
    "two lengths in one": OK + b"Content-Length: 6, 5\r\n\r\nhello",
    "a length of words": OK + b"Content-Length: five\r\n\r\nhello",
    "a length below a blank": OK + b"Content-Length : 5\r\n\r\nhello",
    "a coding below a blank": OK + CHUNKED.replace(b":", b" :", 1) + b"\r\n",
    "an unknown coding": OK + CHUNKED.replace(b"chunked", b"x-chunked") + b"\r\n",
    "a coding with a parameter": OK + CHUNKED.replace(b"chunked", b"chunked;q=1") + b"\r\n",
    "a folded coding of two words": OK + CHUNKED.replace(b"chunked", b"chunk\r\n ed") + b"\r\n",
    "gzip as transfer coding": OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "gzip in chunks": OK + CHUNKED.replace(b"chunked", b"gzip, chunked") + b"\r\n",
    "chunks within gzip": OK + CHUNKED.replace(b"chunked", b"chunked, gzip") + b"\r\n",
    "chunks within chunks": OK + b"Transfer-Encoding: chunked\r\n" + CHUNKED + b"\r\n",
    "no coding": OK + b"Transfer-Encoding: identity\r\n\r\nhello",
    "another version": b"HTTP/2.0 200 OK\r\n" + LENGTH + b"hello",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
    "a field without a colon": OK + b"X-Odd\r\n" + LENGTH + b"hello",
    "a carriage return in a field": OK + b"X-Odd: a\r" + LENGTH + b"hello",
}


@asynccontextmanager
async def answered(open_transport: OpenTransport, action: Action, *, is_tls: bool) -> AsyncIterator[HttpResponse]:
    """The response to a request that the server answers by `action`."""
    with over_tls(is_tls):
        server = FaultyServer(in_turn(action))
    async with server, open_transport(Access(ca_bundle=str(CERTIFICATE))) as transport:
        response = await transport.send(URL(server.url), {}, None)
        try:
            yield response
        finally:
            response.release()


@BOTH_WAYS
@pytest.mark.parametrize("content", READ.values(), ids=READ)
async def test_what_servers_send_is_read(open_transport: OpenTransport, content: bytes, *, is_tls: bool) -> None:
    async with answered(open_transport, raw(content), is_tls=is_tls) as response:
        assert (response.status, await response.read()) == (200, b"hello")
        assert response.headers.get("x-folded", "a b c").split() == ["a", "b", "c"]


@BOTH_WAYS
@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
async def test_what_can_be_read_in_two_ways_is_refused(
    open_transport: OpenTransport, content: bytes, *, is_tls: bool
) -> None:
    with pytest.raises(ConnectionLost, match="no valid response"):
        async with answered(open_transport, raw(content), is_tls=is_tls):
            pass


@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
@pytest.mark.parametrize("size_bytes", [5, 1 << 20])
async def test_tls_without_an_alert_at_its_end_does_not_end_a_body_without_a_length(
    open_transport: OpenTransport, size_bytes: int, *, reads: bool
) -> None:
    """The body may have been cut by others (RFC 9112 §9.8)."""
    async with answered(open_transport, aborted(OK + b"\r\n" + bytes(size_bytes)), is_tls=True) as response:
        with pytest.raises(ShortBody):
            await (response.read() if reads else _every_chunk(response))


@pytest.mark.parametrize("content", [OK + LENGTH + b"hello", OK + CHUNKED + b"\r\n"], ids=["length", "chunks"])
async def test_tls_needs_no_alert_behind_a_body_that_is_complete(open_transport: OpenTransport, content: bytes) -> None:
    async with answered(open_transport, aborted(content), is_tls=True) as response:
        assert await response.read() == b"hello"


@pytest.mark.parametrize("status", [600, 999])
async def test_a_status_of_no_class_is_a_response(open_transport: OpenTransport, status: int) -> None:
    """Clients treat it as an error of the server (RFC 9110 §15)."""
    async with answered(open_transport, answer(status=status), is_tls=False) as response:
        assert response.status == status


@pytest.mark.parametrize(("action", "kind"), [(drop(), ConnectionLost), (drop(reset=True), ConnectionLost)])
async def test_a_lost_connection_is_an_error_and_counted(
    open_transport: OpenTransport, action: Action, kind: type[RequestFailed]
) -> None:
    async with FaultyServer(in_turn(action)) as server, open_transport(Access()) as transport:
        with pytest.raises(kind):
            await transport.send(URL(server.url), {}, None)
        assert transport.requests == len(server.requests) == 1


async def test_without_a_connection_nothing_is_counted(open_transport: OpenTransport) -> None:
    async with open_transport(Access()) as transport:
        with pytest.raises(ConnectFailed):
            await transport.send(URL("http://127.0.0.1:1/"), {}, None)
        assert transport.requests == 0


@pytest.mark.parametrize(
    ("access", "kind"),
    [
        pytest.param(Access(), socket_transport.SocketTransport, marks=BY_SOCKETS),
        (Access(proxy="http://127.0.0.1:1"), aiohttp_transport.AiohttpTransport),
    ],
    ids=["direct", "proxy"],
)
async def test_proxies_are_for_aiohttp(access: Access, kind: type[object]) -> None:
    async with choose(access) as transport:
        assert isinstance(transport, kind)

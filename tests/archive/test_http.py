"""The client against a server that misbehaves: each failure, and the error that the caller gets."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import re
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from bulkdl.archive import aiohttp_transport, transports
from bulkdl.archive.base import Archive, Rest
from bulkdl.archive.http import HttpClient, redirected
from bulkdl.archive.http_body import HttpBody
from bulkdl.archive.http_transport import HttpTransport
from bulkdl.archive.request import Identity, Request, ServiceRules, Upload
from bulkdl.errors import (
    AccessDenied,
    ArchiveUnreachable,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    NotFound,
    RequestFailed,
    RequestRejected,
    ServerFailed,
    ShortBody,
    TimedOut,
    TooManyRequests,
    UnexpectedAnswer,
)
from bulkdl.model.access import Access, Credentials
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Entry
from bulkdl.model.selection import Selection
from bulkdl.runtime.attempts import Retrier
from tests.support.archives import TRANSPORT, Recorder, make_retrier, opened, samples
from tests.support.clocks import JumpingClock
from tests.support.faults import (
    CERTIFICATE,
    Action,
    Exchange,
    FaultyServer,
    Seen,
    answer,
    cut,
    drip,
    drop,
    in_turn,
    json,
    over_tls,
    raw,
    redirect,
    self_signed,
    slowly,
    stall,
    zipped,
)
from tests.support.nowhere import UNKNOWN_HOST

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[aiohttp_transport, transports], ids=["aiohttp", "chosen"], autouse=True)
def _transport(request: pytest.FixtureRequest) -> Iterator[None]:
    before = TRANSPORT.set(request.param.open_transport)
    yield
    TRANSPORT.reset(before)


SERIES = SeriesUid("1.2.3")
ENTRY = Entry("1.2.3.4", SopInstanceUid("1.2.3.4"))
DICOM = {"Content-Type": "application/dicom"}
BODY = b"\0" * 128 + b"DICM" + b"x" * 100_000


async def fetch(client: Archive) -> bytes:
    async with client.open(SERIES, ENTRY) as body:
        return b"".join([chunk async for chunk in body.chunks()])


async def read(client: Archive) -> bytes:
    async with client.open(SERIES, ENTRY) as body:
        return await body.read(1 << 20)


async def through_threads(client: Archive) -> bytes:
    found = bytearray()
    async with client.open(SERIES, ENTRY) as body:
        if (threaded := body.threaded) is None:
            return b"".join([chunk async for chunk in body.chunks()])
        while await threaded.receive(found.extend, 1 << 16):
            pass
    return bytes(found)


async def failure(
    action: Action, *, access: Access | None = None, receive: Callable[[Archive], Awaitable[bytes]] = fetch
) -> RequestFailed:
    """How a body fails where the archive does `action`."""
    async with FaultyServer(lambda _: action) as server, opened(server.url, access=access) as client:
        with pytest.raises(RequestFailed) as caught:
            await receive(client)
        return caught.value


# --- statuses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (304, UnexpectedAnswer),
        (302, UnexpectedAnswer),
        (400, RequestRejected),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, NotFound),
        (406, RequestRejected),
        (407, AccessDenied),
        (408, ServerFailed),
        (410, NotFound),
        (422, RequestRejected),
        (425, ServerFailed),
        (429, TooManyRequests),
        (471, RequestRejected),
        (500, ServerFailed),
        (502, ServerFailed),
        (503, ServerFailed),
        (504, ServerFailed),
        (571, ServerFailed),
        (600, ServerFailed),
        (999, ServerFailed),
    ],
)
async def test_each_status_is_one_kind_of_failure(status: int, kind: type[RequestFailed]) -> None:
    error = await failure(answer(status=status))
    assert type(error) is kind
    assert error.status == status
    assert error.retry_after_seconds is None


async def test_a_proxy_that_requires_a_login_is_named() -> None:
    said = str(await failure(answer(b"", status=407)))
    assert said.endswith("the proxy requires a login: --proxy http://NAME:PASSWORD@HOST:PORT")


@pytest.mark.parametrize(("status", "kind"), [(407, AccessDenied), (403, ConnectFailed), (502, ConnectFailed)])
async def test_a_proxy_may_refuse_to_connect(status: int, kind: type[RequestFailed]) -> None:
    with over_tls(is_wanted=False):
        proxy = FaultyServer(lambda _: answer(b"", status=status))
    async with proxy, opened("https://127.0.0.1:9/", access=Access(proxy=proxy.url)) as client:
        with pytest.raises(kind) as caught:
            await fetch(client)
    assert [seen.method for seen in proxy.requests] == ["CONNECT"]
    assert f"the proxy {'answered' if status == 407 else 'refused:'} {status}" in str(caught.value)
    assert ("--proxy http://NAME:PASSWORD@" in str(caught.value)) is (status == 407)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("answers", ["nothing", "another protocol", "never"])
async def test_what_a_proxy_may_have_broken_names_it(scheme: str, answers: str) -> None:
    actions = {"nothing": drop(), "another protocol": raw(b"SSH-2.0\r\n\r\n"), "never": stall(asyncio.Event())}
    with over_tls(is_wanted=False):
        proxy = FaultyServer(lambda _: actions[answers])
    async with proxy:
        address = proxy.url.replace("//", "//me:s3cret@")
        seconds = 0.2 if answers == "never" else 60.0
        access = Access(proxy=address, answer_seconds=seconds, connect_seconds=seconds)
        async with opened(f"{scheme}://archive.test/", access=access) as client:
            with pytest.raises(TimedOut if answers == "never" else ConnectionLost) as caught:
                await fetch(client)
    assert str(caught.value).endswith(f" (through the proxy 127.0.0.1:{URL(proxy.url).port})")


async def test_the_text_of_an_error_is_shown() -> None:
    error = await failure(answer(b"A parameter, SeriesInstanceUID,\nis required for this API call.", status=400))
    assert str(error) == (
        "the archive answered 400 Bad Request: A parameter, SeriesInstanceUID, is required for this API call."
    )


@pytest.mark.parametrize(
    "page", [b"<html><body>Proxy error</body></html>", b"\xff\xfe" * 5000, b""], ids=["html", "bytes", "empty"]
)
async def test_a_page_of_a_proxy_is_not_shown(page: bytes) -> None:
    message = str(await failure(answer(page, status=502)))
    assert message.startswith("the archive answered 502 Bad Gateway")
    assert "<" not in message
    assert "\n" not in message
    assert len(message) < 300


async def test_a_page_in_the_place_of_an_answer_does_not_mean_that_nothing_is_there() -> None:
    """A proxy sends it, or an archive that has moved."""
    error = await failure(answer(b"<html>The page was not found</html>", status=404))
    assert type(error) is RequestRejected
    assert str(error) == "the archive answered 404 Not Found, with a page instead of an answer"


@pytest.mark.parametrize("content", [gzip.compress(b"unreadable"), b"a text"], ids=["encoded", "of a redirect"])
async def test_some_texts_of_an_error_are_not_shown(content: bytes) -> None:
    is_encoded = content != b"a text"
    headers, status = ({"Content-Encoding": "gzip"}, 400) if is_encoded else ({}, 300)
    said = str(await failure(answer(content, status=status, headers=headers)))
    assert said == f"the archive answered {status} {'Bad Request' if is_encoded else 'Multiple Choices'}"


async def test_the_text_of_an_error_is_awaited_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = JumpingClock(monkeypatch)

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(500, {"Content-Length": "100"})
        await exchange.send(b"a beginning")
        for _ in range(5):
            await asyncio.sleep(0)
        clock.jump(2)
        await asyncio.Event().wait()

    assert type(await failure(act, access=Access(silence_seconds=3600))) is ServerFailed


async def test_a_text_of_an_error_that_never_ends_is_not_read_on() -> None:
    pieces = 0

    async def act(exchange: Exchange) -> None:
        nonlocal pieces
        await exchange.send_head(500, {"Content-Length": str(1 << 30)})
        for _ in range(1 << 14):
            await exchange.send(b"x" * (1 << 16))
            pieces += 1

    assert type(await failure(act)) is ServerFailed
    assert pieces < 1 << 9


async def test_an_error_page_that_is_cut_is_still_the_error() -> None:
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nnothing"
    assert type(await failure(raw(head))) is NotFound


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0), ("120", 120), (" 7 ", 7), ("9" * 400, float("inf"))],
    ids=["now", "seconds", "blanks", "for ever"],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_may_be_seconds(status: int, header: str, seconds: float) -> None:
    error = await failure(answer(status=status, headers={"Retry-After": header}))
    assert type(error) is TooManyRequests
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize("zone", [" GMT", " +0000", " -0000", ""])
async def test_retry_after_may_be_a_date(zone: str) -> None:
    """A date without a zone is UTC too, wherever this machine stands."""
    moment = email.utils.formatdate(time.time() + 100, usegmt=True).removesuffix(" GMT") + zone
    error = await failure(answer(status=503, headers={"Retry-After": moment}))
    assert error.retry_after_seconds == pytest.approx(100, abs=10)


async def test_a_date_in_the_past_asks_for_no_wait() -> None:
    error = await failure(answer(status=429, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}))
    assert error.retry_after_seconds == 0


@pytest.mark.parametrize(
    "header", ["soon", "-5", "1.5", "\u0663", "Mon, 99 Foo 2099", "Sun, 06 Nov 1994 08:49:37 +99999999999", ""]
)
async def test_an_invalid_retry_after_is_ignored(header: str) -> None:
    head = b"HTTP/1.1 429 Slow down\r\nContent-Length: 0\r\nRetry-After: " + header.encode() + b"\r\n\r\n"
    error = await failure(raw(head))
    assert type(error) is TooManyRequests
    assert error.retry_after_seconds is None


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_connection_that_ends_before_the_answer_is_lost(*, reset: bool) -> None:
    assert type(await failure(drop(reset=reset))) is ConnectionLost


@pytest.mark.parametrize(
    "content",
    [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HT"],
    ids=["nothing", "another protocol", "no status", "no length", "half a word"],
)
async def test_a_response_that_is_not_http_is_a_lost_connection(content: bytes) -> None:
    assert type(await failure(raw(content))) is ConnectionLost


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "kind", "words"),
    [
        ((CHUNKED, b"5\r\nhel", b"lo?\r\n0\r\n\r\n"), ConnectionLost, "no valid response: .*chunk"),
        ((CHUNKED + b"5\r\nhello\r\n", b"-5\r\nhello\r\n"), ConnectionLost, "no valid response: .*chunk"),
        ((CHUNKED + b"5\r\nhel", None), ShortBody, "the connection was closed before its end"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", None), ShortBody, "closed before its end"),
        ((b"HTTP/1.1 200 OK\r\nX-Secret: 12", None), ConnectionLost, "closed before the end of the header"),
    ],
    ids=["a long chunk", "a negative chunk", "cut chunks", "a cut body", "a cut header"],
)
@pytest.mark.parametrize("receive", [fetch, read])
async def test_a_damaged_frame_is_named_at_once(
    pieces: tuple[bytes | None, ...], kind: type, words: str, receive: Callable[[Archive], Awaitable[bytes]]
) -> None:
    """The connection stays open, as after most answers: nothing waits for more."""

    async def act(exchange: Exchange) -> None:
        for piece in pieces:
            if piece is None:
                exchange.drop()
            else:
                await exchange.send(piece)
                for _ in range(20):  # so that it comes by itself
                    await asyncio.sleep(0)

    error = await failure(act, receive=receive)
    assert type(error) is kind
    assert re.search(words, str(error))
    assert "12" not in str(error)


async def test_an_answer_without_a_body_has_none_whatever_its_header_says() -> None:
    async with (
        FaultyServer(lambda _: raw(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")) as server,
        opened(server.url) as client,
    ):
        assert await read(client) == b""


async def test_headers_without_end_are_refused() -> None:
    error = await failure(answer(headers={"X-Long": "x" * 100_000}))
    assert type(error) is ConnectionLost


CUT = pytest.mark.parametrize("after", [0, 1, 50_000, len(BODY) - 1], ids=["at its start", "early", "midway", "late"])


@CUT
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("receive", [fetch, through_threads])
async def test_a_body_that_is_shorter_than_announced_is_noticed(
    after: int, receive: Callable[[Archive], Awaitable[bytes]], *, reset: bool
) -> None:
    error = await failure(cut(BODY, after=after, reset=reset, headers=DICOM), receive=receive)
    assert type(error) in ({ShortBody, ConnectionLost} if reset else {ShortBody})


@CUT
async def test_a_chunked_body_without_its_end_is_noticed(after: int) -> None:
    assert type(await failure(cut(BODY, after=after, chunked=True, headers=DICOM))) is ShortBody


async def test_a_length_that_is_too_large_is_noticed() -> None:
    assert type(await failure(cut(BODY, after=len(BODY), announced=len(BODY) + 1, headers=DICOM))) is ShortBody


@pytest.mark.parametrize("receive", [fetch, read, through_threads])
async def test_an_encoded_body_that_is_cut_is_noticed(receive: Callable[[Archive], Awaitable[bytes]]) -> None:
    """Though it has as many bytes as were announced."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
    for action in (raw(head + b"no gzip!!"), zipped(BODY, headers=DICOM, keep=40)):
        assert type(await failure(action, receive=receive)) is ShortBody


@pytest.mark.parametrize("receive", [fetch, read, through_threads])
async def test_an_encoded_body_is_decoded(receive: Callable[[Archive], Awaitable[bytes]]) -> None:
    async with FaultyServer(lambda _: zipped(BODY, headers=DICOM)) as server, opened(server.url) as client:
        assert await receive(client) == BODY


async def test_an_encoding_that_was_not_requested_is_refused() -> None:
    error = await failure(answer(BODY, headers={**DICOM, "Content-Encoding": "br"}))
    assert type(error) is UnexpectedAnswer


async def test_a_short_body_is_noticed_when_read_at_once() -> None:
    async with (
        FaultyServer(in_turn(cut(BODY, after=5, headers=DICOM))) as server,
        opened(server.url) as client,
        client.open(SERIES, ENTRY) as body,
    ):
        with pytest.raises(ShortBody):
            await body.read(1 << 20)


async def test_the_limiter_learns_when_a_body_begins_and_how_large_it_is() -> None:
    actions = in_turn(answer(b"", status=404), answer(BODY, headers=DICOM))
    async with FaultyServer(actions) as server, opened(server.url) as client:
        began = time.monotonic()
        with pytest.raises(NotFound):
            await fetch(client)
        await fetch(client)
        limiter = client.retrier.limiter
        assert isinstance(limiter, Recorder)
        [(waited, size_bytes)] = limiter.begun
        assert size_bytes == len(BODY)
        assert 0 < waited <= time.monotonic() - began


async def test_a_silent_archive_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = JumpingClock(monkeypatch)

    silent = clock.stall(Access().answer_seconds)
    assert type(await failure(silent)) is TimedOut


@pytest.mark.parametrize("receive", [fetch, read, through_threads])
@pytest.mark.parametrize("after", [0, 1000])
async def test_a_body_that_stops_coming_times_out(after: int, receive: Callable[[Archive], Awaitable[bytes]]) -> None:
    silent = stall(asyncio.Event(), BODY, after=after, headers=DICOM)
    assert type(await failure(silent, access=Access(silence_seconds=0.05), receive=receive)) is TimedOut


@pytest.mark.parametrize("receive", [fetch, read, through_threads])
async def test_a_body_that_trickles_times_out(receive: Callable[[Archive], Awaitable[bytes]]) -> None:
    trickle = slowly(BODY, piece_bytes=1, pause_seconds=0.02, headers=DICOM)
    assert type(await failure(trickle, access=Access(silence_seconds=0.2), receive=receive)) is TimedOut


@pytest.mark.parametrize("receive", [fetch, read, through_threads])
async def test_a_body_that_keeps_coming_is_waited_for(
    receive: Callable[[Archive], Awaitable[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, patient = JumpingClock(monkeypatch), Access(silence_seconds=30.0, lowest_bytes_per_second=1.0)

    slow = clock.slowly(10, BODY[:1000], piece_bytes=50)
    async with FaultyServer(lambda _: slow) as server, opened(server.url, access=patient) as client:
        assert await receive(client) == BODY[:1000]


async def test_a_slow_body_is_waited_for() -> None:
    turns = asyncio.Semaphore(0)
    async with FaultyServer(in_turn(drip(turns, b"abcdef", headers=DICOM))) as server, opened(server.url) as client:
        got = bytearray()
        turns.release()
        async with client.open(SERIES, ENTRY) as body:
            async for chunk in body.chunks():
                got += chunk
                turns.release()
        assert got == b"abcdef"


async def test_a_stopped_archive_is_unreachable_and_nothing_was_sent() -> None:
    async with FaultyServer(in_turn(answer())) as server, opened(server.url) as client:
        await server.go_away()
        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1"):
            await fetch(client)
        assert client.requests == 0


async def test_an_unknown_host_is_named() -> None:
    async with opened(f"http://{UNKNOWN_HOST}/") as client:
        with pytest.raises(ConnectFailed, match=re.escape(f"the host {UNKNOWN_HOST} is not known")):
            await fetch(client)


async def test_an_unreachable_proxy_is_named() -> None:
    async with FaultyServer(in_turn(answer())) as server:
        async with opened(server.url, access=Access(proxy="http://127.0.0.1:1")) as client:
            with pytest.raises(ConnectFailed, match=r"the proxy 127\.0\.0\.1:1 cannot be reached"):
                await fetch(client)
        assert server.requests == []


async def test_an_unreachable_archive_ends_a_question() -> None:
    async with FaultyServer(in_turn(answer())) as server, opened(server.url, max_attempts=8) as client:
        await server.go_away()
        with pytest.raises(ArchiveUnreachable):
            await client.collections()


async def test_a_server_without_tls_cannot_be_reached_by_https() -> None:
    with over_tls(is_wanted=False):
        plain = FaultyServer(in_turn(answer()))
    async with plain, opened(plain.url.replace("http:", "https:")) as client:
        with pytest.raises(ConnectFailed):
            await fetch(client)


async def test_an_untrusted_certificate_ends_the_run_and_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with FaultyServer(in_turn(answer()), tls=self_signed()) as server, opened(server.url) as client:
        with pytest.raises(ArchiveUnreachable, match=r"certificate of 127\.0\.0\.1 .* --ca-bundle"):
            await fetch(client)
        assert server.requests == []


async def test_a_certificate_is_trusted_by_a_bundle() -> None:
    access = Access(ca_bundle=str(CERTIFICATE))
    script = in_turn(answer(BODY, headers=DICOM))
    async with FaultyServer(script, tls=self_signed()) as server, opened(server.url, access=access) as client:
        assert await fetch(client) == BODY


async def test_a_redirect_out_of_tls_is_not_followed() -> None:
    access = Access(ca_bundle=str(CERTIFICATE))
    with over_tls(is_wanted=False):
        plain = FaultyServer(in_turn(answer(BODY, headers=DICOM)))
    async with plain:
        script = in_turn(redirect(plain.url))
        async with FaultyServer(script, tls=self_signed()) as server, opened(server.url, access=access) as client:
            with pytest.raises(UnexpectedAnswer, match="from https to http"):
                await fetch(client)
        assert plain.requests == []


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "broken"])
async def test_unreadable_certificates_are_a_configuration_error(
    content: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    async with FaultyServer(in_turn(answer())) as server:
        with pytest.raises(ConfigurationError, match=r"ca\.pem") as caught:
            async with opened(server.url, access=Access(ca_bundle=str(bundle))):
                pass
        assert isinstance(caught.value.__cause__, (OSError, ssl.SSLError))


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_and_counted(status: int) -> None:
    def script(seen: Seen) -> Action:
        return answer(BODY, headers=DICOM) if seen.path == "/else/where" else redirect("/else/where?a=b", status=status)

    async with FaultyServer(script) as server, opened(server.url) as client:
        assert await fetch(client) == BODY
        assert client.requests == len(server.requests) == 2
        assert server.requests[1].target == "/else/where?a=b"
        assert server.connections == 1


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/a b/ü?q=x y", "/a%20b/%C3%BC?q=x+y"),
        ("/a%2Fb?q=%26%2B", "/a%2Fb?q=%26%2B"),
        ("other", "/v1/other"),
        ("?q=1", "/v1/getSingleImage?q=1"),
    ],
)
async def test_an_address_of_a_redirect_is_escaped_but_not_twice(location: str, target: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()

    async with FaultyServer(in_turn(raw(head), answer(BODY, headers=DICOM))) as server, opened(server.url) as client:
        await fetch(client)
        assert server.requests[1].target == target


async def test_redirects_in_a_circle_end() -> None:
    async with FaultyServer(lambda _: redirect("/again")) as server, opened(server.url) as client:
        with pytest.raises(UnexpectedAnswer, match="redirects"):
            await fetch(client)
        assert client.requests == len(server.requests) == 6


@pytest.mark.parametrize("location", ["ftp://host/x", "file:///etc/passwd", "http://", "http://[::1/x", "javascript:1"])
async def test_a_redirect_to_another_scheme_is_not_followed(location: str) -> None:
    with over_tls(is_wanted=False):
        error = await failure(redirect(location))
    assert type(error) is UnexpectedAnswer
    # `http://` leads back to the request: what an address leaves out is that of the request.
    assert str(error) == (
        "more than 5 redirects" if location == "http://" else "a redirect to an address that is not a web address"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "[::1]", "localhost", "127.1"])
def test_a_redirect_from_elsewhere_to_this_machine_is_not_followed(host: str) -> None:
    """Such an address is that of a service of the user, or of the metadata of a cloud."""
    with pytest.raises(UnexpectedAnswer, match="this machine"):
        redirected(URL("http://archive.test/v1/getImage"), f"http://{host}/latest")
    assert redirected(URL("http://127.0.0.1:80/"), f"http://{host}/latest").path == "/latest"
    assert redirected(URL("http://archive.test/"), "http://10.0.0.5/x").host == "10.0.0.5"


async def test_what_another_host_answers_says_nothing_of_the_archive() -> None:
    for action in (answer(status=404), answer(status=403), cut(BODY, after=10, headers=DICOM), drop()):
        async with FaultyServer(in_turn(action)) as elsewhere:
            error = await failure(redirect(f"{elsewhere.url}x"))
            assert type(error) is UnexpectedAnswer
            assert "127.0.0.1, to which the archive redirected" in str(error)


async def test_the_same_host_by_tls_is_the_archive() -> None:
    with over_tls(is_wanted=False):
        plain = FaultyServer(lambda _: redirect(f"{encrypted.url}x"))
    encrypted = FaultyServer(in_turn(answer(status=404)), tls=self_signed())
    access = Access(ca_bundle=str(CERTIFICATE))
    async with encrypted, plain, opened(plain.url, access=access) as client:
        with pytest.raises(NotFound):
            await fetch(client)


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_a_form_is_sent_on_only_where_the_redirect_says_so(status: int, method: str) -> None:
    script = in_turn(redirect("/there", status=status), answer(b"found"))
    async with FaultyServer(script) as server, sending(server.url) as client:
        assert (await client.read(Request("x", "v1/x", form=(("a", "b"),))))[1] == b"found"
        assert [seen.method for seen in server.requests] == ["POST", method]
        assert server.requests[1].body == (b"a=b" if method == "POST" else b"")


# --- counting ---------------------------------------------------------------------------------------------------------


async def test_requests_are_counted_as_the_server_sees_them() -> None:
    """Also a request on a used connection, which aiohttp repeats by default without counting it."""

    def script(seen: Seen) -> Action:
        return drop() if seen.number == 3 else json('[{"Collection":"A"}]')

    async with FaultyServer(script) as server, opened(server.url, max_attempts=2) as client:
        for _ in range(4):
            assert await client.collections() == ("A",)
        assert client.requests == len(server.requests) == 5
        assert client.retrier.retries == 1


async def test_a_question_is_repeated_and_each_repetition_counted() -> None:
    script = in_turn(answer(status=500), cut(b"[]", after=1), answer(status=502), json('[{"Collection":"A"}]'))
    async with FaultyServer(script) as server, opened(server.url, max_attempts=4) as client:
        assert await client.collections() == ("A",)
        assert client.requests == len(server.requests) == 4
        assert client.retrier.retries == 3


async def test_a_body_is_requested_once() -> None:
    async with FaultyServer(lambda _: answer(status=500)) as server, opened(server.url, max_attempts=4) as client:
        with pytest.raises(ServerFailed):
            await fetch(client)
        assert len(server.requests) == 1


async def test_connections_are_kept_and_used_again() -> None:
    async with FaultyServer(lambda _: answer(BODY, headers=DICOM)) as server, opened(server.url) as client:
        for _ in range(5):
            await fetch(client)
        assert server.connections == 1


async def test_a_body_that_is_left_early_ends_its_request() -> None:
    released = asyncio.Event()
    stuck = stall(released, BODY, after=1000, headers=DICOM)
    async with FaultyServer(in_turn(stuck, answer(BODY, headers=DICOM))) as server, opened(server.url) as client:
        async with client.open(SERIES, ENTRY) as body:
            async for _ in body.chunks():
                break
        assert await fetch(client) == BODY
        assert server.connections == 2


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (answer(BODY, headers=DICOM), None),
        (answer(status=404), None),
        (answer(status=500), None),
        (answer(status=429), "throttled"),
        (answer(status=503), "refused"),
        (answer(status=503, headers={"Retry-After": "1"}), "refused"),
        (answer(status=504), "refused"),
        (drop(), "failed"),
        (cut(BODY, after=10, headers=DICOM), "failed"),
    ],
    ids=["success", "404", "500", "429", "503", "503 with Retry-After", "504", "dropped", "cut"],
)
async def test_the_limiter_gets_a_sample_of_every_request(action: Action, said: str | None) -> None:
    async with FaultyServer(lambda _: action) as server, opened(server.url) as client:
        try:
            await fetch(client)
        except RequestFailed:
            pass
        else:
            assert samples(client)[0].size_bytes == len(BODY)
        (sample,) = samples(client)
        assert [name for name in ("refused", "throttled", "failed") if getattr(sample, name)] == (
            [said] if said else []
        )


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_names_reach_the_archive_unchanged() -> None:
    name = 'A+B & C/D=é;#?%20 "x"\''
    async with FaultyServer(lambda _: json("[]")) as server, opened(server.url) as client:
        async with aclosing(client.find(Selection(collections=(name,), patients=("+1",)))) as batches:
            assert [batch.series async for batch in batches] == [()]
        assert server.requests[0].path == "/v1/getSeries"
        assert server.requests[0].query == {"Collection": name, "PatientID": "+1"}


async def test_files_are_requested_without_encoding() -> None:
    """Only then Content-Length is the length of the file."""
    async with FaultyServer(lambda _: answer(BODY, headers=DICOM)) as server, opened(server.url) as client:
        await fetch(client)
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert server.requests[0].query == {"SeriesInstanceUID": "1.2.3", "SOPInstanceUID": "1.2.3.4"}
        assert server.requests[0].headers["user-agent"].startswith("bulkdl/")


async def test_an_address_is_requested_as_it_is_written() -> None:
    """A signature of it would not be valid for another way to write the same."""
    target = "/a%2Fb%20c/d%7Ee?X-Signature=a%2Bb%2F%3D&x=%7E"
    async with FaultyServer(lambda _: answer(b"x")) as server, sending("http://127.0.0.1/") as client:
        await client.read(Request("x", "", address=f"{server.url.rstrip('/')}{target}", rules=AS_OURS))
        assert server.requests[0].target == target


async def test_a_base_address_with_a_path_is_kept() -> None:
    async with FaultyServer(lambda _: json("[]")) as server:
        async with opened(f"{server.url}nbia-api/services/") as client:
            await client.collections()
        assert server.requests[0].target == "/nbia-api/services/v1/getCollectionValues"


async def test_cookies_are_not_kept() -> None:
    with over_tls(is_wanted=False):
        server = FaultyServer(in_turn(answer(b"[]", headers={"Set-Cookie": "JSESSIONID=1; Path=/"})))
    async with server:
        async with opened(server.url.replace("127.0.0.1", "localhost")) as client:  # an address gets no cookies anyway
            await client.collections()
            await client.collections()
        assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (Credentials(username="\u00e4lice", password="s:ecret"), "Basic w6RsaWNlOnM6ZWNyZXQ="),  # noqa: S106 - made up
        (Credentials(api_key="token"), "Bearer token"),
        (Credentials(), None),
    ],
    ids=["basic", "bearer", "none"],
)
async def test_a_login_without_tokens_is_sent_where_a_request_asks_for_it(
    credentials: Credentials, header: str | None
) -> None:
    access = Access(credentials=credentials)
    async with FaultyServer(in_turn(json("[]"))) as server, sending(server.url, access=access) as client:
        await client.read_once(Request("x", "x", identity=Identity.AUTHORIZATION, accept="application/dicom+json"))
        await client.read_once(Request("x", "x"))
    first, second = server.requests
    assert (first.headers.get("authorization"), first.headers["accept"]) == (header, "application/dicom+json")
    assert ("authorization" in second.headers, second.headers["accept"]) == (False, "*/*")


async def test_an_answer_may_be_incomplete_where_a_request_says_so() -> None:
    async with FaultyServer(in_turn(answer(b"some", status=206))) as server, sending(server.url) as client:
        assert await client.read_once(Request("x", "x", may_be_incomplete=True)) == (
            "application/octet-stream",
            b"some",
        )
        with pytest.raises(UnexpectedAnswer, match="a part where the whole was requested"):
            await client.read_once(Request("x", "x"))


async def _patient_data() -> AsyncGenerator[bytes | memoryview, None]:
    yield b"patient"


UPLOAD = Upload("application/dicom", 7, _patient_data)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_an_upload_follows_no_redirect(status: int) -> None:
    """As a GET it would find something, and elsewhere it is sent to a host that the caller did not name."""
    script = in_turn(redirect("https://other.test/studies?token=secret", status=status))
    async with FaultyServer(script) as server, sending(server.url) as client:
        with pytest.raises(RequestRejected, match=r"redirects to https://other\.test/studies: nothing"):
            await client.read_once(Request("store", "studies", upload=UPLOAD))
        assert len(server.requests) == 1


async def test_a_request_may_read_answers_other_than_successes() -> None:
    script = in_turn(answer(b"{}", status=202), answer(b"{}", status=409), answer(b"{}", status=202))
    async with FaultyServer(script) as server, sending(server.url) as client:
        for status in (202, 409):
            async with client.open(
                Request("store", "studies", upload=UPLOAD, read_statuses=frozenset({202, 409}))
            ) as body:
                assert (body.status, await body.read(10)) == (status, b"{}")
        with pytest.raises(UnexpectedAnswer, match="202"):
            await client.read_once(Request("search", "studies"))


@pytest.mark.parametrize(
    ("status", "error"), [(200, UnexpectedAnswer), (202, UnexpectedAnswer), (413, RequestRejected)]
)
async def test_a_success_before_the_end_of_an_upload_is_none(status: int, error: type[Exception]) -> None:
    """The archive cannot know what it says that it has, and a file may turn out to be altered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status)
        await ended.wait()
        writer.close()

    async def endless() -> AsyncGenerator[bytes | memoryview, None]:
        while True:
            yield bytes(100_000)

    ended = asyncio.Event()
    upload = Upload("application/dicom", 1 << 40, endless)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, sending(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as client:
        with pytest.raises(error, match=f"answered {status}"):
            await client.read_once(Request("store", "x", upload=upload, read_statuses=frozenset({202})))
        ended.set()


AS_OURS = ServiceRules(lambda *_: None, lambda *_: True, "If-Match")


@asynccontextmanager
async def sending(
    url: str, *, access: Access | None = None, retrier: Retrier | None = None, notes: list[str] | None = None
) -> AsyncIterator[HttpClient]:
    """The client itself, without the protocol of an archive."""
    access = access or Access()
    async with TRANSPORT.get()(access) as transport:
        note = (notes if notes is not None else []).append
        yield HttpClient(url, transport, retrier or make_retrier(), access, note=note)


class NotingTransport:
    """Notes for what connections are opened early. The rest is done by `transport`."""

    def __init__(self, transport: HttpTransport) -> None:
        self.opened: list[tuple[str, int]] = []
        self.requests = 0
        self.send = transport.send

    def open_early(self, url: URL, connections: int) -> bool:
        self.opened.append((str(url), connections))
        return True


class NotingRetrier(Retrier):
    """Counts how often the archive has begun to answer."""

    answers = 0

    def answering(self) -> None:
        self.answers += 1
        super().answering()


@pytest.mark.parametrize(("status", "answers"), [(200, 1), (404, 1), (500, 1), (429, 0), (503, 0)])
async def test_an_overloaded_archive_has_not_answered(status: int, answers: int) -> None:
    made = make_retrier()
    retrier = NotingRetrier(limiter=made.limiter, policy=made.policy, stop=made.stop)
    async with (
        FaultyServer(lambda _: answer(b"x", status=status)) as server,
        sending(server.url, retrier=retrier) as client,
    ):
        with suppress(RequestFailed):
            await client.read_once(Request("x", "x"))
    assert retrier.answers == answers


async def test_a_part_in_the_place_of_the_whole_is_refused() -> None:
    part = answer(b"x" * 10, status=206, headers={"Content-Range": "bytes 0-9/10"})
    error = await failure(part)
    assert type(error) is UnexpectedAnswer
    assert str(error) == "the archive sent a part where the whole was requested"


PART = {"Content-Range": "bytes 5-9/10", **DICOM}
ODD_PARTS = {
    "too short": (answer(b"fgh", status=206, headers=PART), UnexpectedAnswer),
    "too long": (answer(b"fghijklm", status=206, headers=PART), UnexpectedAnswer),
    "too short in chunks": (answer(b"fgh", status=206, headers=PART, chunked=True), ShortBody),
    "too long in chunks": (answer(b"fghijklm", status=206, headers=PART, chunked=True), ShortBody),
    "encoded": (answer(b"fghij", status=206, headers={**PART, "Content-Encoding": "gzip"}), UnexpectedAnswer),
    "several parts": (
        answer(b"--x--", status=206, headers={"Content-Type": "multipart/byteranges; boundary=x"}),
        UnexpectedAnswer,
    ),
}


async def the_second_half(client: Archive) -> bytes:
    async with client.open(SERIES, ENTRY, rest=Rest(5, 10, None)) as body:
        assert body.start == 5
        return b"".join([chunk async for chunk in body.chunks()])


@pytest.mark.parametrize(("part", "kind"), ODD_PARTS.values(), ids=ODD_PARTS)
async def test_a_part_is_as_long_as_it_says(part: Action, kind: type[RequestFailed]) -> None:
    assert type(await failure(part, receive=the_second_half)) is kind


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_part_may_come_in_chunks(*, chunked: bool) -> None:
    part = answer(b"fghij", status=206, headers=PART, chunked=chunked)
    async with FaultyServer(lambda _: part) as server, opened(server.url) as client:
        assert await the_second_half(client) == b"fghij"


async def test_connections_of_expected_requests_are_opened_once() -> None:
    async with FaultyServer(lambda _: answer(b"x")) as server, TRANSPORT.get()(Access()) as transport:
        noting = NotingTransport(transport)
        client = HttpClient(server.url, noting, make_retrier(), Access())
        client.retrier.expected = 5
        for _ in range(2):
            await client.read_once(Request("x", "x"))
    assert noting.opened == [(server.url, 5)]


async def test_a_list_has_a_greatest_length() -> None:
    rows = b'[{"a": 1}, {"a": 2}, {"a": 3}]'
    async with FaultyServer(lambda _: json(rows.decode())) as server, sending(server.url) as client:
        question = Request("getSeries", "x")
        assert sum([len(batch) async for batch in client.rows(question, at_most=3)]) == 3
        with pytest.raises(UnexpectedAnswer, match="getSeries answered more than 2 rows"):
            async for _ in client.rows(question, at_most=2):
                pass


async def test_notes_show_no_secret_and_another_address_gets_none() -> None:
    notes: list[str] = []
    access = Access(credentials=Credentials(api_key="s3cret-key"))
    async with sending("http://127.0.0.1/", access=access, notes=notes) as client:
        client.note("an odd answer with s3cret-key")
        assert notes == ["an odd answer with …"]
        assert client.at("http://other.example/").credentials == Credentials()


# --- bodies -----------------------------------------------------------------------------------------------------------


async def open_and_describe(client: Archive) -> HttpBody:
    async with client.open(SERIES, ENTRY) as body:
        assert isinstance(body, HttpBody)
        await body.read(1 << 20)
        return body


async def test_a_body_has_what_was_announced() -> None:
    async with FaultyServer(lambda _: answer(BODY, headers=DICOM)) as server, opened(server.url) as client:
        body = await open_and_describe(client)
        assert (body.length, body.received, body.content_type) == (len(BODY), len(BODY), "application/dicom")


@pytest.mark.parametrize(
    "action", [zipped(BODY, headers=DICOM), answer(BODY, headers=DICOM, chunked=True)], ids=["gzip", "chunked"]
)
async def test_a_body_of_unknown_length_comes_whole(action: Action) -> None:
    async with FaultyServer(lambda _: action) as server, opened(server.url) as client:
        body = await open_and_describe(client)
        assert (body.length, body.received) == (None, len(BODY))


async def test_the_encoding_identity_changes_nothing() -> None:
    script = in_turn(answer(BODY, headers={**DICOM, "Content-Encoding": "identity"}))
    async with FaultyServer(script) as server, opened(server.url) as client:
        assert (await open_and_describe(client)).length == len(BODY)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain", "application/json", "application/xml"])
async def test_a_text_is_not_taken_for_a_dicom_file(kind: str) -> None:
    error = await failure(answer(b'{"errorMessage":"Index: 0, Size: 0"}', headers={"Content-Type": kind}))
    assert type(error) is UnexpectedAnswer
    assert "DICOM" in str(error)


async def test_a_text_is_not_taken_for_a_zip() -> None:
    script = in_turn(answer(b"Sorry", headers={"Content-Type": "text/html"}))
    async with FaultyServer(script) as server, opened(server.url) as client:
        with pytest.raises(UnexpectedAnswer, match="zip"):
            async with client.open_bundle(SERIES):
                pass

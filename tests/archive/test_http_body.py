"""Bodies by themselves: how slow and how large they may be, which part they are, what identifies them, decoding."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.base import Rest
from bulkdl.archive.http_body import HttpBody, Inflater
from bulkdl.errors import ShortBody, TimedOut, UnexpectedAnswer
from bulkdl.model.access import Access
from tests.support.clocks import JumpingClock


def bare(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush()


WAYS: list[Callable[[bytes], bytes]] = [gzip.compress, zlib.compress, bare]


def inflated(encoded: bytes, piece_bytes: int) -> bytes:
    inflater = Inflater()
    found = b""
    for start in range(0, len(encoded), piece_bytes):
        for piece in inflater.feed(encoded[start : start + piece_bytes]):
            assert len(piece) <= 1 << 18
            found += piece
    inflater.close()
    return found


@pytest.mark.parametrize("encode", WAYS, ids=["gzip", "zlib", "bare deflate"])
@given(content=st.binary(max_size=500), piece_bytes=st.integers(1, 100))
def test_whatever_was_encoded_comes_back(encode: Callable[[bytes], bytes], content: bytes, piece_bytes: int) -> None:
    assert inflated(encode(content), piece_bytes) == content


def test_several_in_a_row_are_one() -> None:
    for piece_bytes in (7, 8, 100):
        assert inflated(gzip.compress(b"a") + gzip.compress(b"b"), piece_bytes) == b"ab"


def test_nothing_needs_no_encoding() -> None:
    assert inflated(b"", 1) == b""


def test_what_inflates_comes_in_pieces() -> None:
    assert len(inflated(gzip.compress(bytes(10**7)), 10**6)) == 10**7


@pytest.mark.parametrize("more_bytes", [0, 1, 100, 250, 520])
@pytest.mark.parametrize("encode", WAYS, ids=["gzip", "zlib", "bare deflate"])
def test_no_byte_behind_a_whole_piece_is_lost(encode: Callable[[bytes], bytes], more_bytes: int) -> None:
    """By then, zlib has taken all of a bare deflate, and keeps up to 258 decoded bytes."""
    content = bytes((1 << 18) + more_bytes)
    for piece_bytes in (1, 10**6):
        assert inflated(encode(content), piece_bytes) == content


@pytest.mark.parametrize("encode", WAYS, ids=["gzip", "zlib", "bare deflate"])
def test_every_cut_is_noticed(encode: Callable[[bytes], bytes]) -> None:
    encoded = encode(b"a list of rows" * 5)
    for end in range(1, len(encoded)):
        with pytest.raises(ShortBody, match="encoding"):
            inflated(encoded[:end], 16)


def test_what_is_not_encoded_is_refused() -> None:
    with pytest.raises(ShortBody, match="damaged"):
        inflated(b"\x1f[no gzip]", 16)


# --- bodies -----------------------------------------------------------------------------------------------------------


class MadeUpResponse:
    """A response whose body comes in these pieces, each after so many seconds of `clock`."""

    reason = ""
    content_type = "application/dicom"
    waited_seconds = 0.0
    is_request_unsent = False
    arrived = 0

    def __init__(
        self,
        pieces: Sequence[tuple[float, bytes]] = (),
        *,
        clock: JumpingClock | None = None,
        length: int | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.length, self.headers = status, length, headers or {}
        self._left = list(pieces)
        self._clock = clock

    @property
    def threaded(self) -> MadeUpResponse:
        return self

    def _pass(self) -> None:
        if self._clock is not None and self._left:
            self._clock.jump(self._left[0][0])

    def _next(self) -> bytes:
        piece = self._left.pop(0)[1] if self._left else b""
        self.arrived += len(piece)
        return piece

    async def readable(self) -> bool:
        self._pass()
        return bool(self._left)

    def receive(self, take: Callable[[memoryview], None], at_most: int) -> int:
        del at_most
        take(memoryview(piece := self._next()))
        return len(piece)

    async def chunk(self) -> bytes:
        self._pass()
        return self._next()

    async def read(self) -> bytes:
        return b"".join([self._next() for _ in range(len(self._left))])

    def release(self) -> None:
        pass


async def by_chunks(body: HttpBody) -> AsyncIterator[bytes]:
    async for chunk in body.chunks():
        yield chunk


async def by_threads(body: HttpBody) -> AsyncIterator[bytes]:
    found = bytearray()
    while await body.receive(found.extend, 1 << 16):
        yield bytes(found)
        found.clear()


IN_BOTH_WAYS = pytest.mark.parametrize("way", [by_chunks, by_threads])
Way = Callable[[HttpBody], AsyncIterator[bytes]]


@IN_BOTH_WAYS
@pytest.mark.parametrize(
    ("pieces", "is_too_slow"),
    [
        ([(10, bytes(50))] * 20, False),
        ([(10, bytes(16))] * 20, False),
        ([(10, bytes(9))] * 20, True),
        ([(0, bytes(1000)), *[(10, b"x")] * 20], True),
    ],
    ids=["quick", "slow", "too slow", "too slow at its end"],
)
async def test_a_body_may_not_be_too_slow_for_long(
    way: Way, pieces: list[tuple[float, bytes]], monkeypatch: pytest.MonkeyPatch, *, is_too_slow: bool
) -> None:
    access, clock = Access(silence_seconds=30, lowest_bytes_per_second=1), JumpingClock(monkeypatch)
    content = b"".join(piece for _, piece in pieces)
    body, found = HttpBody(MadeUpResponse(pieces, clock=clock, length=len(content)), access), b""
    try:
        async for piece in way(body):
            found += piece
    except TimedOut:
        assert is_too_slow
    else:
        assert (found, is_too_slow) == (content, False)


@IN_BOTH_WAYS
@pytest.mark.parametrize("length", [99, 101])
async def test_a_body_has_the_length_that_was_announced(way: Way, length: int) -> None:
    body = HttpBody(MadeUpResponse([(0, bytes(100))], length=length), Access())
    with pytest.raises(ShortBody, match=f"100 bytes arrived, {length} were announced"):
        async for _ in way(body):
            pass


@pytest.mark.parametrize("length", [None, 100])
async def test_a_body_that_is_read_as_a_whole_has_a_greatest_length(length: int | None) -> None:
    def body() -> HttpBody:
        return HttpBody(MadeUpResponse([(0, bytes(50))] * 2, length=length), Access())

    assert await body().read(100) == bytes(100)
    with pytest.raises(UnexpectedAnswer, match="larger than 99 bytes"):
        await body().read(99)


async def test_a_body_that_was_read_is_not_watched_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, failures = JumpingClock(monkeypatch), list[Mapping[str, object]]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    assert await HttpBody(MadeUpResponse([(0, b"x")], length=1), Access()).read(1) == b"x"
    clock.jump(Access().silence_seconds)
    for _ in range(5):
        await asyncio.sleep(0)
    assert failures == []


def somewhat_compressible(size_bytes: int) -> bytes:
    """What shrinks to about a hundredth."""
    piece = random.Random(1).randbytes(600)  # noqa: S311 - no secret
    return (bytes(59_400) + piece) * (size_bytes // 60_000)


@pytest.mark.parametrize(
    ("content", "is_too_much"),
    [(bytes(60 << 20), False), (bytes(80 << 20), True), (somewhat_compressible(80 << 20), False)],
    ids=["an empty mask", "a bomb", "much"],
)
async def test_a_body_may_not_expand_without_bound(content: bytes, *, is_too_much: bool) -> None:
    headers = {"Content-Encoding": "gzip"}
    encoded = gzip.compress(content, 1)
    body = HttpBody(MadeUpResponse([(0, encoded)], length=len(encoded), headers=headers), Access())
    if is_too_much:
        with pytest.raises(UnexpectedAnswer, match="expands to more than"):
            await body.read(1 << 30)
    else:
        assert await body.read(1 << 30) == content


@pytest.mark.parametrize("empty", [b"\0\0\0\xff\xff", gzip.compress(b"")], ids=["blocks of deflate", "members of gzip"])
async def test_an_encoding_without_a_byte_does_not_go_on_for_ever(empty: bytes) -> None:
    piece = empty * (2_000 // len(empty))
    response = MadeUpResponse([(0, piece)] * 40_000, headers={"Content-Encoding": "gzip"})
    with pytest.raises(UnexpectedAnswer, match="times as long"):
        await HttpBody(response, Access()).read(100)


async def test_an_encoding_may_be_longer_than_its_content() -> None:
    content = random.Random(1).randbytes(1 << 20)  # noqa: S311 - no secret
    encoder = zlib.compressobj(1)
    pieces = [encoder.compress(content[at : at + 1]) + encoder.flush(zlib.Z_SYNC_FLUSH) for at in range(1000)]
    response = MadeUpResponse([(0, b"".join(pieces) + encoder.flush())], headers={"Content-Encoding": "deflate"})
    assert await HttpBody(response, Access()).read(1000) == content[:1000]


TAG, DATE = '"one"', "Tue, 01 Dec 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": TAG, "Last-Modified": DATE}, TAG),
        ({"ETag": 'W/"one"'}, None),
        ({"ETag": "one"}, None),
        ({"Last-Modified": DATE, "Date": "Tue, 01 Dec 2026 10:00:01 GMT"}, DATE),
        ({"Last-Modified": DATE, "Date": DATE}, None),
        ({"Last-Modified": DATE}, None),
        ({"Date": DATE}, None),
        ({"Last-Modified": "yesterday", "Date": DATE}, None),
        ({"Last-Modified": "Tue, 01 Dec 2026 09:00:00 -0000", "Date": DATE}, None),
        ({}, None),
    ],
)
def test_what_identifies_an_object(headers: dict[str, str], validator: str | None) -> None:
    assert HttpBody(MadeUpResponse(headers=headers), Access()).validator == validator


@pytest.mark.parametrize(
    ("sent", "rest", "is_right"),
    [
        ("bytes 5-9/10", Rest(5, 10, TAG), True),
        ("bytes 5-7/10", Rest(5, 10, TAG, 8), True),
        ("bytes 5-9/10", Rest(5, None, TAG), True),
        ("bytes 5-9/10", Rest(5, 10, DATE), True),
        ("bytes 5-9/10", Rest(5, 10, None), True),
        ("bytes 4-9/10", Rest(5, 10, TAG), False),
        ("bytes 5-8/10", Rest(5, 10, TAG), False),
        ("bytes 5-9/11", Rest(5, 10, TAG), False),
        ("bytes 5-7/11", Rest(5, 10, TAG, 8), False),
        ("bytes 5-9/10", Rest(5, None, TAG, 20), True),
        ("bytes 5-8/10", Rest(5, None, TAG, 20), False),
        ("bytes 5-9/10", Rest(5, None, TAG, 8), False),
        ("bytes 5-9/10", Rest(5, 10, '"two"'), False),
        ("bytes 5-9/10", Rest(5, 10, "Tue, 01 Dec 2026 11:00:00 GMT"), False),
        ("bytes 5-9/*", Rest(5, 10, TAG), False),
        ("", Rest(5, 10, TAG), False),
        ("bytes 0-9/10", None, False),
    ],
)
def test_a_part_is_the_requested_one_of_the_same_object(sent: str, rest: Rest | None, *, is_right: bool) -> None:
    headers = {"Content-Range": sent, "ETag": TAG, "Last-Modified": DATE}
    body = HttpBody(MadeUpResponse(status=206, headers=headers), Access())
    if is_right:
        body.check_part(rest)
        assert (body.start, body.object_bytes) == (5, 10)
    else:
        with pytest.raises(UnexpectedAnswer, match="part"):
            body.check_part(rest)

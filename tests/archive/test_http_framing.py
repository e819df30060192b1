"""Headers and chunked bodies: what is read, and what leaves room for two readings and is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.http_framing import ChunkedBody, ResponseHeader, header_size, parse_header


def _parsed(*lines: str) -> ResponseHeader:
    found = parse_header("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1"))
    assert found is not None
    return found


def test_a_header_is_read() -> None:
    found = _parsed(
        "HTTP/1.1 206 Partial Content", 'ETag:  "a" \t', "content-length: 12", "Content-Type: Image/PNG; q=1"
    )
    assert (found.status, found.reason, found.length, found.content_type) == (206, "Partial Content", 12, "image/png")
    assert (found.headers["etag"], found.is_chunked, found.keeps_alive) == ('"a"', False, True)


@pytest.mark.parametrize(
    ("lines", "length", "is_chunked", "keeps_alive"),
    [
        (("HTTP/1.1 200 OK",), None, False, True),
        (("HTTP/1.1 200",), None, False, True),
        (("HTTP/1.1 204 No Content", "Content-Length: 5"), 0, False, True),
        (("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked"), None, True, True),
        (("HTTP/1.1 200 OK", "Connection: a, Close", "Content-Length: 0"), 0, False, False),
        (("HTTP/1.0 200 OK", "Content-Length: 0"), 0, False, False),
        (("HTTP/1.0 200 OK", "Content-Length: 0", "Connection: keep-alive"), 0, False, True),
    ],
)
def test_where_the_body_ends(
    lines: tuple[str, ...], length: int | None, *, is_chunked: bool, keeps_alive: bool
) -> None:
    found = _parsed(*lines)
    assert (found.length, found.is_chunked, found.keeps_alive) == (length, is_chunked, keeps_alive)


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("fold", ["{end} ", "{end}\t {end}  "])
def test_fields_may_be_folded_and_lines_may_end_with_lf_alone(end: str, fold: str) -> None:
    """RFC 9112 §5.2 demands the one of a client, §2.2 allows it the other."""
    folded = fold.format(end=end)
    lines = ["HTTP/1.1 200 OK", f"X-A: a{folded}b", f"Content-Length:{folded}12", f"X-B: c{folded}", "", ""]
    found = parse_header(end.join(lines).encode())
    assert found is not None
    assert dict(found.headers) == {"X-A": "a b", "Content-Length": "12", "X-B": "c"} or "\t" in fold
    assert (found.length, found.headers["X-A"].split()) == (12, ["a", "b"])


HEADERS = ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\r\nA: b\n\r\n", "A\r\nB: c\r\n\n"]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("body", ["", "x", "\n\n", "\r\n\r\n", "x\r\n\r\nx\n\n"])
def test_a_header_ends_with_its_first_empty_line_however_it_is_cut(header: str, body: str) -> None:
    data = (header + body).encode()
    for cut in range(len(data) + 1):
        found = header_size(data[:cut]) or header_size(data, searched=cut)
        assert found == len(header)


@pytest.mark.parametrize("status", ["100 Continue", "103 Early Hints"])
def test_an_informational_header_is_not_the_header(status: str) -> None:
    assert parse_header(f"HTTP/1.1 {status}\r\nLink: x\r\n\r\n".encode()) is None


@pytest.mark.parametrize(
    "lines",
    [
        ("HTTP/1.1 101 Switching Protocols",),
        ("HTTP/2 200 OK",),
        ("HTTP/1.1  200 OK",),
        ("HTTP/1.1 099 Odd",),
        ("HTTP/1.1 200 O\0K",),
        ("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"),
        ("HTTP/1.1 200 OK", "Content-Length: 5, 5"),
        ("HTTP/1.1 200 OK", "Content-Length: +5"),
        ("HTTP/1.1 200 OK", "Content-Length: 5_0"),
        ("HTTP/1.1 200 OK", "Content-Length: \xb2"),
        ("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"),
        ("HTTP/1.1 200 OK", " X-Folded: a"),
        ("HTTP/1.1 200 OK", "Content-Length: 1", " 5"),
        ("HTTP/1.1 200 OK", "X-Folded: a", " b\0"),
        ("HTTP/1.1 200 OK", "X Space: a"),
        ("HTTP/1.1 200 OK", "Space-Before : a"),
        ("HTTP/1.1 200 OK", "X-Break: a\rContent-Length: 5"),
        ("HTTP/1.1 200 OK\n", "Content-Length: 5"),
        ("HTTP/1.1 200 OK", "X-Long: " + "x" * 8192),
    ],
)
def test_what_is_not_certain_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        _parsed(*lines)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_an_error(content: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n"):
        with contextlib.suppress(ValueError):
            parse_header(start + content + b"\r\n\r\n")


# --- chunked bodies ---------------------------------------------------------------------------------------------------


def _decoded(content: bytes, cuts: list[int]) -> tuple[bytes, bool]:
    body, found, start = ChunkedBody(), b"", 0
    for end in [*sorted(cuts), len(content)]:
        found += b"".join(body.feed(content[start:end]))
        start = end
    return found, body.has_ended


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 300), max_size=12))
def test_a_chunked_body_comes_whole_however_it_is_cut(chunks: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    assert _decoded(sent, [cut for cut in cuts if cut <= len(sent)]) == (b"".join(chunks), True)


@pytest.mark.parametrize("cut", range(13))
def test_a_chunked_body_without_its_end_has_not_ended(cut: int) -> None:
    assert not _decoded(b"3\r\nabc\r\n0\r\n\r\n"[:cut], [])[1]


def test_sizes_may_be_padded_and_extended() -> None:
    assert _decoded(b"3  \r\nabc\r\n00000000000000000002\t;a=b\r\nde\r\n0 \r\n\r\n", []) == (b"abcde", True)


@given(st.integers(0, 13))
def test_what_comes_behind_the_end_does_not_belong_to_a_chunked_body(cut: int) -> None:
    body, content = ChunkedBody(), b"3\r\nabc\r\n0\r\n\r\nx\r\n"
    assert b"".join([*body.feed(content[:cut]), *body.feed(content[cut:])]) == b"abc"
    assert (body.has_ended, body.is_exceeded) == (True, True)


@pytest.mark.parametrize(
    "content",
    [
        b"-1\r\nx",
        b"0x3\r\nabc\r\n",
        b"3\nabc\r\n",
        b"\r\nabc",
        b"ffffffffffffffffffff\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"9" * 2000,
        b"0\r\n" + b"A: b\r\n" * 10_000,
        b"3  \n\r\nabc",
    ],
)
def test_what_is_not_chunked_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        _decoded(content, [])

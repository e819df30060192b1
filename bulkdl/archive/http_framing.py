"""The frame of a response of HTTP/1.1: its header, and where its body ends. Pure: bytes in, values out.

Source: RFC 9112 §2.2 (line ends), §4 (status line), §5 (fields), §6.3 (length of a body), §7.1 (chunked). Lines of a
header may end with LF alone and fields may be folded, as old servers send them. What can be read in two ways is
refused: both lengths at once, several lengths, another coding than `chunked`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy, MultiMapping

MOST_HEADER_BYTES: Final = 1 << 15
"""The longest header, with all informational ones before it."""

WITHOUT_BODY: Final = frozenset({204, 304})
"""The statuses of responses without a body, whatever their header says (RFC 9112 §6.3)."""

_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n\0]{0,1000}))?\r?\n")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,200}):[ \t]*([^\r\n\0]*)\r?\n")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_CHUNK: Final = re.compile(rb"0{0,99}([0-9A-Fa-f]{1,15})[ \t]{0,256}(?:;[^\r\n]{0,256})?\r\n")  # some pad sizes
_LONGEST_FIELD_BYTES: Final = 1 << 13
_LONGEST_LINE_BYTES: Final = 1 << 10
_SWITCHING_PROTOCOLS: Final = 101
_SUCCESS: Final = 200


class ResponseHeader(NamedTuple):
    """The header of a response. `length` is None where the body is chunked, or ends with the connection.

    `content_type` is that of `http_transport.HttpResponse`.
    """

    status: int
    reason: str
    headers: CIMultiDictProxy[str]
    content_type: str
    length: int | None
    is_chunked: bool
    keeps_alive: bool


def header_size(data: bytes | bytearray, *, searched: int = 0) -> int:
    """The number of bytes of the header at the start of `data`, with its empty line; 0 if its end has not arrived.

    `searched` is how many of the bytes were there at an earlier call, which found none.
    """
    start = max(0, searched - 2)
    end = data.find(b"\n\r\n", start)
    bare_end = data.find(b"\n\n", start, end + 1 if end >= 0 else len(data))
    if bare_end >= 0:
        return bare_end + 2
    return end + 3 if end >= 0 else 0


def parse_header(data: bytes) -> ResponseHeader | None:
    """Parse a header with its empty line; None if it is an informational one, which another one follows.

    Raises:
        ValueError: it is not one of HTTP/1.1 or 1.0, or its body has no certain end.
    """
    status_line = _STATUS.match(data)
    if status_line is None:
        raise ValueError("it does not begin with a status")
    minor, status = status_line[1], int(status_line[2])
    if status < _SUCCESS:
        if status == _SWITCHING_PROTOCOLS:
            raise ValueError("another protocol, which was not requested")
        return None
    headers = _fields(data, status_line.end())
    length, is_chunked = body_frame(status, headers)
    connection = {token.strip().lower() for token in ",".join(headers.getall("Connection", ())).split(",")}
    keeps_alive = "close" not in connection and (minor == b"1" or "keep-alive" in connection)
    reason = (status_line[3] or b"").decode("utf-8", "surrogateescape").strip()
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    content_type = kind if "/" in kind else "application/octet-stream"
    return ResponseHeader(status, reason, CIMultiDictProxy(headers), content_type, length, is_chunked, keeps_alive)


def _fields(data: bytes, at: int) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    if b"\n " in data or b"\n\t" in data:
        data, at = _FOLD.sub(b" ", data[at:]), 0
    end = len(data) - (2 if data.endswith(b"\r\n") else 1)
    while at < end:
        field = _FIELD.match(data, at)
        if field is None or field.end() - at > _LONGEST_FIELD_BYTES:
            raise ValueError("a field is invalid or too long")
        value = field[2].decode("utf-8", "surrogateescape").strip(" \t")
        headers.add(field[1].decode("ascii"), value)
        at = field.end()
    return headers


def body_frame(status: int, headers: MultiMapping[str]) -> tuple[int | None, bool]:
    """The length of a body, and whether it is chunked; None and False where it ends with the connection.

    Raises:
        ValueError: that is not certain.
    """
    codings, lengths = headers.getall("Transfer-Encoding", ()), headers.getall("Content-Length", ())
    if codings and (lengths or len(codings) > 1 or codings[0].lower() != "chunked"):
        raise ValueError("its transfer coding is unknown, or contradicts its length")
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise ValueError("its length is not one number")
    if status in WITHOUT_BODY:
        return 0, False
    return (int(lengths[0]) if lengths else None), bool(codings)


class ChunkedBody:
    """Decodes a chunked body. Feed it every piece, in order, until it `has_ended`.

    `is_exceeded`: bytes came behind its end, which do not belong to it.
    """

    def __init__(self) -> None:
        self.has_ended = self.is_exceeded = False
        self._left = 0  # bytes of the chunk
        self._line = b""
        self._is_behind_chunk = False
        self._is_behind_last = False
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bytes of the body in the next piece. ValueError: it is not chunked."""
        at = 0
        while at < len(data):
            if self.has_ended:
                self.is_exceeded = True
                return
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                yield piece
            elif self._is_between and (chunk := _CHUNK.match(data, at)) is not None:
                at = chunk.end()
                self._begin(chunk)
            else:
                at = self._take_line(data, at)

    @property
    def _is_between(self) -> bool:
        """Whether the size of a chunk comes next, and none of it was taken: usually it has arrived as a whole."""
        return not (self._line or self._is_behind_chunk or self._is_behind_last)

    def _begin(self, chunk: re.Match[bytes]) -> None:
        self._left = int(chunk[1], 16)
        self._is_behind_last, self._is_behind_chunk = not self._left, bool(self._left)

    def _take_line(self, data: bytes, at: int) -> int:
        """Read up to the end of a line. Returns where the next one begins."""
        end = data.find(b"\n", at) + 1 or len(data)
        self._line += data[at:end]
        if len(self._line) > _LONGEST_LINE_BYTES:
            raise ValueError("the size of a chunk, or a trailer, is too long")
        if self._line.endswith(b"\n"):
            line, self._line = self._line, b""
            self._read_line(line)
        return end

    def _read_line(self, line: bytes) -> None:
        if self._is_behind_last:  # trailers
            self._trailer_bytes += len(line)
            if self._trailer_bytes > MOST_HEADER_BYTES:
                raise ValueError("its trailer is too long")
            self.has_ended = line == b"\r\n"
        elif self._is_behind_chunk:
            if line != b"\r\n":
                raise ValueError("a chunk is longer than its size")
            self._is_behind_chunk = False
        else:
            size = _CHUNK.fullmatch(line)
            if size is None:
                raise ValueError("the size of a chunk is not a number")
            self._begin(size)

"""Read `multipart/related` responses while they arrive: bytes in, entries out. Pure.

Position alone identifies a part. Its Content-Location is passed on to be shown and never becomes a path. A response
without the closing delimiter is incomplete even if the connection was closed properly. The reader is strict, because
the caller can download the instances of a damaged response one by one.

Source: RFC 2046 §5.1, RFC 2387, PS3.18 §8.6.1.2 (parts are binary, without a Content-Transfer-Encoding).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from typing import Final

from bulkdl.errors import BundleError
from bulkdl.model.bundles import BundleEvent, BundleLimits, EntryData, EntryEnded, EntryStarted

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_BINARY: Final = frozenset({"", "binary", "8bit", "7bit"})
_PART_TYPE: Final = "application/dicom"
_LINE_BREAK: Final = b"\r\n"
_END_OF_HEADER: Final = b"\r\n\r\n"
_MOST_HEADER_BYTES: Final = 16 << 10
_MOST_OUTSIDE_BYTES: Final = 64 << 10  # before the first delimiter, and behind the last
_PIECE_BYTES: Final = 1 << 20
_SHOWN_CHARACTERS: Final = 80


class MultipartReader:
    """Reads one response. Feed it every chunk, in order, and then `close` it.

    `content_type` is the header of the response. Every part must be of `application/dicom`, or state no type.

    Raises:
        BundleError: the header announces no multipart response, or no valid boundary; or the response is damaged,
            incomplete or exceeds a limit.
    """

    def __init__(self, content_type: str, *, limits: BundleLimits | None = None) -> None:
        self._delimiter = b"\r\n--" + _boundary_of(content_type)
        self._limits = limits or BundleLimits()
        self._buffer = _LINE_BREAK  # the first delimiter needs no line break before it
        self._at = 0  # the first unused byte of the buffer
        self._step: Callable[[MultipartReader], Iterable[BundleEvent]] = (
            MultipartReader._skip_preamble
        )  # what to read next
        self._outside_bytes = 0
        self._total_bytes = 0
        self._position = 0
        self._size_bytes = 0
        self._announced: int | None = None
        self._failure: BundleError | None = None

    def feed(self, chunk: bytes) -> Iterator[BundleEvent]:
        """The events of `chunk`. The caller must use all before the next call; events before a failure are valid."""
        if self._failure is not None:
            raise self._failure
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        before = None
        try:
            while before != (self._step, self._at):
                before = (self._step, self._at)
                yield from self._step(self)
        except BundleError as error:
            self._failure = error
            raise

    def close(self) -> Iterator[BundleEvent]:
        """The response has ended; no events follow."""
        if self._failure is not None:
            raise self._failure
        if self._step is not MultipartReader._skip_rest:
            raise BundleError("the multipart response is truncated")
        return iter(())

    def _skip(self, end: int) -> None:
        self._outside_bytes += end - self._at
        self._at = end
        if self._outside_bytes > _MOST_OUTSIDE_BYTES:
            raise BundleError(f"more than {_MOST_OUTSIDE_BYTES:,} bytes are outside the parts")

    def _end_without_delimiter(self) -> int:
        """Where the bytes end that cannot be the beginning of a delimiter."""
        return max(self._at, len(self._buffer) - len(self._delimiter) + 1)

    def _skip_rest(self) -> Iterable[BundleEvent]:
        self._skip(len(self._buffer))
        return ()

    def _skip_preamble(self) -> Iterable[BundleEvent]:
        found = self._buffer.find(self._delimiter, self._at)
        if found < 0:
            self._skip(self._end_without_delimiter())
            return ()
        self._skip(found)
        self._at = found + len(self._delimiter)
        self._step = MultipartReader._read_delimiter
        return ()

    def _read_delimiter(self) -> Iterable[BundleEvent]:
        """What is behind a boundary: a new part, or the end."""
        ending = self._buffer[self._at : self._at + _MOST_HEADER_BYTES]
        if ending.startswith(b"--"):
            self._at += 2
            self._step = MultipartReader._skip_rest
            return ()
        padding = len(ending) - len(ending.lstrip(b" \t"))
        line_break = ending[padding : padding + 2]
        if line_break == _LINE_BREAK:
            self._at += padding  # the line break stays: the header may be empty
            self._step = MultipartReader._read_header
        elif line_break not in {b"", b"\r", b"-"} or padding or len(ending) == _MOST_HEADER_BYTES:
            raise BundleError("a delimiter is not followed by a line break")
        return ()

    def _read_header(self) -> Iterator[BundleEvent]:
        end = self._buffer.find(_END_OF_HEADER, self._at, self._at + _MOST_HEADER_BYTES)
        if end < 0:
            if len(self._buffer) - self._at >= _MOST_HEADER_BYTES:
                raise BundleError(f"the header of a part is longer than {_MOST_HEADER_BYTES:,} bytes")
            return
        fields = _fields_of(self._buffer[self._at : end])
        self._check(fields)
        self._at = end + len(_END_OF_HEADER)
        self._position += 1
        if self._position > self._limits.max_entries:
            raise BundleError(f"the response has more than {self._limits.max_entries:,} parts")
        length = fields.get("content-length", "")
        self._announced = int(length) if _LENGTH.fullmatch(length) else None
        self._size_bytes = 0
        self._step = MultipartReader._read_body
        yield EntryStarted(self._position, fields.get("content-location", ""), self._announced)

    def _check(self, fields: dict[str, str]) -> None:
        encoding = fields.get("content-transfer-encoding", "").lower()
        if encoding not in _BINARY:
            raise BundleError(f"a part has the transfer encoding {encoding[:_SHOWN_CHARACTERS]!r}")
        kind = fields.get("content-type", _PART_TYPE).partition(";")[0].strip().lower()
        if kind != _PART_TYPE:
            raise BundleError(f"a part is {kind[:_SHOWN_CHARACTERS]!r} instead of {_PART_TYPE!r}")

    def _read_body(self) -> Iterator[BundleEvent]:
        found = self._buffer.find(self._delimiter, self._at)
        yield from self._data(found if found >= 0 else self._end_without_delimiter())
        if found >= 0:
            if self._announced not in {None, self._size_bytes}:
                raise BundleError(f"a part has {self._size_bytes:,} bytes; {self._announced:,} were announced")
            self._at = found + len(self._delimiter)
            self._step = MultipartReader._read_delimiter
            yield EntryEnded(self._position, self._size_bytes)

    def _data(self, end: int) -> Iterator[BundleEvent]:
        size_bytes = end - self._at
        self._size_bytes += size_bytes
        self._total_bytes += size_bytes
        if self._size_bytes > self._limits.max_entry_bytes or self._total_bytes > self._limits.max_total_bytes:
            raise BundleError("the response exceeds the limit of bytes")
        view = memoryview(self._buffer)
        start, self._at = self._at, end
        for at in range(start, end, _PIECE_BYTES):
            yield EntryData(view[at : min(at + _PIECE_BYTES, end)])


def _boundary_of(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    boundary = message.get_boundary("")
    if message.get_content_maintype() != "multipart" or not _BOUNDARY.fullmatch(boundary):
        raise BundleError(f"{content_type[:_SHOWN_CHARACTERS]!r} does not announce a multipart response")
    return boundary.encode("ascii")


def _fields_of(header: bytes) -> dict[str, str]:
    """The fields of a header by their names in lower case."""
    fields: dict[str, str] = {}
    for line in filter(None, header.split(_LINE_BREAK)):
        found = _FIELD.fullmatch(line)
        if found is None:
            raise BundleError("the header of a part is malformed")
        fields[found[1].decode("ascii").lower()] = found[2].decode("utf-8", errors="replace").strip()
    return fields

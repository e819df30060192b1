"""Read `multipart/related` responses while they arrive: bytes in, entries out. Pure.

Position alone identifies a part. Its Content-Location is passed on to be shown and never becomes a path. A response
without the closing delimiter is incomplete even if the connection was closed properly.

Servers differ from the standard: lines may end in LF, the header may announce no boundary or another type, and the body
may be one bare file. All of that is read; what is damaged is refused, because the caller can download the instances of
a response one by one.

Source: RFC 2046 §5.1, RFC 2387, PS3.18 §8.6.1.2 (parts are binary, without a Content-Transfer-Encoding); what servers
send, from the clients of DICOMweb and from Orthanc.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from enum import Enum, auto
from typing import Final

from bulkdl.errors import BundleError
from bulkdl.model.bundles import BundleEvent, BundleLimits, EntryData, EntryEnded, EntryStarted
from bulkdl.model.preamble import HEAD_BYTES, is_dicom

# RFC 2046 allows 70 characters; what Orthanc stores elsewhere has 73 (observed with 1.10.1).
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,127}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_FIRST_LINE: Final = re.compile(rb"--(%b)[ \t]*\r?\n" % _BOUNDARY.pattern.encode())
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_BINARY: Final = frozenset({"", "binary", "8bit", "7bit"})
_PART_TYPE: Final = "application/dicom"
_PART_TYPES: Final = frozenset({_PART_TYPE, "application/octet-stream"})
_TEXT_TYPES: Final = frozenset(
    {"application/json", "application/dicom+json", "application/xml", "application/xhtml+xml"}
)
_LINE_BREAK: Final = b"\r\n"
_MOST_HEADER_BYTES: Final = 16 << 10
_MOST_PADDING: Final = 128  # blanks between a delimiter and the end of its line
_MOST_OUTSIDE_BYTES: Final = 64 << 10  # before the first delimiter, and behind the last
_PIECE_BYTES: Final = 1 << 20
_SHOWN_CHARACTERS: Final = 80


class _Line(Enum):
    """What the rest of a line that begins like a delimiter makes of it."""

    PART = auto()  # a part follows
    END = auto()  # it is the closing delimiter
    DATA = auto()  # it is not a delimiter
    UNKNOWN = auto()  # it has not arrived yet


class MultipartReader:
    """Reads one response. Feed it every chunk, in order, and then `close` it.

    `content_type` is the header of the response. Every part must be of `application/dicom`, or state no type. A part
    that states its length has this length, whatever its bytes are, and is not searched for the delimiter; with
    `ignores_lengths` it is.

    Raises:
        BundleError: the header announces a text; or the response is damaged, incomplete or exceeds a limit.
    """

    def __init__(self, content_type: str, *, limits: BundleLimits | None = None, ignores_lengths: bool = False) -> None:
        self._token = _boundary_of(content_type)
        self._limits = limits or BundleLimits()
        self._ignores_lengths = ignores_lengths
        self._break = _LINE_BREAK
        self._buffer = b""
        self._at = 0  # the first unused byte of the buffer
        self._searched = 0  # where no delimiter begins before, if that is not before `_at`
        self._step: Callable[[MultipartReader], Iterable[BundleEvent]] = MultipartReader._look  # what to read next
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
        self._searched = max(0, self._searched - self._at)
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
        """The response has ended. Yields the end of a bare file."""
        if self._failure is not None:
            raise self._failure
        if self._step is MultipartReader._read_bare:
            yield EntryEnded(1, self._size_bytes)
        elif self._step is not MultipartReader._skip_rest:
            raise BundleError("the multipart body is truncated")

    def _skip(self, end: int) -> None:
        self._outside_bytes += end - self._at
        self._at = end
        if self._outside_bytes > _MOST_OUTSIDE_BYTES:
            raise BundleError(f"more than {_MOST_OUTSIDE_BYTES:,} bytes are outside the parts")

    @property
    def _delimiter(self) -> bytes:
        return self._break + b"--" + self._token

    def _find_delimiter(self) -> tuple[int, _Line]:
        """Where a delimiter begins, or may begin, and what its line says; else the end of what is surely before one."""
        delimiter = self._delimiter
        start = max(self._at, self._searched)
        while (found := self._buffer.find(delimiter, start)) >= 0:
            if (line := self._line_at(found + len(delimiter))) is not _Line.DATA:
                self._searched = found
                return found, line
            start = found + 1
        self._searched = max(start, len(self._buffer) - len(delimiter) + 1)
        return max(self._at, self._searched), _Line.UNKNOWN

    def _line_at(self, at: int) -> _Line:
        """What follows a boundary that ends at `at`."""
        ending = self._buffer[at : at + _MOST_PADDING + len(_LINE_BREAK)]
        if ending.startswith(b"--"):
            return _Line.END
        rest = ending.lstrip(b" \t")
        if rest.startswith(self._break):
            return _Line.PART
        is_open = len(ending) < _MOST_PADDING and (self._break.startswith(rest) or ending == b"-")
        return _Line.UNKNOWN if is_open else _Line.DATA

    # --- steps --------------------------------------------------------------------------------------------------------

    def _look(self) -> Iterator[BundleEvent]:
        """Whether the response is a bare file, and else what its boundary is and how its lines end."""
        start = self._buffer[: 2 * _MOST_PADDING].lstrip(b"\r\n")
        if start.startswith(b"--"):
            if (line := _FIRST_LINE.match(start)) is not None:
                self._token = self._token or line[1]
                self._break = _LINE_BREAK if line[0].endswith(_LINE_BREAK) else b"\n"
            is_end = self._token and start.startswith(b"--%b--" % self._token)  # the end of the response may follow
            if line is not None or is_end or len(start) >= _MOST_PADDING or b"\n" in start:
                self._begin()
        elif len(start) > 1 and is_dicom(self._buffer[:HEAD_BYTES]):
            self._step, self._position = MultipartReader._read_bare, 1
            yield EntryStarted(1, "", None)
        elif len(self._buffer) >= HEAD_BYTES or (self._token and self._delimiter in self._buffer):
            self._begin()

    def _begin(self) -> None:
        if not self._token:
            raise BundleError("the body is neither multipart nor a DICOM file")
        self._buffer = self._break + self._buffer  # the first delimiter needs no line break before it
        self._step = MultipartReader._skip_preamble

    def _read_bare(self) -> Iterator[BundleEvent]:
        return self._data(len(self._buffer))

    def _skip_rest(self) -> Iterable[BundleEvent]:
        self._skip(len(self._buffer))
        return ()

    def _skip_preamble(self) -> Iterable[BundleEvent]:
        found, line = self._find_delimiter()
        self._skip(found)
        self._pass(line)
        return ()

    def _pass(self, line: _Line) -> None:
        """Go behind a delimiter, if its line is known. The line break stays: the header of a part may be empty."""
        if line is _Line.UNKNOWN:
            return
        end = self._at + len(self._delimiter)
        if line is _Line.END:
            self._at, self._step = end + 2, MultipartReader._skip_rest
        else:
            self._at, self._step = self._buffer.index(self._break, end), MultipartReader._read_header

    def _read_header(self) -> Iterator[BundleEvent]:
        end_of_header = self._break * 2
        end = self._buffer.find(end_of_header, self._at, self._at + _MOST_HEADER_BYTES)
        if end < 0:
            if len(self._buffer) - self._at >= _MOST_HEADER_BYTES:
                raise BundleError(f"the header of a part is longer than {_MOST_HEADER_BYTES:,} bytes")
            return
        fields = _fields_of(self._buffer[self._at : end])
        _check(fields)
        self._at = end + len(end_of_header)
        self._position += 1
        if self._position > self._limits.max_entries:
            raise BundleError(f"the body has more than {self._limits.max_entries:,} parts")
        length = fields.get("content-length", "")
        self._announced = int(length) if _LENGTH.fullmatch(length) else None
        self._size_bytes = 0
        is_counted = self._announced is not None and not self._ignores_lengths
        self._step = MultipartReader._count_body if is_counted else MultipartReader._search_body
        yield EntryStarted(self._position, fields.get("content-location", ""), self._announced)

    def _count_body(self) -> Iterator[BundleEvent]:
        """A part that states its length: what looks like a delimiter in it is not one."""
        missing = (self._announced or 0) - self._size_bytes
        yield from self._data(min(len(self._buffer), self._at + missing))
        if self._size_bytes < (self._announced or 0):
            return
        delimiter = self._delimiter
        if not delimiter.startswith(self._buffer[self._at : self._at + len(delimiter)]):
            raise BundleError(f"no delimiter follows the {self._announced:,} bytes that a part announces")
        line = self._line_at(self._at + len(delimiter))
        if line is _Line.DATA:
            raise BundleError(f"no delimiter follows the {self._announced:,} bytes that a part announces")
        yield from self._end_entry(line)

    def _search_body(self) -> Iterator[BundleEvent]:
        found, line = self._find_delimiter()
        yield from self._data(found)
        yield from self._end_entry(line)

    def _end_entry(self, line: _Line) -> Iterator[BundleEvent]:
        self._pass(line)
        if line is not _Line.UNKNOWN:
            yield EntryEnded(self._position, self._size_bytes)

    def _data(self, end: int) -> Iterator[BundleEvent]:
        size_bytes = end - self._at
        self._size_bytes += size_bytes
        self._total_bytes += size_bytes
        if self._size_bytes > self._limits.max_entry_bytes or self._total_bytes > self._limits.max_total_bytes:
            raise BundleError("the body exceeds the limit of bytes")
        view = memoryview(self._buffer)
        start, self._at = self._at, end
        for at in range(start, end, _PIECE_BYTES):
            yield EntryData(view[at : min(at + _PIECE_BYTES, end)])


def _boundary_of(content_type: str) -> bytes:
    """The boundary that a header announces; empty where it announces none that is valid."""
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    kind = message.get_content_type() if "/" in content_type else ""
    if kind.startswith("text/") or kind in _TEXT_TYPES:
        raise BundleError(f"{content_type[:_SHOWN_CHARACTERS]!r} does not announce DICOM files")
    boundary = message.get_boundary("")
    return boundary.encode("ascii") if _BOUNDARY.fullmatch(boundary) else b""


def _check(fields: dict[str, str]) -> None:
    encoding = fields.get("content-transfer-encoding", "").lower()
    if encoding not in _BINARY:
        raise BundleError(f"a part has the transfer encoding {encoding[:_SHOWN_CHARACTERS]!r}")
    kind = fields.get("content-type", _PART_TYPE).partition(";")[0].strip().lower()
    if kind not in _PART_TYPES:
        raise BundleError(f"a part is {kind[:_SHOWN_CHARACTERS]!r} instead of {_PART_TYPE!r}")


def _fields_of(header: bytes) -> dict[str, str]:
    """The fields of a header by their names in lower case."""
    fields: dict[str, str] = {}
    for line in filter(None, _FOLD.sub(b" ", header).splitlines()):
        found = _FIELD.fullmatch(line)
        if found is None:
            raise BundleError("the header of a part is malformed")
        fields[found[1].decode("ascii").lower()] = found[2].decode("utf-8", errors="replace").strip()
    return fields

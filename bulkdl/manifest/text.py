"""The text of a manifest while it is read: its beginning, which shows the form, and its lines, as often as needed.

A manifest of a million Series has 100 MB of text, of which only a piece is held.
"""

import codecs
import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TypeAlias

from bulkdl.manifest.base import Remarks
from bulkdl.model.text import encoding_of

_PIECE: Final = 1 << 18
_HEAD: Final = 1 << 20
LONGEST_LINE: Final = 1 << 20
"""The most characters of a line of any manifest, and of a row of a table, which may have several lines."""

OpenFile: TypeAlias = Callable[[], BinaryIO]
"""Opens the content of a manifest at its beginning, each time that it is called."""


class ManifestText:
    """The text of a file that `open_file` opens. Everything that reads raises ManifestError if it cannot be read.

    The encoding is what the byte order mark says, or else UTF-8; and Latin-1 where that is invalid, because
    spreadsheets still write it. UIDs and names of columns are ASCII.
    """

    def __init__(self, open_file: OpenFile, remarks: Remarks, *, piece_bytes: int = _PIECE) -> None:
        self._open = open_file
        self._piece_bytes = piece_bytes
        self._remarks = remarks
        with open_file() as file:
            self._encoding = encoding_of(file.read(4))
        try:
            self._look()
        except UnicodeDecodeError:
            self._encoding = "latin-1"
            self._look()

    def _look(self) -> None:
        """Read all of it once: whether it can be decoded, is empty, or is binary."""
        self.is_empty, self.is_binary, self.head = True, False, ""
        for piece in self.pieces():
            self.is_empty = self.is_empty and not piece.strip()
            self.is_binary = self.is_binary or "\0" in piece
            if len(self.head) < _HEAD:
                self.head += piece

    def pieces(self) -> Iterator[str]:
        """The text in pieces of some size."""
        decoder = codecs.getincrementaldecoder(self._encoding)()
        with self._open() as file:
            while chunk := self._read(file):
                yield decoder.decode(chunk)
            yield decoder.decode(b"", final=True)

    def _read(self, file: BinaryIO) -> bytes:
        try:
            return file.read(self._piece_bytes)
        except OSError as error:
            raise self._remarks.error(f"cannot be read: {error.strerror or error}") from error

    def lines(self) -> Iterator[str]:
        """The lines with their ends, of any system. Raises ManifestError: one is longer than any line of a manifest."""
        number = 0
        with self._open() as file, io.TextIOWrapper(file, encoding=self._encoding, newline="") as text:
            try:
                while line := text.readline(LONGEST_LINE):
                    number += 1
                    if len(line) == LONGEST_LINE:
                        raise self._remarks.error(f"the line has more than {LONGEST_LINE:,} characters", number)
                    yield line
            except OSError as error:
                raise self._remarks.error(f"cannot be read: {error.strerror or error}") from error

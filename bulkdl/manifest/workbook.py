"""Read workbooks: the "TCIA digest" and other sheets in Excel's form (XLSX, ECMA-376), row by row.

A workbook is a zip of XML files; `sheet_xml` reads these while they are decompressed. Libraries for workbooks are ten
times slower with the 36 columns of a digest, or hold a sheet as one rectangle, which a single stray cell in the last
column makes larger than any memory. The sizes are checked before anything is decompressed.
"""

import os
import posixpath
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import IO, BinaryIO, Final

from bulkdl.errors import ManifestError
from bulkdl.manifest.base import ManifestReading, ManifestRow, Remarks
from bulkdl.manifest.sheet_xml import Attributes, attributes_of, rows_in, strings_in
from bulkdl.manifest.stored_texts import StoredTexts
from bulkdl.manifest.tabular import read_table
from bulkdl.manifest.text import OpenFile
from bulkdl.model.text import one_line

ZIP: Final = b"PK\x03\x04"
_MOST_BYTES: Final = 2 << 30
_MOST_BYTES_IN_MEMORY: Final = 256 << 20
# Sheets shrink to a tenth, those of equal rows to a hundredth. What grows far more is made to take time.
_MOST_GROWTH: Final = 400
_ALWAYS_ALLOWED: Final = 64 << 20


def read(open_file: OpenFile, remarks: Remarks) -> ManifestReading:
    """Read the first sheet that is a manifest; lines are its rows. Raises ManifestError, as the rows do: none is."""
    with ExitStack() as stack:
        try:
            package = _Package(stack.enter_context(open_file()))
            sheets, strings = package.sheets(), package.strings(stack)
        except Exception as error:
            raise _unreadable(error, remarks) from error
        refused: ManifestError | None = None
        for sheet in sheets:
            try:
                reading = read_table(partial(_rows, package, sheet, strings, remarks), "xlsx", remarks)
            except ManifestError as error:
                refused = refused or error
            else:
                return replace(reading, rows=_closing(reading.rows, stack.pop_all()))
        raise refused or remarks.error("the workbook has no sheet: save it as CSV")


def _closing(rows: Iterator[ManifestRow], files: ExitStack) -> Iterator[ManifestRow]:
    with files:
        yield from rows


class _Package:
    """The parts of a workbook that hold sheets and texts. Raises any exception: it is damaged, or too large."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file)
        size_bytes = sum(member.file_size for member in self._zip.infolist())
        if size_bytes > min(_MOST_BYTES, max(_ALWAYS_ALLOWED, _MOST_GROWTH * file.seek(0, os.SEEK_END))):
            raise ValueError(f"it grows to {size_bytes:,} bytes")
        (self._workbook,) = self._related("", "officeDocument").values()
        self._texts = self._related(self._workbook, "sharedStrings")
        self._sheets = self._related(self._workbook, "worksheet")

    def sheets(self) -> list[str]:
        """The names of the parts with sheets, in the order of the workbook."""
        with self._open(self._workbook, at_most=_MOST_BYTES_IN_MEMORY) as file:
            ids = [_id_of(each) for each in attributes_of(file, "sheet")]
        return [self._sheets[each] for each in ids if each in self._sheets]

    def strings(self, stack: ExitStack) -> StoredTexts:
        """The texts that cells refer to by number, until `stack` ends."""
        found = StoredTexts()
        stack.callback(found.close)
        for part in self._texts.values():
            with self._open(part, at_most=_MOST_BYTES) as file:
                for text in strings_in(file):
                    found.add(text)
        return found

    def open(self, part: str) -> IO[bytes]:
        """A part while it is decompressed; it ends at the size that the zip states."""
        return self._open(part, at_most=_MOST_BYTES)

    def _open(self, part: str, *, at_most: int) -> IO[bytes]:
        member = self._zip.getinfo(part)
        if member.file_size > at_most:
            raise ValueError(f"{part} is too large")
        return self._zip.open(member)

    def _related(self, part: str, kind: str) -> dict[str, str]:
        """The parts of a kind that `part` refers to, by the id of the reference."""
        folder, name = posixpath.split(part)
        with self._open(posixpath.join(folder, "_rels", f"{name}.rels"), at_most=_MOST_BYTES_IN_MEMORY) as file:
            found = [each for each in attributes_of(file, "Relationship") if each["Type"].endswith(f"/{kind}")]
        return {each["Id"]: posixpath.normpath(posixpath.join("/", folder, each["Target"]))[1:] for each in found}


def _id_of(attributes: Attributes) -> str:
    """The id of a reference, whose name has a prefix that the file chooses."""
    return next((value for name, value in attributes.items() if name.endswith(":id")), "")


def _rows(package: _Package, sheet: str, strings: StoredTexts, remarks: Remarks) -> Iterator[tuple[int, list[str]]]:
    try:
        with package.open(sheet) as file:
            yield from rows_in(file, strings)
    except Exception as error:
        raise _unreadable(error, remarks) from error


def _unreadable(error: Exception, remarks: Remarks) -> ManifestError:
    """A damaged workbook raises any exception, from that of its zip to those of its XML."""
    message = one_line(f"{type(error).__name__}: {error}")[:200]
    return remarks.error(f"this is a zip file that is not a workbook, or a damaged one ({message}): save it as CSV")

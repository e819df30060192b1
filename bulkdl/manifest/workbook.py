"""Read workbooks: the "TCIA digest" and other sheets in Excel's form (XLSX), row by row, by openpyxl.

A workbook is a zip, so its size is checked before anything is decompressed. Faster libraries hold a sheet as one
rectangle, which a single stray cell in the last column makes larger than any memory.
"""

import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any, Final

from bulkdl.errors import ManifestError
from bulkdl.manifest.base import ManifestReading, Remarks
from bulkdl.manifest.tabular import read_table
from bulkdl.model.text import one_line

ZIP: Final = b"PK\x03\x04"
_MOST_BYTES: Final = 2 << 30


def read(content: bytes, remarks: Remarks) -> ManifestReading:
    """Read the first sheet that is a manifest; lines are its rows. Raises ManifestError, as the rows do: none is."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            size_bytes = sum(member.file_size for member in members.infolist())
        sheets = _sheets(content) if size_bytes <= _MOST_BYTES else []
    except Exception as error:
        raise _unreadable(error, remarks) from error
    refused: ManifestError | None = None
    for sheet in sheets:
        try:
            return read_table(_rows(sheet, remarks), "xlsx", remarks)
        except ManifestError as error:
            refused = refused or error
    raise refused or remarks.error("the workbook has no sheet, or is too large: save it as CSV")


def _sheets(content: bytes) -> list[Any]:
    from openpyxl import load_workbook  # noqa: PLC0415 - late: few manifests are workbooks

    with warnings.catch_warnings(action="ignore"):  # of styles and extensions that it does not know
        return list(load_workbook(io.BytesIO(content), read_only=True, data_only=True).worksheets)


def _rows(sheet: Any, remarks: Remarks) -> Iterator[tuple[int, list[str]]]:
    try:
        sheet.reset_dimensions()  # other programs write wrong ones, and cells beyond them are left out then
        for line, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            if any(cell is not None for cell in row):
                yield line, ["" if cell is None else _text(cell) for cell in row]
    except Exception as error:
        raise _unreadable(error, remarks) from error


def _text(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _unreadable(error: Exception, remarks: Remarks) -> ManifestError:
    """A damaged workbook raises any exception, from that of its zip to those of its XML."""
    message = one_line(f"{type(error).__name__}: {error}")[:200]
    return remarks.error(f"this is a zip file that is not a workbook, or a damaged one ({message}): save it as CSV")

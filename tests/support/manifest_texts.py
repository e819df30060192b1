"""Manifests from strings and from rows: the text that readers take, and workbooks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from io import BytesIO

import openpyxl

from bulkdl.manifest.base import Remarks
from bulkdl.manifest.text import ManifestText


def text_of(text: str) -> ManifestText:
    """The text, to be read by a reader of manifests."""
    return ManifestText(partial(BytesIO, text.encode()), Remarks("-"))


def workbook(*sheets: Sequence[Sequence[object]]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()

"""Readers and writers of manifests: content in, rows or a `Manifest` out. The caller opens the file.

The format is detected from the content, never from the file name. To add a format, add a module here and a line in
`_reader_of`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from itertools import chain
from typing import Final, TypeAlias

from bulkdl.manifest import drs, locked, plain, s5cmd, structured, tabular, tcia, workbook, zstandard
from bulkdl.manifest.base import Manifest, ManifestReading, ManifestRow, Remarks, Text, collect, lines
from bulkdl.manifest.text import ManifestText, OpenFile
from bulkdl.model.preamble import is_dicom
from bulkdl.model.text import encoding_of

__all__ = ["Manifest", "ManifestReading", "ManifestRow", "collect", "is_binary", "open_manifest", "read_manifest"]

_SUPPORTED: Final = (
    "supported are NBIA .tcia, CSV, TSV, workbooks, JSON and JSON Lines with a column of UIDs, lists of series UIDs, "
    "s5cmd manifests of the Imaging Data Commons, and manifests of DRS identifiers"
)
_BEGINNING: Final = 1 << 12
_BINARY: Final = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as XLSX or CSV"),
    (b"\x1f\x8b", "a gzip file: decompress it first"),
    (b"%PDF", "a PDF document"),
)

_TextReader: TypeAlias = Callable[[Text, Remarks], ManifestReading]


def read_manifest(content: bytes | OpenFile, *, source: str, skip_bad_lines: bool = False) -> Manifest:
    """Read a manifest of any supported format. Messages call it `source`.

    Raises ManifestError: it is empty, its format is not supported (the message names the format), or a line is invalid.
    """
    return collect(open_manifest(content, source=source, skip_bad_lines=skip_bad_lines))


def open_manifest(content: bytes | OpenFile, *, source: str, skip_bad_lines: bool = False) -> ManifestReading:
    """As `read_manifest`, row by row: a manifest may name millions of instances.

    `content` may be a function that opens it, several times: only a piece of the content is held then.
    """
    remarks = Remarks(source, skip_bad_lines=skip_bad_lines)
    open_file = partial(BytesIO, content) if isinstance(content, bytes) else content
    with open_file() as file:
        beginning = file.read(_BEGINNING)
    if beginning.startswith(workbook.ZIP):
        return workbook.read(open_file, remarks)
    if beginning.startswith(zstandard.MAGIC):
        return _read_compressed(open_file, remarks)
    for magic, what in _BINARY:
        if beginning.startswith(magic):
            raise remarks.error(f"this is {what}; {_SUPPORTED}")
    if is_dicom(beginning):
        raise remarks.error(f"this is a DICOM file; {_SUPPORTED}")
    text = ManifestText(open_file, remarks)
    if text.is_binary:
        raise remarks.error(f"this is a binary file; {_SUPPORTED}")
    if text.is_empty:
        raise remarks.error("the manifest is empty: it lists no series")
    return _reader_of(text.head, remarks)(text, remarks)


def is_binary(beginning: bytes) -> bool:
    """Whether content that begins so is a binary file of no supported format, whatever follows."""
    if beginning.startswith((workbook.ZIP, zstandard.MAGIC)):
        return False
    return "\0" in beginning.decode(encoding_of(beginning), errors="replace")


def _read_compressed(open_file: OpenFile, remarks: Remarks) -> ManifestReading:
    """Read a lock, the one form that is compressed, while it is decompressed."""
    decompressed = _decompressed(open_file, remarks)
    first = next(decompressed, "")
    if not locked.recognises(first):
        raise remarks.error(f"this is a Zstandard file that is not a lock: decompress it first; {_SUPPORTED}")
    return locked.read(chain((first,), decompressed), remarks)


def _decompressed(open_file: OpenFile, remarks: Remarks) -> Iterator[str]:
    with open_file() as file:
        yield from zstandard.text_lines(file, remarks)


def _reader_of(text: str, remarks: Remarks) -> _TextReader:
    if locked.recognises(text):
        return lambda text, remarks: locked.read(text.lines(), remarks)
    if structured.recognises(text):
        return structured.read
    if (what_else := _other_text(text)) is not None:
        raise remarks.error(f"this is {what_else}")
    if tcia.recognises(text):
        return tcia.read
    if s5cmd.recognises(text):
        return s5cmd.read
    if drs.recognises(text):
        return drs.read
    return plain.read if plain.recognises(text) else tabular.read


def _other_text(text: str) -> str | None:
    """What a text is that is not a manifest, with what to do."""
    words = (line.split() for line in lines(text) if not line.startswith("#"))
    first = next(filter(None, words), ["#"])
    address = first[0].casefold() if first[0].casefold().startswith(("https://", "http://")) else ""
    if "faspex" in address or "aspera" in address:
        return "a link to an Aspera package, which is not DICOM over HTTP: open it in a browser with IBM Aspera Connect"
    if address:
        return f"a list of web addresses: download the manifest behind the address first; {_SUPPORTED}"
    if first[0].startswith("<"):
        return f"XML or HTML; {_SUPPORTED}"
    return None

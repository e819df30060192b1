"""Readers of manifests: content in, `Manifest` out. The caller opens the file.

`read_manifest` detects the format from the content, never from the file name. To add a format, add a module here and a
line in `read_manifest`.
"""

from bulkdl.errors import ManifestError
from bulkdl.manifest import plain, tabular, tcia
from bulkdl.manifest.base import Manifest
from bulkdl.model.preamble import is_dicom
from bulkdl.model.text import decoded

__all__ = ["Manifest", "read_manifest"]

_SUPPORTED = "supported are NBIA .tcia, CSV and TSV with a column of series UIDs, and plain lists of series UIDs"
_BINARY = (
    (b"PK\x03\x04", "an XLSX workbook or another zip file: save its sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save its sheet as CSV"),
    (b"\x1f\x8b", "a gzip file: decompress it first"),
    (b"%PDF", "a PDF document"),
)


def read_manifest(content: bytes, *, source: str) -> Manifest:
    """Read a manifest of any supported format. Messages call it `source`.

    Raises ManifestError: it is empty, its format is not supported (the message names the format), or a line is invalid.
    """
    for magic, what in _BINARY:
        if content.startswith(magic):
            raise ManifestError(f"this is {what}; {_SUPPORTED}", source=source)
    if is_dicom(content):
        raise ManifestError(f"this is a DICOM file; {_SUPPORTED}", source=source)
    text = _decode(content, source)
    if not text.strip():
        raise ManifestError("the manifest is empty: it lists no series", source=source)
    if (what_else := _other_text(text)) is not None:
        raise ManifestError(f"this is {what_else}; {_SUPPORTED}", source=source)
    if tcia.recognises(text):
        return tcia.parse(text, source=source)
    if plain.recognises(text):
        return plain.parse(text, source=source)
    return tabular.parse(text, source=source)


def _decode(content: bytes, source: str) -> str:
    try:
        text = decoded(content)
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # spreadsheets still write it; UIDs and column names are ASCII
    if "\0" in text:
        raise ManifestError(f"this is a binary file; {_SUPPORTED}", source=source)
    return text


def _other_text(text: str) -> str | None:
    lines = (stripped for line in text.splitlines() if (stripped := line.strip()) and not stripped.startswith("#"))
    first = next(lines, "#")
    if first.startswith(("{", "[")):
        return "JSON"
    if first.startswith("<"):
        return "XML or HTML"
    words = first.split()
    if words[0] in {"cp", "s5cmd"} and any(word.startswith(("s3://", "gs://")) for word in words):
        return "an s5cmd manifest of the Imaging Data Commons"
    return None

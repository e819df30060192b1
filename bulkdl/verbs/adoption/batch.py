"""Examine a batch of files for `adopt`, and import it into the mirror; blocking.

Batches, because the way to another process costs as much as a small file. A file of usual size is read once; its
header, its validation and its checksums come from the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from bulkdl.dicom.header import Header, read_header
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.dicom.validation import validate
from bulkdl.errors import BulkdlError, InstanceError, InvalidInstance, MirrorUnwritable
from bulkdl.fetch.digests import digests_of_source
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.preamble import HEAD_BYTES, is_bare_data_set, is_dicom, may_inflate
from bulkdl.model.settings import ValidationLevel
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportJob, import_files

_IN_MEMORY_BYTES: Final = 8 << 20
_HEAD_BYTES: Final = HEAD_BYTES + 1024
_ZIP: Final = b"PK\x03\x04"
_DICOMDIR: Final = "DICOMDIR"
_UNREADABLE: Final = "unreadable"

Source: TypeAlias = str | bytes
"""The path of a file, or the bytes of an entry of a zip."""


class FileKind(StrEnum):
    """What a file is that is not examined here."""

    ZIP = "zip"
    OTHER = "other"  # neither DICOM nor a zip
    INFLATING = "inflating"  # an instance that needs far more memory than it has bytes


class Refused(NamedTuple):
    """Why a file is not adopted: the code of the error, and the message."""

    error: str
    message: str


class Examined(NamedTuple):
    """A valid instance, with its header where that was asked for, or where it is the first of its Series.

    Flat, because tuples of texts and numbers get from one process to another in a third of the time.
    """

    series_uid: SeriesUid
    sop_uid: SopInstanceUid
    size_bytes: int
    md5: bytes | None
    sha256: bytes
    transfer_syntax_uid: str
    notes: tuple[str, ...]
    header: Header | None


Finding: TypeAlias = Examined | Header | Refused | FileKind


@dataclass(frozen=True, slots=True)
class Examination:
    """What to find out of files. Without a `level` it is their headers alone."""

    sources: tuple[Source, ...]
    level: ValidationLevel | None
    with_md5: bool = True
    with_headers: bool = False
    may_inflate: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """Files to import into a mirror, as `import_files` does; always the same one for a `BatchWorker`."""

    root: Path
    is_private: bool
    jobs: tuple[ImportJob, ...]
    may_link: bool


def examine(question: Examination) -> tuple[Finding, ...]:
    """The finding on each source, in order: its header, or whether it is valid, and what identifies it."""
    with suppressed_pydicom_warnings:  # once for all: it costs a tenth of a small file
        return tuple(_findings(question))


def _findings(question: Examination) -> Iterator[Finding]:
    seen: set[SeriesUid] = set()
    for source in question.sources:
        try:
            finding = _examine_one(source, question, seen)
        except (InstanceError, OSError) as error:
            finding = Refused(getattr(error, "code", _UNREADABLE), getattr(error, "strerror", None) or str(error))
        if isinstance(finding, Examined):
            seen.add(finding.series_uid)
        yield finding


def _examine_one(source: Source, question: Examination, seen: set[SeriesUid]) -> Finding:
    content = _read(source)
    head = content[:_HEAD_BYTES] if isinstance(content, bytes) else _head(content)
    if (kind := _kind(source, head)) is not None:
        return kind
    if question.level is None:
        return read_header(content)
    if may_inflate(head) and not question.may_inflate:
        return FileKind.INFLATING
    found = validate(content, level=question.level)
    digests = digests_of_source(content, with_md5=question.with_md5)
    return Examined(
        series_uid=found.series_uid,
        sop_uid=found.sop_uid,
        size_bytes=digests.size_bytes,
        md5=digests.md5,
        sha256=digests.sha256,
        transfer_syntax_uid=found.transfer_syntax_uid,
        notes=found.notes,
        header=read_header(content) if question.with_headers or found.series_uid not in seen else None,
    )


def _read(source: Source) -> bytes | Path:
    """The bytes of a source, or the path of a large file."""
    if isinstance(source, bytes):
        return source
    with FileIO(source) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > _IN_MEMORY_BYTES:
            return Path(source)
        content = file.read(size_bytes + 1)
    return content if len(content) <= size_bytes else Path(source)  # it grows


def _head(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(_HEAD_BYTES)


def _kind(source: Source, head: bytes) -> FileKind | None:
    """What a file is; None if it is an instance. InvalidInstance: a data set without preamble."""
    if is_dicom(head):
        is_directory = isinstance(source, str) and source.rpartition("/")[2].upper() == _DICOMDIR
        return FileKind.OTHER if is_directory else None
    if head.startswith(_ZIP):
        return FileKind.ZIP
    if is_bare_data_set(head) and len(head) >= HEAD_BYTES:
        raise InvalidInstance("no DICOM preamble and meta information (PS3.10 §7.1)")
    return FileKind.OTHER


class BatchWorker:
    """Answers the questions of `adopt`. Threads may share one."""

    def __init__(self) -> None:
        self._files: MirrorFiles | None = None

    def answer(self, question: Examination | Import) -> tuple[Finding, ...] | list[int | None] | BulkdlError:
        """The findings on files; or of imported files the mtimes, as `import_files` gives them; or why that failed."""
        try:
            if isinstance(question, Examination):
                return examine(question)
            if self._files is None:
                self._files = MirrorFiles(question.root, private=question.is_private)
            return import_files(self._files, question.jobs, may_link=question.may_link)
        except BulkdlError as error:
            return error
        except MemoryError:
            return MirrorUnwritable("not enough memory; everything finished is saved: free some, then adopt again")

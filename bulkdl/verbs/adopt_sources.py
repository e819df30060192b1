"""Find the instances to adopt in a folder of another program: files, entries of zips, and the Collections in tables.

Everything here blocks.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bulkdl.dicom.header import Header, read_header
from bulkdl.dicom.validation import ValidationResult
from bulkdl.errors import BundleError, InstanceError, InvalidInstance, ManifestError
from bulkdl.fetch.digests import Digests
from bulkdl.manifest import open_manifest
from bulkdl.model.bundles import EntryData, EntryEnded, EntryStarted
from bulkdl.model.preamble import HEAD_BYTES, is_bare_data_set, is_dicom
from bulkdl.model.records import InstanceKey
from bulkdl.store.bundles import BundleReader
from bulkdl.store.importing import SourceFile, source_files

_BATCH: Final = 200
_BATCH_BYTES: Final = 64 << 20
_READ_BYTES: Final = 1 << 20
_ZIP: Final = b"PK\x03\x04"
_LARGEST_TABLE_BYTES: Final = 256 << 20

Reject = Callable[[str, str, str], None]
"""Record that a file is not adopted: its path, the code of the error, the message."""


@dataclass(slots=True)
class Candidate:
    """An instance that was found: the path of a file, or the bytes of an entry of a zip. `found` is for messages."""

    found: str
    header: Header
    source: Path | bytes
    size_bytes: int
    digests: Digests = field(init=False)  # of a valid one
    validation: ValidationResult = field(init=False)
    replaces: bool = False  # a shorter file that the same run has adopted
    place: str = ""  # in the mirror

    @property
    def key(self) -> InstanceKey:
        """What the journal knows the instance by."""
        return InstanceKey(self.header.series_uid, self.header.sop_uid)


@dataclass(slots=True)
class CandidateFinder:
    """Finds the instances below `folder`, without those of the mirror at `mirror`. `others` counts all other files."""

    folder: Path
    mirror: Path
    reject: Reject
    is_stopped: Callable[[], bool]
    others: int = 0

    def batches(self) -> Iterator[list[Candidate]]:
        """The instances, in the order of the folder, until it is stopped."""
        batch: list[Candidate] = []
        size_bytes = 0
        for candidate in self._candidates():
            batch.append(candidate)
            size_bytes += candidate.size_bytes
            if len(batch) >= _BATCH or size_bytes >= _BATCH_BYTES:
                yield batch
                batch, size_bytes = [], 0
        if batch:
            yield batch

    def _candidates(self) -> Iterator[Candidate]:
        for file in source_files(self.folder, but=self.mirror):
            if self.is_stopped():
                return
            try:
                with file.path.open("rb") as opened:
                    head = opened.read(HEAD_BYTES)
            except OSError as error:
                self.reject(file.shown, "unreadable", error.strerror or str(error))
                continue
            if is_dicom(head) and file.path.name.upper() != "DICOMDIR":
                yield from self._read(file.shown, file.path, file.size_bytes)
            elif head.startswith(_ZIP):
                yield from self._unzip(file)
            elif is_bare_data_set(head) and len(head) == HEAD_BYTES:
                missing = "no DICOM preamble and meta information (PS3.10 §7.1)"
                self.reject(file.shown, InvalidInstance.code, missing)
            else:
                self.others += 1

    def _read(self, shown: str, source: Path | bytes, size_bytes: int) -> Iterator[Candidate]:
        try:
            candidate = Candidate(shown, read_header(source), source, size_bytes)
        except InstanceError as error:
            self.reject(shown, error.code, str(error))
        else:
            yield candidate

    def _unzip(self, file: SourceFile) -> Iterator[Candidate]:
        """The instances in a zip; its other entries are ignored. The zip stays in place."""
        reader = BundleReader()
        name, content = "", bytearray()
        try:
            with file.path.open("rb") as opened:
                while True:
                    chunk = opened.read(_READ_BYTES)
                    for event in reader.feed(chunk) if chunk else reader.close():
                        match event:
                            case EntryStarted():
                                name, content = event.name, bytearray()
                            case EntryData():
                                content += event.data
                            case EntryEnded() if is_dicom(content):
                                yield from self._read(f"{file.shown}: {name}", bytes(content), len(content))
                            case _:
                                pass
                    if not chunk:
                        return
        except (BundleError, OSError) as error:
            self.reject(file.shown, BundleError.code, f"the zip is incomplete: {error}")


def collection_by_folder(found: str, patient_id: str | None) -> str:
    """The name of the folder above the one with the name of the Patient; empty if there is none."""
    folders = found.split("/")[:-1]
    if patient_id in folders[1:]:
        return folders[folders.index(patient_id, 1) - 1]
    return ""


def collections_in_tables(folder: Path) -> dict[str, str]:
    """Collections by Series, from the tables in `folder` and in the folders directly below it."""
    found: dict[str, str] = {}
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*/*.csv")]):
        with suppress(OSError, ManifestError):
            if path.is_file() and path.stat().st_size <= _LARGEST_TABLE_BYTES:
                rows = open_manifest(path.read_bytes(), source=str(path), skip_bad_lines=True).rows
                found.update((row.series_uid, row.collection) for row in rows if row.series_uid and row.collection)
    return found

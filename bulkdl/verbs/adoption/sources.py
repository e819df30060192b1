"""Find what to adopt in a folder of another program: files, entries of zips, and the Collections in tables.

Everything here blocks.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from bulkdl.dicom.header import Header
from bulkdl.errors import BundleError, ManifestError
from bulkdl.fetch.digests import Digests
from bulkdl.manifest import open_manifest
from bulkdl.model.bundles import EntryData, EntryEnded, EntryStarted
from bulkdl.model.preamble import is_dicom
from bulkdl.model.records import InstanceKey
from bulkdl.store.bundles import BundleReader
from bulkdl.store.importing import source_files
from bulkdl.store.safe_names import fold
from bulkdl.verbs.adoption.batch import Examined, Source

_BATCH: Final = 256
_BATCH_BYTES: Final = 64 << 20
_READ_BYTES: Final = 1 << 20
_LARGEST_TABLE_BYTES: Final = 256 << 20


Reject = Callable[[str, str, str], None]
"""Record that a file is not adopted: its path, the code of the error, the message."""


class SourceItem(NamedTuple):
    """What may be an instance: the path of a file, or the bytes of an entry of a zip. `found` is for messages."""

    found: str
    source: Source
    size_bytes: int


@dataclass(slots=True)
class Candidate:
    """A valid instance that was found. `header` is None where another one of its batch and Series has it."""

    item: SourceItem
    key: InstanceKey
    digests: Digests
    transfer_syntax_uid: str
    notes: tuple[str, ...]
    header: Header | None
    replaces: bool = False  # a shorter file that the same run has adopted
    place: str = ""  # in the mirror
    mtime_ns: int = 0  # of the file in the mirror

    @property
    def place_key(self) -> str:
        """The same for places that some file system takes for one."""
        return fold(self.place)


def candidate_of(item: SourceItem, found: Examined) -> Candidate:
    """The candidate that a finding describes."""
    key = InstanceKey(found.series_uid, found.sop_uid)
    digests = Digests(found.size_bytes, found.md5, found.sha256)
    return Candidate(item, key, digests, found.transfer_syntax_uid, found.notes, found.header)


def batches_of(items: Iterator[SourceItem]) -> Iterator[list[SourceItem]]:
    """The same items in groups of bounded number and size."""
    batch: list[SourceItem] = []
    size_bytes = 0
    for item in items:
        batch.append(item)
        size_bytes += item.size_bytes
        if len(batch) >= _BATCH or size_bytes >= _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def items_below(folder: Path, mirror: Path, is_stopped: Callable[[], bool]) -> Iterator[SourceItem]:
    """The files below `folder`, without those of the mirror at `mirror`, in the order of their names."""
    for file in source_files(folder, but=mirror):
        if is_stopped():
            return
        yield SourceItem(file.shown, file.path, file.size_bytes)


def items_of_zip(zipped: SourceItem, reject: Reject) -> Iterator[SourceItem]:
    """The DICOM files in a zip; its other entries are ignored. The zip stays in place."""
    reader = BundleReader()
    name, content = "", bytearray()
    try:
        with Path(str(zipped.source)).open("rb") as opened:
            while True:
                chunk = opened.read(_READ_BYTES)
                for event in reader.feed(chunk) if chunk else reader.close():
                    match event:
                        case EntryStarted():
                            name, content = event.name, bytearray()
                        case EntryData():
                            content += event.data
                        case EntryEnded() if is_dicom(content):
                            yield SourceItem(f"{zipped.found}: {name}", bytes(content), len(content))
                        case _:
                            pass
                if not chunk:
                    return
    except (BundleError, OSError) as error:
        reject(zipped.found, BundleError.code, f"the zip is incomplete: {error}")


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

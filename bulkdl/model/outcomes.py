"""Work for a worker, its outcomes, and the states of an instance in the journal, with the ways between them.

owed ──► held ──► withdrawn   (and back, if the archive offers it again)
 ▲ │      │
 │ ├──► failed        (given up for this run; owed again in the next)
 │ └──► quarantined   (the file is invalid; owed again in the next)
 └────────┘           (verify --repair found it damaged)

Work and outcomes are plain values that cross threads and processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Entry, Series

NOT_DECODED: Final = "pixels not decoded"
"""How the note of an instance begins whose pixels should have been decoded, and which no installed decoder supports.

The journal counts these notes (`v_not_decoded`).
"""

NOT_CHECKED: Final = "content not checked"
"""How the note of a file begins that is not DICOM, and of which only length and checksum are known to be right."""

BESIDE: Final = "kept beside another file: two objects of the archive are instance"
"""How the note of an instance begins whose SOP Instance UID another entry of its Series has as well."""


class InstanceState(StrEnum):
    """The state of one instance between two runs."""

    OWED = "owed"
    HELD = "held"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    WITHDRAWN = "withdrawn"


class Outcome(StrEnum):
    """How one instance ended a run."""

    FETCHED = "fetched"
    REUSED = "reused"
    FAILED = "failed"
    QUARANTINED = "quarantined"


STATE_AFTER: Final = {
    Outcome.FETCHED: InstanceState.HELD,
    Outcome.REUSED: InstanceState.HELD,
    Outcome.FAILED: InstanceState.FAILED,
    Outcome.QUARANTINED: InstanceState.QUARANTINED,
}


@dataclass(frozen=True, slots=True)
class FileNaming:
    """How the files of a Series are named by a layout that names them when their headers are known.

    `former` are the names, by SOP Instance UID, of files that the archive has replaced: a new one takes its place.
    """

    template: str
    series: Series
    former: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesWork:
    """A Series with the instances it still owes, in the order to fetch them.

    `folder` is the Series' folder relative to the mirror, with `/`; `names` are the file names of the owed instances in
    it, as many as `entries`, None where the name is not known before the file. `naming` says how it is made then, None
    where it is made of the SOP Instance UID. `image_count` and `size_bytes` are what
    the archive says of the whole Series; `whole` is True where all of it is owed. `taken` are the names of files that
    belong to other entries of the Series; it is empty where the names of all `entries` are known.
    """

    series_uid: SeriesUid
    study_uid: str | None
    folder: str
    entries: tuple[Entry, ...]
    names: tuple[str | None, ...]
    image_count: int | None = None
    size_bytes: int | None = None
    whole: bool = False
    taken: frozenset[str] = frozenset()
    naming: FileNaming | None = None

    @property
    def mean_bytes(self) -> float:
        """What one of the instances has on average, by the list or else by the whole Series; 0 if that is not known."""
        if listed := sum(entry.size_bytes or 0 for entry in self.entries):
            return listed / len(self.entries)
        return (self.size_bytes or 0) / (self.image_count or len(self.entries))


class InstanceOutcome(NamedTuple):
    """The one outcome of one instance; a tuple, because each one is made, sent to another process and read there.

    `key` is that of its entry at the archive. `sop_uid` is None where the archive does not list it and no valid file
    was downloaded. `name` is the name that its file got in this run, where it is not `<sop_uid>.dcm`.
    Of a held instance `size_bytes`, `md5` (None if the archive knows none), `sha256` (digests, 16 and 32 bytes),
    `mtime_ns`, `transfer_syntax_uid` and `sop_class_uid` (where it is known) are those of the file in the mirror;
    `notes` are oddities that were accepted.
    Of the others `error` is the code of `bulkdl.errors`, `message` one line, `attempts` how often it was tried in this
    run.
    """

    series_uid: SeriesUid
    key: str
    sop_uid: SopInstanceUid | None
    outcome: Outcome
    attempts: int = 0
    size_bytes: int = 0
    md5: bytes | None = None
    sha256: bytes | None = None
    mtime_ns: int = 0
    transfer_syntax_uid: str | None = None
    sop_class_uid: str | None = None
    notes: tuple[str, ...] = ()
    name: str | None = None
    error: str | None = None
    message: str | None = None

    @property
    def is_not_decoded(self) -> bool:
        """Whether its pixels should have been decoded and were not."""
        return any(note.startswith(NOT_DECODED) for note in self.notes)

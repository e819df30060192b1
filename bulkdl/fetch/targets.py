"""Where the entries of a Series belong in the mirror, and what becomes of them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from bulkdl.dicom.header import read_header
from bulkdl.errors import BundleError, InstanceError, RequestFailed
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_plain_file, is_uid
from bulkdl.model.outcomes import FileNaming, InstanceOutcome, Outcome, SeriesWork
from bulkdl.model.records import Entry, InstanceKey
from bulkdl.store.layout import InstanceNumbers, beside_name, instance_name, parse_layout, special_name
from bulkdl.store.safe_names import fold

_LABEL: Final = re.compile(r"\.x[0-9a-f]{8}\.dcm\Z")
_MARGIN_TIMES: Final = 16
_MARGIN_BYTES: Final = 64 << 20


class FileNames:
    """The file names in the folder of a Series that belong to its entries: each belongs to one.

    `lying` are the names of files in the folder to which no entry of the list belongs: the archive has replaced them.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(map(fold, taken))
        self.lying: frozenset[str] = frozenset()

    def claim(self, name: str) -> bool:
        """Take `name` for an entry; False if another entry has it."""
        key = fold(name)
        is_free = key not in self._taken
        self._taken.add(key)
        return is_free

    def release(self, name: str) -> None:
        """Give back a claimed name: its file was not written."""
        self._taken.discard(fold(name))


class Target(NamedTuple):
    """Where an entry belongs: the folder of its Series, relative to the mirror, and its file name.

    `sop_uid` is None while the SOP Instance UID is not known, and `name` until the file is there, if it is made of
    values that only the file has; `placed` is the same target then. `naming` says how the name is made.
    `most_bytes` is what the file may have at most, None where the archive says nothing about sizes. `study_uid` is that
    of the Series, where its entries are known by nothing else.
    """

    series_uid: SeriesUid
    entry: Entry
    folder: str
    name: str | None
    sop_uid: SopInstanceUid | None
    names: FileNames
    most_bytes: int | None = None
    study_uid: str | None = None
    naming: FileNaming | None = None

    @property
    def expected(self) -> InstanceKey | None:
        """The instance that the file has to be, None while it is not known."""
        return None if self.sop_uid is None else InstanceKey(self.series_uid, self.sop_uid)

    @property
    def is_plain(self) -> bool:
        """Whether the file is not a DICOM instance."""
        return self.name is not None and is_plain_file(self.name)

    @property
    def path(self) -> str:
        """The path relative to the mirror, of a target whose name is known."""
        return f"{self.folder}/{self.name}"

    def placed(self, sop_uid: SopInstanceUid, numbers: InstanceNumbers | None = None) -> Self:
        """This target with the UID that the header of its file has and a free file name, which it claims."""
        if self.name is not None:
            return self if self.sop_uid is not None else self._replace(sop_uid=sop_uid)
        uid = self.sop_uid if self.sop_uid is not None else sop_uid
        name = self._free_name(uid, numbers or InstanceNumbers(sop_uid, self.entry.key))
        return self._replace(sop_uid=uid, name=name)

    def _free_name(self, sop_uid: SopInstanceUid, numbers: InstanceNumbers) -> str:
        if self.naming is not None:
            names = self._names(self.naming, numbers)
            if (free := next(filter(self.names.claim, names), None)) is not None:
                return free
        usual = instance_name(sop_uid)
        if self.names.claim(usual):
            return usual
        beside = beside_name(sop_uid, self.entry.key)
        self.names.claim(beside)
        return beside

    @staticmethod
    def _names(naming: FileNaming, numbers: InstanceNumbers) -> Iterator[str]:
        if (former := naming.former.get(numbers.sop_uid)) is not None:
            yield former
        yield from parse_layout(naming.template).file_names(naming.series, numbers)

    @property
    def is_beside(self) -> bool:
        """Whether the file lies beside that of another entry with the same UID; of equal files each may have either."""
        if self.naming is not None or self.name is None or self.sop_uid is None:
            return False
        usual = instance_name(self.sop_uid)
        return self.name != usual and _LABEL.sub(".dcm", self.name) == usual

    @property
    def special_name(self) -> str | None:
        """The file name if this run made it and it is not the usual one: the journal has to keep it."""
        if self.naming is not None:
            return self.name
        if self.entry.sop_uid is not None or self.sop_uid is None:
            return None
        return self.name if self.is_beside else special_name(self.sop_uid)


def uid_of_file(name: str) -> SopInstanceUid | None:
    """The UID that a file name stands for, None if no instance has such a name."""
    uid = _LABEL.sub("", name).removesuffix(".dcm")
    return SopInstanceUid(uid) if is_uid(uid) and instance_name(uid) == _LABEL.sub(".dcm", name) else None


def uid_of_header(path: Path) -> SopInstanceUid | None:
    """The UID in the header of a file, None if it has none or cannot be read. Blocking."""
    try:
        return read_header(path).sop_uid
    except (InstanceError, OSError):
        return None


def targets_of(work: SeriesWork) -> list[Target]:
    """Where the entries that a Series owes belong, in order."""
    names, targets = FileNames(work.taken), []
    for entry, name in zip(work.entries, work.names, strict=True):
        expected = entry.size_bytes or work.size_bytes
        # A wide margin: archives count in other ways, and their numbers may be outdated.
        most_bytes = _MARGIN_TIMES * expected + _MARGIN_BYTES if expected else None
        study_uid = work.study_uid if entry.sop_uid is None else None
        where = work.folder, name, entry.sop_uid, names, most_bytes, study_uid, work.naming
        targets.append(Target(work.series_uid, entry, *where))
    return targets


def failed(
    target: Target, error: RequestFailed | InstanceError | BundleError, outcome: Outcome | None = None
) -> InstanceOutcome:
    """The outcome of an entry that is given up; by default quarantined if an invalid file was downloaded."""
    if outcome is None:
        outcome = Outcome.QUARANTINED if isinstance(error, InstanceError) else Outcome.FAILED
    return InstanceOutcome(
        series_uid=target.series_uid,
        key=target.entry.key,
        sop_uid=target.entry.sop_uid,
        outcome=outcome,
        attempts=error.attempts,
        error=error.code,
        message=str(error),
    )

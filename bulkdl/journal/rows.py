"""What a journal returns: values, with names for the numbers of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Entry, Series
from bulkdl.model.reports import RunOutcome, SeriesCounts
from bulkdl.model.selection import Selection
from bulkdl.model.states import InstanceState


@dataclass(frozen=True, slots=True)
class Run:
    """One execution on the mirror. Without a selection it concerns the whole journal."""

    id: int
    archive_id: int
    selection_id: int | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A recorded run. `outcome` and `ended_at` are None while it runs, and stay None if it is killed."""

    id: int
    verb: str
    archive_name: str
    archive_url: str
    selection_id: int | None
    started_at: datetime
    ended_at: datetime | None
    outcome: RunOutcome | None


@dataclass(frozen=True, slots=True)
class SelectionRow:
    """A selection of the mirror. `is_resolved`: a run has resolved it completely."""

    id: int
    selection: Selection
    archive_name: str
    archive_url: str
    is_resolved: bool


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A Series, and the totals of its instances.

    `folder` is relative to the mirror, with `/`; None for a Series that the archive did not know. `is_listed`: its
    wanted instances are recorded. `error`, `message` and `attempts` concern the Series as a whole.
    """

    id: int
    series: Series
    folder: str | None
    is_listed: bool
    is_in_part: bool
    owed: int
    held: int
    failed: int
    quarantined: int
    withdrawn: int
    held_bytes: int
    error: str | None = None
    message: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class UnlistedSeries:
    """A Series that is not listed yet. Only its `wanted` instances are to be recorded; None means all."""

    id: int
    series: Series
    folder: str
    wanted: frozenset[SopInstanceUid] | None


@dataclass(frozen=True, slots=True)
class WorkCursor:
    """The last instance that `owed_work` returned; the next call continues after it."""

    collection: str
    patient_id: str
    study_uid: str
    series_uid: str
    sop_uid: str


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance and its state. `path` is relative to the mirror, with `/`."""

    sop_uid: SopInstanceUid
    path: str
    state: InstanceState
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class HeldPlace:
    """Where a held instance is, relative to the mirror, with `/`; `run_id` is the run that put it there."""

    path: str
    size_bytes: int
    run_id: int


@dataclass(frozen=True, slots=True)
class HeldFolder:
    """The folder of a Series, relative to the mirror, and its files: SOP Instance UID, name, size in bytes of each."""

    series_id: int
    series_uid: SeriesUid
    folder: str
    files: list[tuple[SopInstanceUid, str, int]]


@dataclass(frozen=True, slots=True)
class HeldInstance:
    """A file of the mirror. `path` is relative to the mirror, with `/`; `md5` and `sha256` are digests.

    `series_id` and `sop_uid` together are the position from which `Journal.held` continues. `entry` is what the archive
    listed for it; where it was not listed, or only its UID, the key is the UID.
    """

    series_id: int
    series_uid: SeriesUid
    sop_uid: SopInstanceUid
    path: str
    size_bytes: int
    md5: bytes | None
    sha256: bytes | None
    mtime_ns: int
    transfer_syntax_uid: str | None
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The totals of a selection, or of the whole mirror.

    `series_complete` + `series_failed` + the Series that still owe are `series_selected`; `series_unlisted` are among
    those that owe. A Series with failures counts as failed once it owes nothing. `promised_instances` and
    `promised_bytes` are sums of the archive's own counts and sizes, as far as these are credible; `series_unsized`
    counts the Series without such a size, or of which only some instances are selected.
    """

    series_selected: int = 0
    series_complete: int = 0
    series_failed: int = 0
    series_unlisted: int = 0
    owed: int = 0
    held: int = 0
    failed: int = 0
    quarantined: int = 0
    withdrawn: int = 0
    held_bytes: int = 0
    promised_instances: int = 0
    promised_bytes: int = 0
    series_unsized: int = 0

    @property
    def instances_selected(self) -> int:
        """Instances that are known to be wanted, without withdrawn ones."""
        return self.owed + self.held + self.failed + self.quarantined

    @property
    def series(self) -> SeriesCounts:
        """The `series` block of the reports."""
        return SeriesCounts(self.series_selected, self.series_complete, self.series_failed)

"""The reports of the verbs: counts, failures, problems. `as_json` returns the document of `--json`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias, cast

from bulkdl.model.data_sets import DataSet, DataSetKind, ListedStudy, PatientTotal, SourceReport

_ONLY_IF_GIVEN: Final = frozenset({"key", "series", "message"})


def _documents(records: Iterable[Any]) -> list[dict[str, Any]]:
    """Records as JSON values; keys that do not apply are left out."""
    return [
        {name: value for name, value in asdict(record).items() if value is not None or name not in _ONLY_IF_GIVEN}
        for record in records
    ]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


class _Report:
    """What every report has: `str(report)` is its text for people."""

    __slots__ = ()

    def __str__(self) -> str:
        from bulkdl.model.summaries import text_of  # noqa: PLC0415 - it imports this module

        return text_of(cast(Report, self))

    def _values(self, *names: str, of: str = "") -> dict[str, Any]:
        return {name: getattr(self, of + name) for name in names}


class RunOutcome(StrEnum):
    """How a run ended. `partial`: some instances failed."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance, an entry of unknown UID (`key`), or else a whole Series that is not in the mirror, and why."""

    series: str
    instance: str | None
    error: str
    message: str
    attempts: int
    key: str | None = None


@dataclass(frozen=True, slots=True)
class SeriesCounts:
    """Series by state. `selected` = `complete` + `failed` + those still owed."""

    selected: int = 0
    complete: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class InstanceCounts:
    """Instances by outcome of the run. After a complete run `selected` is the sum of the next four.

    In the documents of verbs that download nothing, `reused` are those that the mirror holds, and `fetched` is 0.
    `not_decoded` of them should have been decoded, but no installed decoder supports their pixels.
    """

    selected: int = 0
    fetched: int = 0
    reused: int = 0
    failed: int = 0
    quarantined: int = 0
    not_decoded: int = 0


@dataclass(slots=True)
class Changes:
    """What `sync` found at the archive since the last run of each selection, and did in the mirror.

    `replaced_instances` have other bytes now, and `withdrawn_instances` are not there any more; `removed_files` were
    removed because of that, by `--prune`.
    """

    new_series: int = 0
    changed_series: int = 0
    withdrawn_series: int = 0
    replaced_instances: int = 0
    withdrawn_instances: int = 0
    removed_files: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport(_Report):
    """The report of `mirror`, `resume`, `sync` and repairs. Bytes are those of files; `seconds` is wall-clock time.

    `changes` is there after `sync`. `notes` say what differs from a manifest, and which of its UIDs are Studies.
    `sources` has the numbers of Series from `idc` and from `nbia`, where an archive routes between them; `withdrawn`
    counts those that only an earlier release of the archive has.
    """

    mirror: str
    archive: str
    run: int
    outcome: RunOutcome
    series: SeriesCounts
    instances: InstanceCounts
    bytes_fetched: int
    bytes_mirror: int
    requests: int
    retries: int
    seconds: float
    failures: tuple[Failure, ...] = ()
    failures_left_out: int = 0
    changes: Changes | None = None
    notes: tuple[str, ...] = ()
    sources: Mapping[str, int] = field(default_factory=dict)
    withdrawn: int = 0

    def as_json(self) -> dict[str, Any]:
        """The document of `mirror --json`."""
        return {
            **self._values("mirror", "archive", "run", "outcome"),
            "series": asdict(self.series),
            "instances": asdict(self.instances),
            "bytes": self._values("fetched", "mirror", of="bytes_"),
            **_given(changes=self.changes and asdict(self.changes)),
            **self._values("requests", "retries"),
            "seconds": round(self.seconds, 3),
            "failures": _documents(self.failures),
            **_given(sources=dict(self.sources), withdrawn=self.withdrawn),
            **_given(failures_left_out=self.failures_left_out, notes=list(self.notes)),
        }


@dataclass(frozen=True, slots=True)
class SyncPlan(_Report):
    """What `sync` would do, without doing it. `changes` counts Series only."""

    mirror: str
    archive: str
    changes: Changes
    failures: tuple[Failure, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `sync --dry-run --json`."""
        document = {"changes": asdict(self.changes), "failures": _documents(self.failures)}
        return {**self._values("mirror", "archive"), **document}


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run on a mirror. Moments are ISO 8601 in UTC; `ended` and `outcome` are None where it did not end.

    `instances`, `bytes` and `changes` are those of its report.
    """

    run: int
    verb: str
    archive: str
    started: str
    ended: str | None
    outcome: str | None
    instances: dict[str, int]
    bytes: dict[str, int]
    changes: dict[str, int]

    @property
    def seconds(self) -> float | None:
        """How long the run took; None where it did not end."""
        if self.ended is None:
            return None
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()


@dataclass(frozen=True, slots=True)
class LogReport(_Report):
    """The runs on a mirror, oldest first."""

    mirror: str
    runs: tuple[RunSummary, ...]

    def as_json(self) -> dict[str, Any]:
        """The document of `log --json`."""
        return {"mirror": self.mirror, "runs": _documents(self.runs)}


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """One Collection of a mirror. Counts are of instances; `size_bytes` is the size of those held."""

    collection: str
    series: int
    instances: int
    held: int
    owed: int
    failed: int
    quarantined: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UnfinishedWork:
    """What was begun on a mirror by `verb` and did not end, and the `command` that finishes it."""

    verb: str
    message: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport(_Report):
    """What a mirror holds and owes, from its journal alone.

    What Series in `unlisted_series` owe is not counted. `failures_by_error` maps a code to the number of instances, or
    whole Series, that failed with it. `unanswered`: criteria that matched nothing, or could not be asked for, in the
    last run of each selection. `unfinished` is empty while a process works on the mirror; while a run downloads,
    `progress` has the values of its last event of that name.
    """

    mirror: str
    archive: str
    run: int
    running: str | None
    series: SeriesCounts
    selected: int
    held: int
    owed: int
    failed: int
    quarantined: int
    unlisted_series: int
    bytes_mirror: int
    not_decoded: int = 0
    last_outcome: str | None = None
    collections: tuple[CollectionStatus, ...] = ()
    failures_by_error: dict[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    unanswered: tuple[str, ...] = ()
    unfinished: tuple[UnfinishedWork, ...] = ()
    progress: Mapping[str, Any] = field(default_factory=dict)

    @property
    def instances(self) -> InstanceCounts:
        """The `instances` block of the contract."""
        return InstanceCounts(self.selected, 0, self.held, self.failed, self.quarantined, self.not_decoded)

    def as_json(self) -> dict[str, Any]:
        """The document of `status --json`."""
        return {
            **self._values("mirror", "archive", "run", "running"),
            "outcome": self.last_outcome,
            "series": {**asdict(self.series), "unlisted": self.unlisted_series},
            "instances": {**asdict(self.instances), **self._values("held", "owed")},
            "bytes": {"mirror": self.bytes_mirror},
            "collections": _documents(self.collections),
            "errors": self.failures_by_error,
            "failures": _documents(self.failures),
            "unanswered": list(self.unanswered),
            "unfinished": _documents(self.unfinished),
            **_given(progress=dict(self.progress)),
        }


class ProblemKind(StrEnum):
    """How a file differs from the journal, or (`differs`) a whole Series from the archive."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    ALTERED = "altered"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Problem:
    """One file that differs from the journal. `path` is relative to the mirror; a foreign file has no `instance`.

    Where a Series differs from the archive, `path` is its folder, `series` its UID, and `message` says how.
    """

    path: str
    problem: ProblemKind
    instance: str | None = None
    series: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport(_Report):
    """The report of `verify`. `repair` is the report of the repairs, if they were requested.

    `series_compared` counts the Series compared with the archive, None if that was not requested. `owed` are instances
    that `resume` downloads; quarantined ones are not among them. `against` is the lock file that a folder was compared
    with, and `notes` say what that cannot prove.
    """

    mirror: str
    series: SeriesCounts
    checked: int
    sound: int
    owed: int
    bytes_checked: int
    seconds: float
    instances: InstanceCounts = InstanceCounts()
    problems: tuple[Problem, ...] = ()
    repair: RunReport | None = None
    series_compared: int | None = None
    is_quick: bool = False
    against: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def remaining(self) -> int:
        """How many problems are left: all, or after complete repairs those that these do not change: foreign files."""
        if self.repair is None or self.repair.outcome is not RunOutcome.COMPLETE:
            return len(self.problems)
        return sum(problem.instance is None for problem in self.problems)

    def as_json(self) -> dict[str, Any]:
        """The document of `verify --json`."""
        counts = asdict(self.instances)
        return {
            "mirror": self.mirror,
            "series": asdict(self.series),
            "instances": {**counts, **self._values("checked", "sound", "owed"), "held": counts["reused"]},
            "bytes": {"checked": self.bytes_checked},
            "seconds": round(self.seconds, 3),
            "problems": _documents(self.problems),
            **({"compared": {"series": self.series_compared}} if self.series_compared is not None else {}),
            **_given(repair=self.repair and self.repair.as_json(), against=self.against, notes=list(self.notes)),
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that `adopt` rejected, and why; `path` is relative to the adopted folder."""

    path: str
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptReport(_Report):
    """The report of `adopt`.

    `found` = `adopted` + `already` (in the mirror before, or found twice) + `refused`. `others` are files that are not
    DICOM instances; they were ignored. `series` counts the Series with adopted instances, `bytes_adopted` their bytes.
    """

    mirror: str
    source: str
    run: int
    outcome: RunOutcome
    series: int
    found: int
    adopted: int
    already: int
    refused: int
    others: int
    bytes_adopted: int
    bytes_mirror: int
    seconds: float
    not_decoded: int = 0
    problems: tuple[Refusal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `adopt --json`."""
        return {
            **self._values("mirror", "source", "run", "outcome"),
            "series": {"adopted": self.series},
            "instances": self._values("found", "adopted", "already", "refused", "not_decoded"),
            "files": {"others": self.others},
            "bytes": {"adopted": self.bytes_adopted, "mirror": self.bytes_mirror},
            "seconds": round(self.seconds, 3),
            "problems": _documents(self.problems),
        }


@dataclass(frozen=True, slots=True)
class PlannedCollection:
    """One Collection of a plan, from one `source` where an archive routes between several.

    `exact` is False where the archive does not give all sizes, so that `size_bytes` is an estimate. `licenses` are the
    names that the archive gives.
    """

    collection: str
    source: str | None
    series: int
    instances: int
    held: int
    owed: int
    size_bytes: int
    exact: bool
    licenses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedLicense:
    """The Series of a plan under one licence; `license` is None where the archive does not say."""

    license: str | None
    series: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport(_Report):
    """The report of `plan`: what a mirror of the selection needs.

    `bytes_selected` and `instances_selected` are the archive's numbers; `exact` is False if it has none for a Series,
    whose size is an estimate then. `files_free` is how many files the disk takes, None where it does not say.
    `seconds_expected` is None if the archive's speed is not known. `release` is that of the archive's index, if it has
    one; `withdrawn` counts the Series that only an earlier release has. `notes` and `sources` are as in `RunReport`.
    """

    archive: str
    mirror: str | None
    series: SeriesCounts
    instances_selected: int
    instances_held: int
    bytes_selected: int
    bytes_held: int
    bytes_free: int | None
    exact: bool
    requests: int
    seconds_expected: float | None = None
    files_free: int | None = None
    collections: tuple[PlannedCollection, ...] = ()
    licenses: tuple[PlannedLicense, ...] = ()
    failures: tuple[Failure, ...] = ()
    series_uids: tuple[str, ...] = ()
    release: str | None = None
    withdrawn: int = 0
    notes: tuple[str, ...] = ()
    sources: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The document of `plan --json`, without the list of Series, which may be long; `--save` writes it."""
        return {
            **self._values("archive", "release", "mirror", "withdrawn"),
            **_given(sources=dict(self.sources)),
            "series": asdict(self.series),
            "instances": {
                **asdict(InstanceCounts(selected=self.instances_selected, reused=self.instances_held)),
                "held": self.instances_held,
                "owed": self.instances_selected - self.instances_held,
            },
            "bytes": {**self._values("selected", "held", "free", of="bytes_"), "exact": self.exact},
            "files": self._values("free", of="files_"),
            **self._values("requests", "seconds_expected"),
            "collections": _documents(self.collections),
            "licenses": [asdict(each) for each in self.licenses],
            "failures": _documents(self.failures),
            **_given(notes=list(self.notes)),
        }


@dataclass(frozen=True, slots=True)
class Renamed:
    """A folder of a Series before and after, relative to the mirror."""

    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayoutReport(_Report):
    """The report of `relayout`.

    `series_moved` counts Series of which a file or the folder has another name, `series_failed` those that stay because
    something is in the way: `problems` names it. `files_other` are files that the mirror does not know and that moved
    along, `files_left` those that stay because their names are taken. `files_linked` and `files_removed` count the
    links of a view. `renames` has the first Series of a trial.
    """

    mirror: str
    outcome: RunOutcome
    layout: str
    layout_before: str
    view: str | None = None
    is_trial: bool = False
    series: int = 0
    series_moved: int = 0
    series_failed: int = 0
    files_moved: int = 0
    files_other: int = 0
    files_left: int = 0
    files_linked: int = 0
    files_removed: int = 0
    seconds: float = 0.0
    left: tuple[str, ...] = ()
    renames: tuple[Renamed, ...] = ()
    problems: tuple[Refusal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `relayout --json`."""
        return {
            **self._values("mirror", "outcome"),
            "layout": {"before": self.layout_before, "after": self.layout},
            "view": self.view,
            "dry_run": self.is_trial,
            "series": {"selected": self.series, "moved": self.series_moved, "failed": self.series_failed},
            "files": self._values("moved", "other", "left", "linked", "removed", of="files_"),
            "seconds": round(self.seconds, 3),
            "left": list(self.left),
            **_given(renames=_documents(self.renames)),
            "problems": _documents(self.problems),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport(_Report):
    """The report of `merge`. The numbers of instances are those of the other mirrors.

    `brought` are now in the mirror, `already` were there with the same bytes, `conflicts` with others. `missing` are
    recorded there, and their files are not: they are owed now. `linked` and `copied` are how new files came.
    """

    mirror: str
    sources: tuple[str, ...]
    outcome: RunOutcome
    by: str
    series: int = 0
    brought: int = 0
    already: int = 0
    conflicts: int = 0
    missing: int = 0
    linked: int = 0
    copied: int = 0
    bytes_brought: int = 0
    bytes_mirror: int = 0
    seconds: float = 0.0
    problems: tuple[Refusal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `merge --json`."""
        return {
            **self._values("mirror", "outcome", "by"),
            "sources": list(self.sources),
            "series": {"selected": self.series},
            "instances": self._values("brought", "already", "conflicts", "missing"),
            "files": self._values("linked", "copied"),
            "bytes": self._values("brought", "mirror", of="bytes_"),
            "seconds": round(self.seconds, 3),
            "problems": _documents(self.problems),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestReport(_Report):
    """The report of `manifest_show`: how many of what a manifest names.

    `instances` are named singly. `stated_instances` and `stated_bytes` are sums of what it states of its Series.
    """

    manifest: str
    format: str
    collections: int
    patients: int
    studies: int
    series: int
    instances: int
    stated_instances: int
    stated_bytes: int
    settings: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `manifest show --json`."""
        return {
            **self._values("manifest", "format", "collections", "patients", "studies", "series", "instances"),
            "stated": {"instances": self.stated_instances, "bytes": self.stated_bytes},
            "settings": self.settings,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestWritten(_Report):
    """The report of what writes a manifest: how many Series it has, and how many rows name single instances.

    Of a lock, `proofs` counts the instances by the strongest thing that it knows of their bytes: `sha256`, `md5`,
    `size` or `uid`. `failures` are what was requested by name and is not in it.
    """

    format: str
    series: int
    instances: int = 0
    notes: tuple[str, ...] = ()
    proofs: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `manifest convert --json`."""
        return {
            **self._values("format", "series", "instances"),
            "notes": list(self.notes),
            **_given(proofs=dict(self.proofs), failures=_documents(self.failures)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestDifference(_Report):
    """The report of `manifest_diff`: what only the first manifest has, only the second, and what they state otherwise.

    Each text begins with the level: `series 1.2.3`.
    """

    first: str
    second: str
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether there is no difference."""
        return not (self.removed or self.added or self.changed)

    def as_json(self) -> dict[str, Any]:
        """The document of `manifest diff --json`."""
        lists = {name: list(getattr(self, name)) for name in ("removed", "added", "changed")}
        return {**self._values("first", "second"), "same": self.is_same, **lists}


@dataclass(frozen=True, slots=True)
class Group:
    """The sums of the Series with one value of an attribute. `instances` and `bytes` are of those held."""

    name: str
    series: int
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SeriesFinding:
    """What a Series lacks, or what differs within it; `kind` is stable, for programs."""

    series: str
    collection: str
    patient: str
    modality: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReport(_Report):
    """What `report` writes to `page`, at the moment `made` (ISO 8601, UTC).

    `groups` are sums by the values of an attribute, such as `modality`. `series_read` is the number of Series whose
    headers were read; 0: the findings are those of the journal alone.
    """

    mirror: str
    page: str
    made: str
    version: str
    status: StatusReport
    groups: Mapping[str, tuple[Group, ...]]
    runs: tuple[RunSummary, ...]
    findings: tuple[SeriesFinding, ...]
    series_read: int

    @property
    def archive(self) -> str:
        """The archive of the last run."""
        return self.status.archive

    def as_json(self) -> dict[str, Any]:
        """The document of `report --json`."""
        return {
            **self._values("mirror", "page", "made"),
            "series": asdict(self.status.series),
            "instances": {**asdict(self.status.instances), "held": self.status.held, "owed": self.status.owed},
            "bytes": {"mirror": self.status.bytes_mirror},
            "groups": {name: _documents(groups) for name, groups in self.groups.items()},
            "findings": _documents(self.findings),
            "series_read": self.series_read,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LsReport(_Report):
    """The report of `ls`: data sets, or of one of them its Patients, or of a Patient the Studies with their Series.

    `patients` and `studies` are None where they are not listed. `search` is the text that everything listed has.
    `archive` is an address, and `archive_name` what the archive was called, None for the default one.
    """

    archive: str
    archive_name: str | None = None
    data_sets: tuple[DataSet, ...] = ()
    patients: tuple[PatientTotal, ...] | None = None
    studies: tuple[ListedStudy, ...] | None = None
    search: str | None = None
    sources: tuple[SourceReport, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is listed."""
        listed = self.data_sets if self.patients is None and self.studies is None else (self.patients or self.studies)
        return not listed

    def as_json(self) -> dict[str, Any]:
        """The document of `ls --json`."""
        by_kind = {kind: [each.as_json() for each in self.data_sets if each.kind is kind] for kind in DataSetKind}
        return {
            **self._values("archive", "search"),
            "collections": by_kind[DataSetKind.COLLECTION],
            "analysis_results": by_kind[DataSetKind.ANALYSIS_RESULT],
            "patients": None if self.patients is None else [each.as_json() for each in self.patients],
            "studies": None if self.studies is None else [each.as_json() for each in self.studies],
            "sources": [each.as_json() for each in self.sources],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedDataSet:
    """A Collection, a part of one, or an analysis result, that is cited. Counts are of what is held, or selected.

    `is_cited_by_archive`: the archive says how; otherwise the reference has a name and the DOI alone.
    """

    doi: str | None
    title: str
    collections: tuple[str, ...]
    is_analysis_result: bool
    series: int
    instances: int
    size_bytes: int
    licenses: tuple[str, ...]
    is_cited_by_archive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CiteReport(_Report):
    """The references of data sets: `text` in the wanted `format`, `references` as CSL-JSON.

    `lock_sha256` is the digest of the lock of the mirror.
    """

    mirror: str | None
    archive: str
    format: str
    text: str
    paragraph: str
    data_sets: tuple[CitedDataSet, ...]
    references: tuple[dict[str, Any], ...]
    lock_sha256: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The document of `cite --json`."""
        return {
            **self._values("mirror", "archive", "paragraph", "lock_sha256"),
            "data_sets": _documents(self.data_sets),
            "references": list(self.references),
        }


class CheckState(StrEnum):
    """The result of a check. `missing`: something optional is not installed."""

    OK = "ok"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `doctor` looked at, and what it found; where it is not ok, with what to do."""

    group: str
    name: str
    text: str
    state: CheckState = CheckState.OK


@dataclass(frozen=True, slots=True)
class DoctorReport(_Report):
    """What `doctor` found."""

    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        """The document of `doctor --json`."""
        return {"checks": _documents(self.checks)}


Report: TypeAlias = (
    RunReport
    | SyncPlan
    | LogReport
    | StatusReport
    | VerifyReport
    | AdoptReport
    | PlanReport
    | RelayoutReport
    | MergeReport
    | ManifestReport
    | ManifestWritten
    | ManifestDifference
    | MirrorReport
    | LsReport
    | CiteReport
    | DoctorReport
)

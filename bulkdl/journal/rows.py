"""What a journal returns, and how values become columns and columns values. Secrets are left out on the way."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime
from functools import wraps
from operator import methodcaller
from typing import Any, Final, ParamSpec, Self, TypeAlias, TypeVar

from bulkdl.errors import JournalUnreadable
from bulkdl.journal.schema import IN_PART, UNBOUND, UNLISTED
from bulkdl.model.descriptions import CollectionDescription, Publication, ResultDescription
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceState
from bulkdl.model.records import Entry, Patient, Series, SeriesKind, Study
from bulkdl.model.reports.base import Failure, RunOutcome, SeriesCounts
from bulkdl.model.selection import Selection
from bulkdl.model.text import one_line

_COLUMNS: Final = ("series_uid", "study_uid", "patient_id", "collection", "modality", "image_count", "size_bytes")
_DATES: Final = frozenset({"series_date", "study_date", "released", "birth_date", "patient_birth_date"})
_CHANGES_CONTENT: Final = ("image_count", "size_bytes", "submitted", "released", "location")

_SECRET_NAME: Final = re.compile(r"password|token|secret|api_?key|authorization|cookie", re.IGNORECASE)
_SECRET_IN_URL: Final = re.compile(
    r"(?<=://)[^/@\s]+@|(?<=[?&])(?:password|token|secret|api_?key)=[^&\s]*", re.IGNORECASE
)
_MESSAGE_CHARACTERS: Final = 1000


Description: TypeAlias = CollectionDescription | ResultDescription | Patient | Study
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Description = TypeVar("_Description", CollectionDescription, ResultDescription, Patient, Study)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution on the mirror. Without a selection it concerns the whole journal."""

    id: int
    archive_id: int
    selection_id: int | None = None


def selection_of(run: Run | None) -> int | None:
    """The id of the selection of a run; None for everything in the journal."""
    return None if run is None else run.selection_id


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
class VerbRun:
    """A run of one verb: the settings that `begin_run` was given, and its outcome, None where it did not end."""

    settings: Mapping[str, Any]
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

    `folder` is relative to the mirror, with `/`; None for a Series that the archive did not know. `error`, `message`
    and `attempts` concern the Series as a whole. `is_listed`: its instances are recorded, all or some. `archive_name`:
    the archive that described it last.
    """

    id: int
    series: Series
    folder: str | None
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
    is_listed: bool = False
    archive_name: str = ""

    @property
    def is_withdrawn(self) -> bool:
        """Whether it has files of which the archive has withdrawn all, and nothing else is wanted of it."""
        is_wanted = self.owed + self.held + self.failed + self.quarantined > 0
        return self.withdrawn > 0 and not (is_wanted or self.error is not None or not self.is_listed)


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

    position: int = 0
    collection: str = ""
    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance and its state. `path` is relative to the mirror, with `/`."""

    sop_uid: SopInstanceUid
    path: str
    state: InstanceState
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry of a Series as it was listed, and what became of it.

    `sop_uid` and `name`, that of its file in the folder of the Series, are None while the UID is not known. `error` and
    `message` say why it failed.
    """

    key: str
    sop_uid: SopInstanceUid | None
    name: str | None
    state: InstanceState
    error: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """The files of the Series of a Collection of which the archive says the same; `folder` is the first one above them.

    `is_third_party`: others than the submitter made them. `is_in_bucket`: they come from a bucket.
    """

    collection: str
    folder: str
    license_name: str | None
    license_uri: str | None
    uri: str | None
    is_third_party: bool
    is_in_bucket: bool
    series: int
    instances: int
    size_bytes: int

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Self:
        """From a row of `queries.HELD_GROUPS`."""
        collection, folder, name, uri, source, is_third_party, is_in_bucket, *sums = row
        series, instances, size_bytes = sums
        said = collection, folder, name, uri, source
        return cls(*said, bool(is_third_party), bool(is_in_bucket), series, instances, size_bytes)


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
    """A file of the mirror. `path` is relative to the mirror, with `/`; `md5` and `sha256` are digests, if known.

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

    A Series with failures counts as failed once it owes nothing; `series_unlisted` are among those that owe.
    `promised_instances` and `promised_bytes` are sums of the archive's own numbers, as far as these are credible;
    `series_unsized` counts the Series without such a size, or of which only some instances are selected.
    `likely_bytes` is the size of what is owed: of Series with a size what is missing of it; of others, instances are as
    large as those that are held of the Series. `instances_unlike` are the owed ones that nothing is known of.
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
    likely_bytes: int = 0
    instances_unlike: int = 0

    @property
    def instances_selected(self) -> int:
        """Instances that are known to be wanted, without withdrawn ones."""
        return self.owed + self.held + self.failed + self.quarantined

    @property
    def series(self) -> SeriesCounts:
        """The `series` block of the reports."""
        return SeriesCounts(self.series_selected, self.series_complete, self.series_failed)


def moment(now: datetime) -> str:
    """A moment as a column: ISO 8601, UTC, to the second."""
    return now.astimezone(UTC).isoformat(timespec="seconds")


def without_secrets(text: str) -> str:
    """A text without the user and password of an address, and without passwords, keys and tokens of its query."""
    return _SECRET_IN_URL.sub("", text)


def message_text(message: str) -> str:
    """A message as a column: one line of limited length, without secrets."""
    return without_secrets(one_line(message))[:_MESSAGE_CHARACTERS]


def settings_text(settings: Mapping[str, object]) -> str:
    """The settings of a run as JSON, without those whose names suggest a secret."""
    kept = {
        name: without_secrets(value) if isinstance(value, str) else value
        for name, value in settings.items()
        if not _SECRET_NAME.search(name)
    }
    return json.dumps(kept, default=str, ensure_ascii=False)


def series_columns(series: Series) -> tuple[object, ...]:
    """A Series as the columns of `queries.SERIES_COLUMNS`."""
    rest = {
        field.name: value
        for field in fields(series)
        if field.name not in _COLUMNS and (value := getattr(series, field.name)) is not None
    }
    return (
        series.series_uid,
        series.study_uid or "",
        *(getattr(series, name) for name in _COLUMNS[2:]),
        json.dumps(rest, default=methodcaller("isoformat"), ensure_ascii=False),
    )


def of_records(read: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """What reads texts of the journal, with JournalUnreadable for those that are damaged: SQLite has no checksums."""

    @wraps(read)
    def reading(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        try:
            return read(*arguments, **options)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise JournalUnreadable(
                f"the journal is damaged: a record cannot be read ({error}); `bulkdl adopt --rebuild` on the mirror's "
                "folder sets it aside, and makes a new one from the files"
            ) from error

    return reading


@of_records
def series_from(columns: Sequence[Any]) -> Series:
    """A Series from the columns of `queries.SERIES_COLUMNS`."""
    *values, record = columns
    rest: dict[str, Any] = {**dict(zip(_COLUMNS, values, strict=True)), **json.loads(record)}
    rest["study_uid"] = rest["study_uid"] or None
    for name in _DATES & rest.keys():
        rest[name] = date.fromisoformat(rest[name])
    if "submitted" in rest:
        rest["submitted"] = datetime.fromisoformat(rest["submitted"])
    if "kind" in rest:
        rest["kind"] = SeriesKind(rest["kind"])
    return Series(**rest)


def description_text(description: Description) -> str:
    """A description as the column `record`: JSON without what is absent."""
    given = _without_absent(asdict(description))
    return json.dumps(given, default=methodcaller("isoformat"), ensure_ascii=False)


def _without_absent(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [_without_absent(each) for each in value] if name == "publications" else value
        for name, value in values.items()
        if value is not None and value != ()
    }


@of_records
def description_from(kind: type[_Description], record: str) -> _Description:
    """A description from the column `record`."""
    given: dict[str, Any] = json.loads(record)
    for name in _DATES & given.keys():
        given[name] = date.fromisoformat(given[name])
    if "publications" in given:
        given["publications"] = tuple(Publication(**each) for each in given["publications"])
    if "collections" in given:
        given["collections"] = tuple(given["collections"])
    return kind(**given)


def merged(before: Series, after: Series) -> Series:
    """The later record, with values that it leaves out taken from the earlier one: not all dialects give the same.

    `location` and `remark` are always the later ones, because they concern the archive that gave the record.
    """
    given = {
        field.name: value
        for field in fields(after)
        if (value := getattr(after, field.name)) is not None and value != ""
    }
    return replace(before, **{**given, "location": after.location, "remark": after.remark})


def is_changed(before: Series, after: Series) -> bool:
    """Whether the archive's values for the content of the Series changed; a value that is left out did not change."""
    pairs = ((getattr(before, name), getattr(after, name)) for name in _CHANGES_CONTENT)
    return any(old is not None and new is not None and old != new for old, new in pairs)


def is_moved(before: Series, after: Series) -> bool:
    """Whether a Series that was under one Collection and Patient is under others now."""
    pairs = ((before.collection, after.collection), (before.patient_id, after.patient_id))
    return any(old and old != new for old, new in pairs)


def series_row(row: Sequence[Any]) -> SeriesRow:
    """A row of `queries.SERIES_ROW`."""
    *columns, number, folder, listing, owed, held, failed, quarantined, withdrawn, held_bytes = row[:-4]
    totals = (owed, held, failed, quarantined, withdrawn, held_bytes)
    error, message, attempts, archive = row[-4:]
    reason, is_listed = (error, message, attempts or 0), listing != UNLISTED
    return SeriesRow(number, series_from(columns), folder, listing == IN_PART, *totals, *reason, is_listed, archive)


def held_instance(row: Sequence[Any]) -> HeldInstance:
    """A row of `queries.HELD_OF_SERIES`."""
    series_id, series_uid, sop_uid, path, size_bytes, md5, digest, mtime_ns, syntax, *listed = row
    entry = entry_from(sop_uid, *listed)
    return HeldInstance(series_id, series_uid, sop_uid, path, size_bytes, md5, digest, mtime_ns, syntax, entry)


def unbound(key: str) -> str:
    """The column `instance.sop_uid` of an entry whose SOP Instance UID is not known."""
    return UNBOUND + key


def owed_entry(sop_uid: str, key: str | None, size_bytes: int | None, md5: str) -> Entry:
    """The entry of an instance that is owed; `md5` has hexadecimal digits, or none."""
    return entry_from(sop_uid, key, size_bytes, bytes.fromhex(md5) or None)


def entry_from(sop_uid: str, key: str | None, size_bytes: int | None, md5: bytes | None) -> Entry:
    """An entry from the column `instance.sop_uid` and the columns of its row in `entry`, null where there is none."""
    if sop_uid.startswith(UNBOUND):
        return Entry(sop_uid.removeprefix(UNBOUND), None, size_bytes, md5)
    return Entry(key or sop_uid, SopInstanceUid(sop_uid), size_bytes, md5)


def failure_from(row: Sequence[Any]) -> Failure:
    """A row of `queries.FAILURES`."""
    series_uid, sop_uid, error, message, attempts = row
    if sop_uid.startswith(UNBOUND):
        return Failure(series_uid, None, error, message, attempts, key=sop_uid.removeprefix(UNBOUND))
    return Failure(series_uid, sop_uid or None, error, message, attempts)

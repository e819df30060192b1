"""Convert values to columns and back, and leave out secrets on the way."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from bulkdl.journal.rows import HeldInstance, SeriesRow
from bulkdl.journal.schema import IN_PART, UNBOUND, UNLISTED
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, default_file_name
from bulkdl.model.records import Entry, Series
from bulkdl.model.reports import Failure
from bulkdl.model.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLUMNS: Final = ("series_uid", "study_uid", "patient_id", "collection", "modality", "image_count", "size_bytes")
_DATES: Final = frozenset({"series_date", "study_date", "released"})
_MOMENTS: Final = frozenset({"submitted"})
_CHANGES_CONTENT: Final = ("image_count", "size_bytes", "submitted", "released")

_SECRET_NAME: Final = re.compile(r"password|token|secret|api_?key|authorization|cookie", re.IGNORECASE)
_SECRET_IN_URL: Final = re.compile(
    r"(?<=://)[^/@\s]+@|(?<=[?&])(?:password|token|secret|api_?key)=[^&\s]*", re.IGNORECASE
)
_MESSAGE_CHARACTERS: Final = 1000


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
        json.dumps(rest, default=_iso, ensure_ascii=False),
    )


def _iso(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a record cannot hold {value!r}")


def series_from(columns: Sequence[Any]) -> Series:
    """A Series from the columns of `queries.SERIES_COLUMNS`."""
    series_uid, study_uid, patient_id, collection, modality, image_count, size_bytes, record = columns
    rest: dict[str, Any] = json.loads(record)
    for name in _DATES & rest.keys():
        rest[name] = date.fromisoformat(rest[name])
    for name in _MOMENTS & rest.keys():
        rest[name] = datetime.fromisoformat(rest[name])
    return Series(
        series_uid=SeriesUid(series_uid),
        study_uid=StudyUid(study_uid) if study_uid else None,
        patient_id=patient_id,
        collection=collection,
        modality=modality,
        image_count=image_count,
        size_bytes=size_bytes,
        **rest,
    )


def merged(before: Series, after: Series) -> Series:
    """The later record, with values that it leaves out taken from the earlier one: not all dialects give the same.

    Its `location` is always the later one, because it is meaningful only at the archive that gave the record.
    """
    given = {
        field.name: value
        for field in fields(after)
        if (value := getattr(after, field.name)) is not None and value != ""
    }
    return replace(before, **{**given, "location": after.location})


def is_changed(before: Series, after: Series) -> bool:
    """Whether the archive's values for the content of the Series changed; a value that is left out did not change."""
    pairs = ((getattr(before, name), getattr(after, name)) for name in _CHANGES_CONTENT)
    return any(old is not None and new is not None and old != new for old, new in pairs)


def series_row(row: Sequence[Any]) -> SeriesRow:
    """A row of `queries.SERIES_ROW`."""
    *columns, number, folder, listing, owed, held, failed, quarantined, withdrawn, held_bytes = row[:-3]
    totals = (owed, held, failed, quarantined, withdrawn, held_bytes)
    error, message, attempts = row[-3:]
    is_listed, is_in_part = listing != UNLISTED, listing == IN_PART
    series = series_from(columns)
    return SeriesRow(number, series, folder, is_listed, is_in_part, *totals, error, message, attempts or 0)


def held_instance(row: Sequence[Any]) -> HeldInstance:
    """A row of `queries.HELD_OF_SERIES`."""
    series_id, series_uid, sop_uid, folder, name, size_bytes, md5, digest, mtime_ns, syntax, *listed = row
    path, entry = instance_path(folder, sop_uid, name), entry_from(sop_uid, *listed)
    return HeldInstance(series_id, series_uid, sop_uid, path, size_bytes, md5, digest, mtime_ns, syntax, entry)


def unbound(key: str) -> str:
    """The column `instance.sop_uid` of an entry whose SOP Instance UID is not known."""
    return UNBOUND + key


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


def file_name(sop_uid: str, name: str | None) -> str:
    """The name of an instance's file in the folder of its Series."""
    return default_file_name(sop_uid) if name is None else name


def instance_path(folder: str, sop_uid: str, name: str | None) -> str:
    """The path of an instance's file below the mirror."""
    return f"{folder}/{file_name(sop_uid, name)}" if folder else file_name(sop_uid, name)

"""Check the UIDs that identify an instance."""

from __future__ import annotations

from bulkdl.errors import InvalidInstance, InvalidUid
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, is_uid, parse_series_uid, parse_sop_uid


def parse_identity(sop_uid: str | None, series_uid: str | None) -> tuple[SopInstanceUid, SeriesUid]:
    """The SOP Instance UID and the Series Instance UID of an instance.

    Raises:
        InvalidInstance: one is missing or invalid.
    """
    if sop_uid is None:
        raise InvalidInstance("no SOP Instance UID")
    if series_uid is None:
        raise InvalidInstance("no Series Instance UID")
    try:
        return parse_sop_uid(sop_uid), parse_series_uid(series_uid)
    except InvalidUid as error:
        raise InvalidInstance(f"invalid UID: {error}") from error


def parse_study_uid(study_uid: str | None) -> StudyUid | None:
    """The Study Instance UID; None if it is missing or invalid, which does not make an instance invalid."""
    return StudyUid(study_uid) if study_uid is not None and is_uid(study_uid) else None

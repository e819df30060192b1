"""The UIDs that identify an instance."""

from __future__ import annotations

import pytest

from bulkdl.dicom.attributes import parse_identity, parse_study_uid
from bulkdl.errors import InvalidInstance


def test_returns_valid_uids() -> None:
    assert parse_identity("1.2.3", "1.2") == ("1.2.3", "1.2")
    assert parse_study_uid("1.2") == "1.2"


@pytest.mark.parametrize(
    ("sop_uid", "series_uid", "message"),
    [
        (None, "1.2", "no SOP Instance UID"),
        ("1.2", None, "no Series Instance UID"),
        ("x", "1.2", "invalid UID"),
        ("1.2", "1" * 65, "invalid UID"),
    ],
)
def test_says_which_uid_is_missing_or_invalid(sop_uid: str | None, series_uid: str | None, message: str) -> None:
    with pytest.raises(InvalidInstance, match=message):
        parse_identity(sop_uid, series_uid)


@pytest.mark.parametrize("uid", [None, "", "local study", "1" * 65])
def test_an_invalid_study_uid_is_none(uid: str | None) -> None:
    assert parse_study_uid(uid) is None

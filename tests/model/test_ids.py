from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import InvalidUid
from bulkdl.model.ids import default_file_name, is_uid, parse_series_uid, parse_sop_uid, parse_study_uid, stable_uuid

if TYPE_CHECKING:
    from collections.abc import Callable

PARSERS = pytest.mark.parametrize("parse", [parse_study_uid, parse_series_uid, parse_sop_uid])


@PARSERS
@pytest.mark.parametrize(
    "text",
    ["1.2.840.10008.1.1", "1", "0", "61.7.167248355135476067044532759811631626828", "1.02.003", "1" * 64, "1..2", "."],
    ids=["a proper one", "one digit", "zero", "no registered root", "leading zeros", "64 digits", "two dots", "a dot"],
)
def test_uids_that_archives_hold_are_accepted(parse: Callable[[str], str], text: str) -> None:
    assert parse(text) == text


@PARSERS
@pytest.mark.parametrize(
    "text",
    ["", " 1.2", "1.2 ", "1.2\n", "1.2\0", "1,2", "1.2/3", "../1", "a", "1" * 65, "\u0661.\u0662", "1.2\u00b2", "-1"],
)
def test_other_texts_are_rejected(parse: Callable[[str], str], text: str) -> None:
    with pytest.raises(InvalidUid):
        parse(text)


@given(st.text())
def test_a_uid_holds_digits_and_dots_only(text: str) -> None:
    if is_uid(text):
        assert set(text) <= set("0123456789.")
        assert 1 <= len(text) <= 64


def test_a_long_text_is_cut_in_the_message() -> None:
    with pytest.raises(InvalidUid) as caught:
        parse_series_uid("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_the_default_file_name_is_the_uid_with_the_suffix_of_dicom_files() -> None:
    assert default_file_name("1.2.3") == "1.2.3.dcm"


def test_the_uuid_of_a_uid_is_its_version_5_in_the_name_space_of_oids() -> None:
    uids = [f"1.2.840.{number}" for number in range(200)]
    assert [stable_uuid(uid) for uid in uids] == [str(uuid.uuid5(uuid.NAMESPACE_OID, uid)) for uid in uids]

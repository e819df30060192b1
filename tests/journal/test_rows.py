"""Values go to columns and come back, and secrets stay out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.journal.rows import (
    entry_from,
    failure_from,
    is_changed,
    merged,
    series_columns,
    series_from,
    settings_text,
    unbound,
    without_secrets,
)
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.records import Entry
from bulkdl.model.reports.base import Failure
from tests.support.journals import record


def test_a_series_comes_back_as_it_was() -> None:
    series = record(3, image_count=7)
    assert series_from(series_columns(series)) == series
    assert series_from(series_columns(replace(series, study_uid=None, modality=None))).study_uid is None


def test_a_later_record_keeps_what_it_leaves_out() -> None:
    before = record(1, image_count=7)
    after = replace(before, image_count=8, description=None, patient_id="")
    assert merged(before, after) == replace(before, image_count=8)


def test_a_location_is_never_older_than_the_record() -> None:
    """It says where the instances are at one archive; a later record may be of another."""
    before = replace(record(1), location="idc-open-data/5f0d")
    assert series_from(series_columns(before)) == before
    assert merged(before, record(1)).location is None
    assert merged(record(1), before).location == "idc-open-data/5f0d"


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"image_count": 8}, True),
        ({"size_bytes": 1}, True),
        ({"image_count": None}, False),
        ({"modality": "MR"}, False),
    ],
    ids=["count", "size", "left-out", "description"],
)
def test_only_a_change_of_content_counts(change: dict[str, object], counts: object) -> None:
    before = record(1, image_count=7)
    assert is_changed(before, replace(before, **change)) is counts  # type: ignore[arg-type]


def test_settings_and_addresses_lose_their_secrets() -> None:
    kept = json.loads(settings_text({"api_key": "s3cret", "workers": 2, "proxy": "http://me:s3cret@proxy.example"}))
    assert kept == {"workers": 2, "proxy": "http://proxy.example"}
    assert "s3cret" not in without_secrets("https://a.example/?token=s3cret&x=1")


@given(st.text(min_size=1, max_size=40))
def test_a_key_comes_back_from_the_column_of_an_unknown_uid(key: str) -> None:
    assert entry_from(unbound(key), None, 7, b"m") == Entry(key, None, 7, b"m")


def test_the_key_of_an_entry_is_its_uid_unless_another_is_recorded() -> None:
    uid = SopInstanceUid("1.2")
    assert entry_from("1.2", None, None, None) == Entry("1.2", uid)
    assert entry_from("1.2", "k", None, None) == Entry("k", uid)


def test_a_failure_names_an_instance_an_entry_or_a_series() -> None:
    assert failure_from(("1", "1.2", "e", "m", 2)) == Failure("1", "1.2", "e", "m", 2)
    assert failure_from(("1", unbound("k"), "e", "m", 2)) == Failure("1", None, "e", "m", 2, key="k")
    assert failure_from(("1", "", "e", "m", 2)) == Failure("1", None, "e", "m", 2)

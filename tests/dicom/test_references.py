"""What an instance refers to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.config import disable_value_validation

from bulkdl.dicom.references import read_references
from bulkdl.errors import InvalidInstance
from tests.support.annotation_files import annotation
from tests.support.dicom_files import MadeUp, instances

IMAGE, *_ = instances(series=1, per_series=1)
STRUCTURES = annotation("RTSTRUCT", IMAGE, series=[IMAGE.series_uid, "1.2.3"])
PLAN = annotation("RTPLAN", IMAGE, structures=STRUCTURES)
STATE = annotation("PR", IMAGE, series=[IMAGE.series_uid])


@pytest.mark.parametrize(
    ("one", "series", "referred"),
    [
        (STRUCTURES, {IMAGE.series_uid, "1.2.3"}, set()),
        (PLAN, set(), {STRUCTURES.sop_uid}),
        (STATE, {IMAGE.series_uid}, set()),
        (IMAGE, set(), set()),
    ],
    ids=["structures", "plan", "state", "image"],
)
def test_reads_the_series_and_the_instances(tmp_path: Path, one: MadeUp, series: set[str], referred: set[str]) -> None:
    (tmp_path / "one.dcm").write_bytes(one.content)
    for source in one.content, tmp_path / "one.dcm":
        found = read_references(source)
        assert (set(found.series), set(found.instances)) == (series, referred)
        assert found.own == {one.sop_uid}


def test_a_series_does_not_refer_to_itself_and_to_no_invalid_uid() -> None:
    with disable_value_validation():
        one = annotation("PR", IMAGE, series=[STATE.series_uid, "no uid"])
    assert read_references(one.content).series == set()


def test_what_is_behind_the_references_may_be_missing() -> None:
    end = STRUCTURES.content.index(b"\x06\x30\x39\x00")
    assert read_references(STRUCTURES.content[:end]).series == {IMAGE.series_uid, "1.2.3"}
    assert read_references(STRUCTURES.content[: end + 12]).series == {IMAGE.series_uid, "1.2.3"}


@pytest.mark.parametrize("content", [b"", b"<html>", IMAGE.content[:200]], ids=["empty", "page", "cut"])
def test_what_cannot_be_read_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInstance):
        read_references(content)

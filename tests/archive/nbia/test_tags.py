"""What an instance refers to, as getDicomTags tells it."""

from __future__ import annotations

from pathlib import Path

from bulkdl.archive.nbia.tags import ReferenceReader
from bulkdl.dicom.references import read_references
from bulkdl.dicom.tags import read_tags
from bulkdl.model.ids import SeriesUid
from tests.support.annotation_files import annotation
from tests.support.dicom_files import instances

IMAGE, *_ = instances(series=1, per_series=1)
STRUCTURES = annotation("RTSTRUCT", IMAGE, series=[IMAGE.series_uid, "1.2.3"])
PLAN = annotation("RTPLAN", IMAGE, structures=STRUCTURES)
STATE = annotation("PR", IMAGE, series=[IMAGE.series_uid])


def test_tells_the_same_as_the_file_itself(tmp_path: Path) -> None:
    for one in STRUCTURES, PLAN, STATE, IMAGE:
        (tmp_path / "one.dcm").write_bytes(one.content)
        rows = [{"element": tag.element, "data": tag.data} for tag in read_tags(tmp_path / "one.dcm")]
        reader = ReferenceReader(one.series_uid)
        for row in rows:
            if not reader.read([row]):
                break
        assert reader.found == read_references(one.content)


def test_stops_at_the_contours() -> None:
    reader = ReferenceReader(SeriesUid("1.2"))
    assert reader.read([{"element": ">(0020,000e)", "data": "1.3"}])
    assert not reader.read([{"element": "(3006,0039)"}, {"element": ">(0020,000E)", "data": "1.4"}])
    assert reader.found is not None
    assert reader.found.series == {"1.3"}


def test_an_answer_without_attributes_tells_nothing() -> None:
    reader = ReferenceReader(SeriesUid("1.2"))
    assert reader.read([{}, {"element": None}, {"element": "error"}])
    assert reader.found is None

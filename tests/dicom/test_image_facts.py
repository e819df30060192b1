"""The facts of a file: its place, and the instances that it refers to."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from bulkdl.dicom.image_facts import read_image_facts, read_series_facts
from bulkdl.errors import InvalidInstance


@pytest.fixture(scope="module")
def study(demo_cache: Path) -> Path:
    (folder,) = demo_cache.glob("bulkdl/phantoms-*/PHANTOM-001/STUDY-1")
    return folder


def test_an_image_says_its_place(study: Path) -> None:
    path = study / "CT" / "003.dcm"
    facts, whole = read_image_facts(path), dcmread(path)
    assert facts.sop_uid == whole.SOPInstanceUID
    assert facts.instance_number == 3
    assert facts.position == tuple(map(float, whole.ImagePositionPatient))
    assert (facts.shape, facts.spacing, facts.frames) == ((256, 256), (1.7578125, 1.7578125), 1)
    assert facts.references == frozenset()


@pytest.mark.parametrize("name", ["SEG", "RTSTRUCT"])
def test_annotations_refer_to_the_images_of_their_series(name: str, study: Path) -> None:
    (path,) = (study / name).glob("*.dcm")
    images = {
        (str(one.SeriesInstanceUID), str(one.SOPInstanceUID)) for one in map(dcmread, (study / "CT").glob("*.dcm"))
    }
    of_series = {reference for reference in read_image_facts(path).references if reference[0]}
    assert of_series
    assert of_series <= images


def test_values_that_are_invalid_are_absent(study: Path, tmp_path: Path) -> None:
    image = dcmread(study / "CT" / "001.dcm")
    image.ImagePositionPatient = ["1", "2"]
    image.NumberOfFrames = None
    del image.Rows
    image.save_as(tmp_path / "one.dcm")
    facts = read_image_facts(tmp_path / "one.dcm")
    assert (facts.position, facts.shape, facts.frames) == ((), None, 1)


def test_files_that_cannot_be_read_are_named(study: Path, tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no DICOM")
    paths = tuple(str(path) for path in (study / "CT" / "001.dcm", tmp_path / "text.dcm", tmp_path / "absent.dcm"))
    facts = read_series_facts(paths)
    assert len(facts.images) == 1
    assert [path for path, _ in facts.unreadable] == list(paths[1:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.data())
def test_damaged_files_raise_nothing_else(study: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(next((study / "RTSTRUCT").glob("*.dcm")).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged.dcm").write_bytes(content)
    with suppress(InvalidInstance):
        read_image_facts(tmp_path / "damaged.dcm")

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from bulkdl.dicom.header import Header, read_header
from bulkdl.dicom.validation import validate
from bulkdl.model.settings import ValidationLevel
from bulkdl.server.demo.catalogue import PHANTOM_COLLECTION, demo_roots

_NATIVE_DIGEST = "7129203c1a54c1bf70a0bc1f8eb9fb873473051303a87157db807210a1edd3aa"
_STUDY = "PHANTOM-001/STUDY-2"


@pytest.fixture(scope="module")
def folder(demo_folder: Path) -> Path:
    """The phantoms as the generator writes them, in some seconds."""
    (root,) = (root for root in demo_roots(demo_folder) if root.collection == PHANTOM_COLLECTION)
    return root.path


@pytest.fixture(scope="module")
def headers(folder: Path) -> list[Header]:
    return [read_header(path) for path in sorted(folder.rglob("*.dcm"))]


def _read(folder: Path, place: str) -> list[FileDataset]:
    return [dcmread(path) for path in sorted((folder / place).glob("*.dcm"))]


def test_the_files_are_the_same_on_every_machine(folder: Path) -> None:
    """All but the compressed ones, whose bytes depend on pydicom's encoder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.dcm")):
        if path.parts[-4:-1] not in {("PHANTOM-003", "STUDY-1", "T2"), ("PHANTOM-003", "STUDY-2", "T2")}:
            digest.update(path.read_bytes())
    assert digest.hexdigest() == _NATIVE_DIGEST


def test_there_are_many_files_of_several_kinds(folder: Path, headers: list[Header]) -> None:
    assert Counter(header.modality for header in headers) == {"CT": 300, "PT": 300, "MR": 228, "RTSTRUCT": 6, "SEG": 6}
    assert len({header.sop_uid for header in headers}) == len(headers)
    assert len({header.series_uid for header in headers}) == 36
    assert len({(header.patient_id, header.study_uid) for header in headers}) == 6
    assert 40e6 < sum(path.stat().st_size for path in folder.rglob("*.dcm")) < 60e6


def test_all_files_are_valid_without_a_note(folder: Path) -> None:
    notes = [
        validate(path, level=ValidationLevel.PIXELS, expected=None).notes for path in sorted(folder.rglob("*.dcm"))
    ]
    assert set(notes) == {()}


def test_is_marked_as_a_phantom(headers: list[Header]) -> None:
    assert {header.collection for header in headers} == {PHANTOM_COLLECTION}
    assert {header.phantom for header in headers} == {True}
    assert {header.longitudinal_offset_days for header in headers} == {0.0, 91.0}


def test_slices_of_a_volume_are_aligned(folder: Path) -> None:
    for series in ("CT", "PET", "T1", "T2"):
        positions = [image.ImagePositionPatient for image in _read(folder, f"{_STUDY}/{series}")]
        steps = {after[2] - before[2] for before, after in pairwise(positions)}
        assert len(steps) == 1
        assert {tuple(position[:2]) for position in positions} == {tuple(positions[0][:2])}


def test_the_tumour_grows(folder: Path) -> None:
    for patient in ("PHANTOM-001", "PHANTOM-002", "PHANTOM-003"):
        before, after = (int(_read(folder, f"{patient}/STUDY-{n}/SEG")[0].pixel_array.sum()) for n in (1, 2))
        assert after > 2 * before


def test_the_segmentation_refers_to_the_slices_it_was_drawn_on(folder: Path) -> None:
    ct = {image.SOPInstanceUID: image for image in _read(folder, f"{_STUDY}/CT")}
    (segmentation,) = _read(folder, f"{_STUDY}/SEG")
    for frame, groups in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        source = ct[groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert groups.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
        inside = source.pixel_array[frame.astype(bool)].mean()
        assert -100 < inside < 100  # a tumour of soft tissue, in a lung of -820 HU


def test_the_structures_refer_to_the_slices_they_were_drawn_on(folder: Path) -> None:
    ct = {image.SOPInstanceUID: image for image in _read(folder, f"{_STUDY}/CT")}
    (structures,) = _read(folder, f"{_STUDY}/RTSTRUCT")
    assert [region.ROIName for region in structures.StructureSetROISequence] == ["Tumour", "Liver"]
    for region in structures.ROIContourSequence:
        for contour in region.ContourSequence:
            image = ct[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            assert set(points[:, 2]) == {float(image.ImagePositionPatient[2])}


def test_outline_and_segmentation_of_the_tumour_agree(folder: Path) -> None:
    (structures,) = _read(folder, f"{_STUDY}/RTSTRUCT")
    (segmentation,) = _read(folder, f"{_STUDY}/SEG")
    corner = segmentation.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    spacing = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[0]
    _, rows, columns = np.nonzero(segmentation.pixel_array)
    points = np.concatenate(
        [
            np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            for contour in structures.ROIContourSequence[0].ContourSequence
        ]
    )
    for axis, pixels in ((0, columns), (1, rows)):
        drawn = corner[axis] + spacing * np.array([pixels.min(), pixels.max()])
        assert np.abs(drawn - [points[:, axis].min(), points[:, axis].max()]).max() < 2 * spacing

"""Masks and contours over a small image of which every millimetre is known."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from bulkdl.dicom.overlays import contours, mask
from bulkdl.errors import InvalidInstance
from tests.support.annotation_files import dataset
from tests.support.dicom_samples import SOP_UID, encoded, image

GEOMETRY = {
    "ImagePositionPatient": ["-10", "-20", "5"],
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "PixelSpacing": ["2", "4"],  # between rows, between columns
    "SliceThickness": "3",
}


def write(path: Path, **values: object) -> Path:
    path.write_bytes(encoded(image(**values)))
    return path


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    return write(tmp_path / "image", **GEOMETRY)


def group(segment: int, *, source: str = "", z: float | None = None) -> Dataset:
    """What is said of one frame of a segmentation."""
    made = dataset(SegmentIdentificationSequence=[dataset(ReferencedSegmentNumber=segment)])
    if source:
        made.DerivationImageSequence = [dataset(SourceImageSequence=[dataset(ReferencedSOPInstanceUID=source)])]
    if z is not None:
        made.PlanePositionSequence = [dataset(ImagePositionPatient=["-10", "-20", str(z)])]
    return made


def segmentation(path: Path, *groups: Dataset, lab: Any = None) -> Path:
    """A segmentation of 4 by 4: the first column of its first frame, the second of its second, and so on."""
    frames = np.zeros((len(groups), 4, 4), np.uint8)
    for number in range(len(groups)):
        frames[number, :, number % 4] = 1
    colour = {} if lab is None else {"RecommendedDisplayCIELabValue": lab}
    return write(
        path,
        SOPClassUID=SegmentationStorage,
        SegmentSequence=[dataset(SegmentNumber=1, SegmentLabel="One", **colour)],
        PerFrameFunctionalGroupsSequence=list(groups),
        NumberOfFrames=str(len(groups)),
        Rows=4,
        Columns=4,
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
        PixelData=np.packbits(frames.ravel(), bitorder="little").tobytes(),
    )


def columns(content: bytes) -> list[tuple[int, ...]]:
    """The colours of the first row."""
    with Image.open(io.BytesIO(content)) as drawn:
        assert drawn.mode == "RGBA"
        return [tuple(int(part) for part in pixel) for pixel in np.asarray(drawn)[0]]


def test_a_mask_has_the_frames_that_name_the_image(tmp_path: Path, shown: Path) -> None:
    groups = (group(1, source=SOP_UID), group(2, source="1.2.9"), group(2, source=SOP_UID))
    found = columns(mask(segmentation(tmp_path / "seg", *groups), shown))
    assert [pixel[3] > 0 for pixel in found] == [True, False, True, False]
    assert found[0][:3] != found[2][:3]


def test_a_mask_over_one_frame_has_the_frames_that_name_it(tmp_path: Path, shown: Path) -> None:
    groups = [group(1, source=SOP_UID) for _ in range(3)]
    for one, frames in zip(groups, (1, [2, 3], 3), strict=True):
        one.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = frames
    path = segmentation(tmp_path / "seg", *groups)
    drawn = {frame: [pixel[3] > 0 for pixel in columns(mask(path, shown, frame))][:3] for frame in (1, 3, None)}
    assert drawn == {1: [True, False, False], 3: [False, True, True], None: [True, True, True]}


def test_a_mask_without_names_has_the_frames_in_the_plane_of_the_image(tmp_path: Path, shown: Path) -> None:
    groups = (group(1, z=5.2), group(1, z=8.0))
    assert [pixel[3] > 0 for pixel in columns(mask(segmentation(tmp_path / "seg", *groups), shown))][:2] == [
        True,
        False,
    ]


def test_a_segment_has_its_recommended_colour(tmp_path: Path, shown: Path) -> None:
    red = [34_885, 53_485, 50_171]  # L 53.2, a 80.1, b 67.2
    path = segmentation(tmp_path / "seg", group(1, source=SOP_UID), lab=red)
    red_part, green, blue, _ = columns(mask(path, shown))[0]
    assert red_part > 245
    assert max(green, blue) < 12


def structures(path: Path, *points: str, named: str = "", kind: str = "CLOSED_PLANAR") -> Path:
    contour = dataset(ContourGeometricType=kind, NumberOfContourPoints=len(points) // 3, ContourData=list(points))
    if named:
        contour.ContourImageSequence = [dataset(ReferencedSOPInstanceUID=named)]
    return write(
        path,
        SOPClassUID=RTStructureSetStorage,
        StructureSetROISequence=[dataset(ROINumber=7, ROIName="<b>Liver")],
        ROIContourSequence=[dataset(ReferencedROINumber=7, ROIDisplayColor=[255, 0, 16], ContourSequence=[contour])],
    )


def test_contours_are_in_columns_and_rows(tmp_path: Path, shown: Path) -> None:
    path = structures(tmp_path / "rt", "-10", "-20", "5", "-2", "-20", "5", "-2", "-14", "5", named=SOP_UID)
    assert contours(path, shown) == [
        {"name": "<b>Liver", "colour": "#ff0010", "closed": True, "points": [[0.5, 0.5], [2.5, 0.5], [2.5, 3.5]]}
    ]


@pytest.mark.parametrize(("z", "named", "count"), [("5", "", 1), ("9", "", 0), ("9", SOP_UID, 1), ("5", "1.2.9", 0)])
def test_a_contour_belongs_to_the_image_that_it_names_or_lies_in(
    tmp_path: Path, shown: Path, z: str, named: str, count: int
) -> None:
    assert len(contours(structures(tmp_path / "rt", "0", "0", z, "1", "1", z, named=named), shown)) == count


def test_files_that_cannot_be_used_are_invalid(tmp_path: Path, shown: Path) -> None:
    (tmp_path / "bad").write_bytes(b"no DICOM")
    bare = write(tmp_path / "bare")
    for read in (mask, contours):
        with pytest.raises(InvalidInstance):
            read(tmp_path / "bad", shown)
    with pytest.raises(InvalidInstance, match="does not say where it lies"):
        contours(structures(tmp_path / "rt", "0", "0", "5", named=SOP_UID), bare)

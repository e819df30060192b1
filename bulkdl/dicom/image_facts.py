"""Read what a file says of its place in a Series, and which instances it refers to.

Source: PS3.3 §C.7.6.1 (General Image), §C.7.6.2 (Image Plane), §C.8.8.5 (Structure Set: Referenced Frame of Reference
Sequence), §C.12.1.1 and §C.17.2 (Referenced Series Sequence, Evidence sequences).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Vector: TypeAlias = tuple[float, ...]

_TAGS: Final = [
    *("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "Rows", "Columns", "NumberOfFrames", "Manufacturer", "ManufacturerModelName"),
    *("ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence"),
    *("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence", "ReferencedStudySequence"),
    *("ReferencedRTPlanSequence", "ReferencedStructureSetSequence"),
]
_DEFER_BYTES: Final = 1 << 20
_DEPTH: Final = 8  # of sequences that are followed


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What one file says of its place in its Series. Absent or invalid values are None, vectors empty.

    `position` is that of the first pixel in mm, `orientation` has six direction cosines, `spacing` has the distances of
    rows and of columns in mm. `references` are the Series and SOP Instance UIDs that it refers to; the Series is empty
    where the file does not say it.
    """

    sop_uid: str
    instance_number: int | None = None
    position: Vector = ()
    orientation: Vector = ()
    spacing: Vector = ()
    shape: tuple[int, int] | None = None
    frames: int = 1
    references: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """The facts of the files of a Series, and why others could not be read, by their path."""

    images: tuple[ImageFacts, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


def read_series_facts(paths: tuple[str, ...]) -> SeriesFacts:
    """Read the files at these absolute paths."""
    images, unreadable = [], []
    for path in paths:
        try:
            images.append(read_image_facts(Path(path)))
        except (InvalidInstance, OSError) as error:
            unreadable.append((path, error_text(error)))
    return SeriesFacts(tuple(images), tuple(unreadable))


def read_image_facts(path: Path) -> ImageFacts:
    """Read the facts of one file. Raises InvalidInstance: pydicom cannot read it; OSError."""
    from pydicom import dcmread  # noqa: PLC0415 - slow to import

    with suppressed_pydicom_warnings:
        try:
            data_set = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, defer_size=_DEFER_BYTES)
            return _facts(data_set)
        except OSError:
            raise
        except Exception as error:  # pydicom raises many kinds of exceptions
            raise InvalidInstance(f"not readable: {error_text(error)}") from error


def _facts(data_set: Dataset) -> ImageFacts:
    rows, columns = _integer(data_set, "Rows"), _integer(data_set, "Columns")
    return ImageFacts(
        sop_uid=str(data_set.get("SOPInstanceUID", "")),
        instance_number=_integer(data_set, "InstanceNumber"),
        position=_vector(data_set, "ImagePositionPatient", 3),
        orientation=_vector(data_set, "ImageOrientationPatient", 6),
        spacing=_vector(data_set, "PixelSpacing", 2),
        shape=(rows, columns) if rows and columns else None,
        frames=_integer(data_set, "NumberOfFrames") or 1,
        references=frozenset(_references(data_set, "", _DEPTH)),
    )


def _integer(data_set: Dataset, keyword: str) -> int | None:
    try:
        return int(data_set.get(keyword))
    except (TypeError, ValueError, OverflowError):
        return None


def _vector(data_set: Dataset, keyword: str, size: int) -> Vector:
    try:
        values = tuple(float(value) for value in data_set.get(keyword) or ())
    except (TypeError, ValueError):
        return ()
    return values if len(values) == size and all(map(math.isfinite, values)) else ()


def _references(data_set: Dataset, series_uid: str, depth: int) -> Iterator[tuple[str, str]]:
    """The instances that items of sequences name, with the Series of the innermost item around them that names one."""
    series_uid = str(data_set.get("SeriesInstanceUID", "")) or series_uid
    if sop_uid := str(data_set.get("ReferencedSOPInstanceUID", "")):
        yield series_uid, sop_uid
    if depth:
        for element in data_set:
            if element.VR == "SQ":
                for item in element.value:
                    yield from _references(item, series_uid, depth - 1)

"""What a viewer needs to know of an instance before it shows it: its frames, windows, spacing and speed.

Source: PS3.3 §C.7.6.3 (Image Pixel), §C.11.2 (VOI LUT), §C.7.6.5 (Cine), §C.7.6.16 (functional groups).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkdl.dicom.pictures import first_number
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DEFER_BYTES: Final = 1 << 16
_MOST_WINDOWS: Final = 10
_MILLISECONDS: Final = 1_000.0
_DEFAULT_SPEED: Final = 10.0
_MOST_SPEED: Final = 60.0
_TAGS: Final = [
    *("SOPClassUID", "Modality", "Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation", "PixelSpacing"),
    *("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "BitsStored", "SharedFunctionalGroupsSequence"),
    *("RecommendedDisplayFrameRate", "CineRate", "FrameTime", "ImagerPixelSpacing", "SliceLocation"),
]


def read_frame_facts(path: Path) -> dict[str, Any]:
    """The facts, ready for JSON: `frames`, `rows`, `columns`, `windows` (name, centre, width), `fps` and others.

    Raises:
        InvalidInstance: the file cannot be read.
    """
    from pydicom import dcmread  # noqa: PLC0415 - slow to import, and rarely needed

    with suppressed_pydicom_warnings:
        try:
            dataset = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, defer_size=_DEFER_BYTES)
            return _facts(dataset)
        except Exception as error:  # pydicom raises many kinds of exceptions on damaged files
            raise InvalidInstance(f"it cannot be read: {error_text(error)}") from error


def _facts(dataset: Dataset) -> dict[str, Any]:
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    return {
        "modality": str(dataset.get("Modality", "")),
        "kind": dataset.get("SOPClassUID", "") and dataset.SOPClassUID.name,
        "syntax": dataset.file_meta.TransferSyntaxUID.name if "TransferSyntaxUID" in dataset.file_meta else "",
        "frames": int(_number(dataset, "NumberOfFrames") or 1),
        "rows": int(_number(dataset, "Rows") or 0),
        "columns": int(_number(dataset, "Columns") or 0),
        "photometric": photometric,
        "is_grey": photometric.startswith("MONOCHROME"),
        "windows": list(_windows(dataset)),
        "bits": int(_number(dataset, "BitsStored") or 0),
        "fps": _speed(dataset),
    }


def _windows(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The windows of the instance, or of all its frames."""
    for group in (
        dataset,
        *(item for part in dataset.get("SharedFunctionalGroupsSequence", ()) for item in _voi(part)),
    ):
        centres, widths = _numbers(group.get("WindowCenter")), _numbers(group.get("WindowWidth"))
        names = group.get("WindowCenterWidthExplanation") or ()
        named = [names] if isinstance(names, str) else list(names)
        for number, (centre, width) in enumerate(zip(centres, widths, strict=False)):
            if number < _MOST_WINDOWS and width >= 1:
                name = str(named[number]) if number < len(named) else f"Window {number + 1}"
                yield {"name": name[:80], "centre": centre, "width": width}


def _voi(part: Dataset) -> Iterator[Dataset]:
    yield from part.get("FrameVOILUTSequence", ())


def _speed(dataset: Dataset) -> float:
    """Frames a second."""
    rate = _number(dataset, "RecommendedDisplayFrameRate") or _number(dataset, "CineRate")
    if not rate and (milliseconds := _number(dataset, "FrameTime")):
        rate = _MILLISECONDS / milliseconds
    return min(max(rate or _DEFAULT_SPEED, 1.0), _MOST_SPEED)


def _number(dataset: Dataset, name: str) -> float | None:
    try:
        found = first_number(dataset.get(name))
    except (TypeError, ValueError):
        return None
    return found if found is not None and math.isfinite(found) and found > 0 else None


def _numbers(value: Any) -> list[float]:
    try:
        several = [] if value is None else [value] if not hasattr(value, "__iter__") else list(value)
        return [float(one) for one in several if math.isfinite(float(one))]
    except (TypeError, ValueError):
        return []

"""What segmentations and structure sets draw over an image: a mask as a PNG, contours as lines.

A frame of a segmentation, or a contour, belongs to the image that it names; where it names none, to the image in whose
plane it lies. Masks are as large as the frames of the segmentation.

Source: PS3.3 §C.8.20 (Segmentation), §C.8.8.6 (ROI Contour), §C.7.6.2.1.1 (from pixels to millimetres), §C.10.7.1.1
(CIELab values).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkdl.dicom.part10 import opened
from bulkdl.dicom.pictures import in_form, read_frame
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import BulkdlError, InvalidInstance
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_PALETTE: Final = (
    (230, 60, 60), (60, 180, 75), (70, 130, 255), (245, 190, 40), (200, 70, 220), (70, 220, 220), (250, 130, 50),
    (150, 220, 60), (250, 140, 180), (170, 140, 255),
)  # fmt: skip
_OPAQUE: Final = 140  # of 255
_MOST_FRAMES: Final = 200  # that are drawn over one image
_MOST_POINTS: Final = 100_000
_PLANE_MM: Final = 0.5  # how far from the plane of an image a contour may lie
_LINEAR_SRGB: Final = 0.0031308
_LINEAR_LAB: Final = 0.008856
_DEFER_BYTES: Final = 1 << 16


def mask(path: Path, image: Path, frame: int | None = None) -> bytes:
    """A PNG of the segments of a segmentation that lie on an image, or on its `frame`, from 1; transparent elsewhere.

    Raises:
        InvalidInstance: a file cannot be read, or its frames cannot be decoded.
    """
    try:
        with suppressed_pydicom_warnings:
            return _mask(path, _read(image), frame)
    except BulkdlError:
        raise
    except Exception as error:  # pydicom and decoders raise many kinds of exceptions
        raise InvalidInstance(f"the segmentation cannot be shown: {error_text(error)}") from error


def contours(path: Path, image: Path) -> list[dict[str, Any]]:
    """The contours of a structure set on an image: each a `name`, a `colour`, and `points` in columns and rows.

    Raises:
        InvalidInstance: a file cannot be read, or the image does not say where it lies.
    """
    try:
        with suppressed_pydicom_warnings:
            return list(_contours(_parsed(path, path.stat().st_mtime_ns), _read(image)))
    except BulkdlError:
        raise
    except Exception as error:  # pydicom raises many kinds of exceptions
        raise InvalidInstance(f"the structure set cannot be shown: {error_text(error)}") from error


@lru_cache(maxsize=2)  # one for each image of a Series is asked for, one after the other
def _parsed(path: Path, mtime_ns: int) -> Dataset:
    del mtime_ns
    return _read(path)


def _read(path: Path) -> Dataset:
    from pydicom import dcmread  # noqa: PLC0415 - slow to import, and rarely needed

    return dcmread(path, stop_before_pixels=True, defer_size=None if path.stat().st_size < 1 << 26 else _DEFER_BYTES)


def _mask(path: Path, image: Dataset, shown: int | None) -> bytes:
    import numpy as np  # noqa: PLC0415 - an extra
    from PIL import Image  # noqa: PLC0415 - the same

    segmentation = _parsed(path, path.stat().st_mtime_ns)
    colours = _colours(segmentation)
    drawn: NDArray[np.uint8] = np.zeros((segmentation.Rows, segmentation.Columns, 4), np.uint8)
    with opened(path) as file:
        for index, segment in _frames_on(segmentation, image, shown):
            frame, _, _ = read_frame(file, index, is_safe_only=False)
            for value, colour in ((segment, colours(segment)),) if segment else _labels(frame, colours):
                drawn[frame == value if not segment else frame > 0] = (*colour, _OPAQUE)
    return in_form(Image.fromarray(drawn), "PNG")


def _labels(
    frame: NDArray[Any], colours: Callable[[int], tuple[int, int, int]]
) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """The labels of a frame of a label map, and their colours."""
    import numpy as np  # noqa: PLC0415 - an extra

    yield from ((int(value), colours(int(value))) for value in np.unique(frame) if value)


def _frames_on(segmentation: Dataset, image: Dataset, shown: int | None) -> Iterator[tuple[int, int]]:
    """The frames of a segmentation that lie on an image, each with its segment; 0 for a label map."""
    found = 0
    for index, group in enumerate(segmentation.get("PerFrameFunctionalGroupsSequence", ())):
        if found < _MOST_FRAMES and _lies_on(group, image, shown):
            found += 1
            segments = group.get("SegmentIdentificationSequence") or ()
            yield index, int(segments[0].ReferencedSegmentNumber) if segments else 0


def _lies_on(group: Dataset, image: Dataset, shown: int | None) -> bool:
    sources = [
        source
        for derivation in group.get("DerivationImageSequence", ())
        for source in derivation.get("SourceImageSequence", ())
    ]
    if sources:
        return any(_names(source, image, shown) for source in sources)
    plane = next(iter(group.get("PlanePositionSequence", ())), None)
    return plane is not None and _is_in_plane(plane.get("ImagePositionPatient"), image)


def _names(source: Dataset, image: Dataset, shown: int | None) -> bool:
    """Whether an item names an image and, where it names frames, the one that is shown."""
    if str(source.get("ReferencedSOPInstanceUID", "")) != str(image.SOPInstanceUID):
        return False
    frames = source.get("ReferencedFrameNumber")
    if frames is None or shown is None:
        return True
    return shown in ([frames] if isinstance(frames, int) else list(frames))


def _is_in_plane(point: Any, image: Dataset) -> bool:
    """Whether a point is in the plane of an image, which is as thick as half a slice at most."""
    import numpy as np  # noqa: PLC0415 - an extra

    position, orientation = image.get("ImagePositionPatient"), image.get("ImageOrientationPatient")
    if not point or not position or not orientation:
        return False
    normal = np.cross(np.array(orientation[:3], float), np.array(orientation[3:], float))
    distance = abs(float(np.dot(normal, np.array(point[:3], float) - np.array(position, float))))
    return distance <= min(_PLANE_MM, float(image.get("SliceThickness") or 1) / 2)


def _colours(segmentation: Dataset) -> Callable[[int], tuple[int, int, int]]:
    """The colour of each segment, by its number."""
    known = {
        int(segment.SegmentNumber): _of_lab(segment.RecommendedDisplayCIELabValue)
        for segment in segmentation.get("SegmentSequence", ())
        if "RecommendedDisplayCIELabValue" in segment
    }
    return lambda number: known.get(number, _PALETTE[(number - 1) % len(_PALETTE)])


def _of_lab(value: Any) -> tuple[int, int, int]:
    """A colour of CIELab, as DICOM scales it, in sRGB."""
    lightness, a, b = (float(one) for one in value)
    lightness, a, b = lightness * 100 / 65_535, a * 255 / 65_535 - 128, b * 255 / 65_535 - 128
    fy = (lightness + 16) / 116
    x, y, z = (
        _inverse(part) * white for part, white in zip((fy + a / 500, fy, fy - b / 200), (0.9505, 1, 1.089), strict=True)
    )
    linear = (
        3.2406 * x - 1.5372 * y - 0.4986 * z,
        -0.9689 * x + 1.8758 * y + 0.0415 * z,
        0.0557 * x - 0.204 * y + 1.057 * z,
    )
    red, green, blue = (
        12.92 * part if part <= _LINEAR_SRGB else 1.055 * part ** (1 / 2.4) - 0.055
        for part in (max(0, one) for one in linear)
    )
    return _byte(red), _byte(green), _byte(blue)


def _inverse(part: float) -> float:
    return part**3 if part**3 > _LINEAR_LAB else (part - 16 / 116) / 7.787


def _byte(part: float) -> int:
    return max(0, min(255, round(part * 255)))


def _contours(structures: Dataset, image: Dataset) -> Iterator[dict[str, Any]]:
    import numpy as np  # noqa: PLC0415 - an extra

    names = {int(roi.ROINumber): str(roi.get("ROIName", "")) for roi in structures.get("StructureSetROISequence", ())}
    to_pixels = _to_pixels(image)
    points = 0
    for number, roi in enumerate(structures.get("ROIContourSequence", ())):
        colour = [int(part) for part in roi.get("ROIDisplayColor") or _PALETTE[number % len(_PALETTE)]]
        for contour in roi.get("ContourSequence", ()):
            if (data := contour.get("ContourData")) is None or not _is_on(contour, data, image):
                continue
            places = to_pixels(np.array(data, float).reshape(-1, 3))
            if (points := points + len(places)) > _MOST_POINTS:
                return
            name = names.get(int(roi.get("ReferencedROINumber") or 0), "")
            is_closed = str(contour.get("ContourGeometricType", "")).startswith("CLOSED")
            shown = [[round(float(x), 2), round(float(y), 2)] for x, y in places]
            yield {
                "name": name[:80],
                "colour": "#{:02x}{:02x}{:02x}".format(*colour),
                "closed": is_closed,
                "points": shown,
            }


def _is_on(contour: Dataset, data: Any, image: Dataset) -> bool:
    named = [str(one.get("ReferencedSOPInstanceUID", "")) for one in contour.get("ContourImageSequence", ())]
    return str(image.SOPInstanceUID) in named if named else _is_in_plane(data[:3], image)


def _to_pixels(image: Dataset) -> Any:
    """A function from points in mm, n x 3, to columns and rows, n x 2, counted from the corner of the first pixel."""
    import numpy as np  # noqa: PLC0415 - an extra

    if any(name not in image for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        raise InvalidInstance("the image does not say where it lies")
    origin, orientation = np.array(image.ImagePositionPatient, float), np.array(image.ImageOrientationPatient, float)
    between_rows, between_columns = (float(part) for part in image.PixelSpacing)
    axes = np.stack([orientation[:3] / between_columns, orientation[3:] / between_rows], axis=1)
    return lambda points: (points - origin) @ axes + 0.5

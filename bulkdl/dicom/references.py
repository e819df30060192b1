"""What an instance refers to: the Series of images that an annotation was made of, the plan that a dose belongs to.

Source: PS3.3 for the sequences: §C.12.1.4 and §C.8.20.2 (images and segmentations), §C.11.11 (presentation states),
§C.8.8.5 (structure sets), §C.8.8.3 (doses), §C.8.8.10 (plans), §C.17.2 (the evidence of structured reports).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkdl.dicom.attributes import Tag, parse_identity
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid
from bulkdl.model.records import References

if TYPE_CHECKING:
    from pydicom import Dataset

_SERIES: Final = (
    0x00081115,  # Referenced Series Sequence: segmentations, presentation states, microscopy annotations
    0x00081200,  # Studies Containing Other Referenced Instances Sequence
    0x0040A375,  # Current Requested Procedure Evidence Sequence
    0x0040A385,  # Pertinent Other Evidence Sequence
    0x30060010,  # Referenced Frame of Reference Sequence
)
_INSTANCES: Final = (
    0x300C0002,  # Referenced RT Plan Sequence
    0x300C0060,  # Referenced Structure Set Sequence
    0x300C0080,  # Referenced Dose Sequence
)
_REFERENCED_INSTANCE: Final = 0x00081155
_CONTOURS: Final = (0x30060020, 0x30070000)  # of structure sets, which refer to nothing behind them
_PIXELS: Final = 0x50000000  # nothing behind is needed either
_DEEPEST: Final = 16


def read_references(source: Path | bytes) -> References:
    """What a DICOM file refers to. The file may be incomplete behind its references.

    Raises:
        InvalidInstance: it cannot be read, or has no valid UIDs.
    """
    from pydicom.filereader import read_partial  # noqa: PLC0415 - slow to import, and rarely needed

    tags: list[Any] = [Tag.SOP_INSTANCE, Tag.SERIES, *_SERIES, *_INSTANCES]
    with suppressed_pydicom_warnings, io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        try:
            dataset = read_partial(file, _is_behind, specific_tags=tags)
            series = frozenset(uid for tag in _SERIES for uid in _uids(dataset, tag, Tag.SERIES))
            instances = frozenset(uid for tag in _INSTANCES for uid in _uids(dataset, tag, _REFERENCED_INSTANCE))
            identity = str(dataset.get("SOPInstanceUID", "")), str(dataset.get("SeriesInstanceUID", ""))
        except Exception as error:  # pydicom raises many kinds of exceptions on damaged files
            raise InvalidInstance(f"its references cannot be read: {error}") from error
    sop_uid, series_uid = parse_identity(*identity)
    return References(
        frozenset(map(SeriesUid, series - {series_uid})),
        frozenset(map(SopInstanceUid, instances)),
        frozenset({sop_uid}),
    )


def _is_behind(tag: int, vr: str | None, length: int) -> bool:
    del vr, length
    first, end = _CONTOURS  # pydicom's tags are a subclass of int, which a range would look up one by one
    return first <= tag < end or tag >= _PIXELS


def _uids(dataset: Dataset, sequence: int, wanted: int, depth: int = 0) -> Iterator[str]:
    """The values of the element `wanted` in the items of a sequence, at any depth."""
    if sequence not in dataset or depth > _DEEPEST:
        return
    for item in dataset[sequence].value or ():
        for element in item:
            if element.tag == wanted and is_uid(uid := str(element.value)):
                yield uid
            elif element.VR == "SQ":
                yield from _uids(item, element.tag, wanted, depth + 1)

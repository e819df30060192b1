"""Every attribute of an instance as text, for people who look at one in an archive's page; and names of SOP classes.

Large values are told by their length, as NBIA does with pixel data; nothing of them is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance
from bulkdl.model.text import shortened

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LONGEST_VALUE: Final = 1_024
_DEEPEST: Final = 16
_DEFER_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class TagText:
    """One attribute. `element` is `(0008,0060)`, with a `>` before it for each sequence that it is in.

    A sequence has a row before its items and one behind them, as public clients expect (tcia_utils, nbiatoolkit).
    """

    element: str
    name: str
    data: str


def read_tags(path: Path) -> list[TagText]:
    """The attributes of a DICOM file in order, those of its meta information first.

    Raises:
        InvalidInstance: the file cannot be read.
    """
    from pydicom import dcmread  # noqa: PLC0415 - heavy, and most of those who import this never read a file

    with suppressed_pydicom_warnings():
        try:
            dataset = dcmread(path, stop_before_pixels=True, defer_size=_DEFER_BYTES)
            return [*_texts(dataset.file_meta, 0), *_texts(dataset, 0)]
        except Exception as error:  # pydicom raises many kinds on damaged files
            raise InvalidInstance(f"{path.name} cannot be read: {error}") from error


def sop_class_names() -> dict[str, str]:
    """The SOP classes of the standard, by UID."""
    from pydicom._uid_dict import UID_dictionary  # noqa: PLC0415 - the same

    return {uid: entry[0] for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class"}


def _texts(dataset: Dataset, depth: int) -> Iterator[TagText]:
    prefix = ">" * depth
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:  # noqa: BLE001 - pydicom raises many kinds; one odd attribute does not hide the others
            yield TagText(f"{prefix}({tag.group:04X},{tag.element:04X})", "", "")
            continue
        where = f"{prefix}({tag.group:04X},{tag.element:04X})"
        if element.VR == "SQ":
            yield TagText(where, element.name, "")
            if depth < _DEEPEST:
                for item in element.value:
                    yield from _texts(item, depth + 1)
            yield TagText(where, f"End {element.name}", "")
        else:
            yield TagText(where, element.name, _told(element.value))


def _told(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = "" if value is None else str(value)
    return shortened(text, _LONGEST_VALUE)

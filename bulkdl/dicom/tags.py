"""The attributes of an instance as text, and the names of SOP classes.

Large values are not read; their text is their length, as in NBIA for pixel data.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkdl.dicom.header import without_escapes
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance
from bulkdl.model.text import shortened

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MAX_CHARACTERS: Final = 1_024
_DEEPEST: Final = 16
_DEFER_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class TagText:
    """One attribute. `element` is `(0008,0060)`, after a `>` for each sequence that contains it.

    A sequence has one row before its items and one after them, as clients expect (tcia_utils, nbiatoolkit).
    """

    element: str
    name: str
    data: str


def read_tags(path: Path) -> list[TagText]:
    """The attributes of a DICOM file in order, with its meta information. InvalidInstance: it cannot be read."""
    from pydicom import dcmread  # noqa: PLC0415 - slow to import, and rarely needed

    with suppressed_pydicom_warnings:
        try:
            dataset = dcmread(path, stop_before_pixels=True, defer_size=_DEFER_BYTES)
            return [*_rows(dataset.file_meta, 0), *_rows(dataset, 0)]
        except Exception as error:  # pydicom raises many kinds of exceptions on damaged files
            raise InvalidInstance(f"{path.name} cannot be read: {error}") from error


def uid_names(kind: str) -> dict[str, str]:
    """The names of the UIDs of the standard that are of a kind, `SOP Class` or `Transfer Syntax` (PS3.6, annex A)."""
    from pydicom._uid_dict import UID_dictionary  # noqa: PLC0415 - the same

    return {uid: entry[0] for uid, entry in UID_dictionary.items() if entry[1] == kind}


def _rows(dataset: Dataset, depth: int) -> Iterator[TagText]:
    prefix = ">" * depth
    for tag in sorted(dataset.keys()):
        where = f"{prefix}({tag.group:04X},{tag.element:04X})"
        try:
            element = dataset[tag]
        except Exception:  # noqa: BLE001 - the same; an invalid attribute does not hide the others
            yield TagText(where, "", "")
            continue
        if element.VR == "SQ":
            yield TagText(where, element.name, "")
            if depth < _DEEPEST:
                for item in element.value:
                    yield from _rows(item, depth + 1)
            yield TagText(where, f"End {element.name}", "")
        else:
            yield TagText(where, element.name, shortened(_text_of(element.value), _MAX_CHARACTERS))


def _text_of(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    values = value if isinstance(value, MutableSequence) else [value]
    return without_escapes("\\".join("" if one is None else str(one) for one in values))

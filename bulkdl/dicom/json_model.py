"""A file in the DICOM JSON model: its attributes, with addresses in the place of pixel data and other bulk data.

Text is UTF-8, whatever the Specific Character Set of the file, which is given as ISO_IR 192. An element whose value
pydicom cannot convert is empty: as a text, such a number would be allowed (§F.2.3), but ends the parsers of clients.

Source: PS3.18 Annex F; §10.4.1.1.2 (metadata, with Available Transfer Syntax UID).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import MutableSequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkdl.dicom.attributes import InstanceAttributes
from bulkdl.dicom.header import without_escapes
from bulkdl.dicom.opening import read_with_pydicom
from bulkdl.dicom.part10 import open_data_set, opened, read_meta
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

INLINE_BYTES: Final = 512
"""Up to this size a binary value is a part of the JSON."""

BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_DEFER_BYTES: Final = 1 << 16
_FLOATS: Final = frozenset({"DS", "FD", "FL"})
_INTEGERS: Final = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_CHARACTER_SET: Final = "00080005"
_AVAILABLE_SYNTAX: Final = "00083002"
_NOT_FINITE: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}


def read_json(path: Path, bulk_url: str) -> bytes:
    """The attributes of a file as one JSON object. Bulk data is at `bulk_url`, `/` and its place in the data set.

    Raises:
        InvalidInstance: the file cannot be read.
    """
    try:
        with opened(path) as file, suppressed_pydicom_warnings:
            meta = read_meta(file)
            syntax = meta.transfer_syntax_uid or ""
            attributes = InstanceAttributes(open_data_set(file, meta), whole=True)
            options = {"stop_before_pixels": True, "defer_size": _DEFER_BYTES}
            document = _data_set(read_with_pydicom(file, attributes, syntax, **options), f"{bulk_url}/")
    except (InvalidInstance, MemoryError):
        raise
    except Exception as error:  # pydicom raises many kinds of exceptions on damaged files
        raise InvalidInstance(f"it cannot be read: {error_text(error)}") from error
    document[_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    document[_AVAILABLE_SYNTAX] = {"vr": "UI", "Value": [syntax]}
    if (pixels := attributes.pixel_data) is not None and pixels.length:
        tag = f"{pixels.tag:08X}"
        document[tag] = {"vr": (pixels.vr or b"OW").decode("ascii"), "BulkDataURI": f"{bulk_url}/{tag}"}
    return json.dumps(dict(sorted(document.items())), ensure_ascii=False).encode(errors="replace")


def _data_set(dataset: Dataset, place: str) -> dict[str, Any]:
    """The elements of a data set; `place` is the address of what is in it, as far as it is the same."""
    elements = ((f"{tag:08X}", _element(dataset, tag, place)) for tag in sorted(dataset.keys()) if tag.element)
    return {key: element for key, element in elements if element is not None}


def _element(dataset: Dataset, tag: BaseTag, place: str) -> dict[str, Any] | None:
    from pydicom.valuerep import VR  # noqa: PLC0415 - slow to import, and rarely needed

    raw: Any = dataset.get_item(tag)
    where = f"{place}{tag:08X}"
    if raw.VR in BINARY and raw.is_raw and raw.length > INLINE_BYTES:  # it is not read
        return {"vr": raw.VR, "BulkDataURI": where}
    try:
        return _converted(dataset[tag], where)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - pydicom raises many kinds; an invalid attribute does not hide the others
        return {"vr": raw.VR} if raw.VR in VR.__members__ else None


def _converted(element: DataElement, where: str) -> dict[str, Any]:
    vr, value = element.VR, element.value
    if vr == "SQ":
        items = [_data_set(item, f"{where}/{number}/") for number, item in enumerate(value, start=1)]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if isinstance(value, bytes):
        return _binary(vr, value, where)
    given = value if isinstance(value, MutableSequence) else [] if value is None else [value]
    values = [None if one is None or one == "" else _value(vr, one) for one in given]
    return {"vr": vr, "Value": values} if any(one is not None for one in values) else {"vr": vr}


def _binary(vr: str, value: bytes, where: str) -> dict[str, Any]:
    vr = vr if vr in BINARY else "UN"  # a VR that depends on others, such as "US or OW"
    if not value:
        return {"vr": vr}
    if len(value) > INLINE_BYTES:
        return {"vr": vr, "BulkDataURI": where}
    return {"vr": vr, "InlineBinary": base64.b64encode(value).decode("ascii")}


def _value(vr: str, value: Any) -> Any:
    if vr == "PN":
        groups = (("Alphabetic", value.alphabetic), ("Ideographic", value.ideographic), ("Phonetic", value.phonetic))
        return {name: without_escapes(group) for name, group in groups if group}
    if vr == "AT":
        return f"{int(value):08X}"
    if vr in _INTEGERS:
        return int(value)
    if vr in _FLOATS:
        number = float(value)
        return number if math.isfinite(number) else _NOT_FINITE.get(number, "NaN")
    return without_escapes(str(value))

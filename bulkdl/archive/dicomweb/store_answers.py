"""What the answer to a store request says of each instance. Pure.

An instance is stored where the answer names it as stored; one that no part of the answer names is not confirmed,
whatever its status. Source: PS3.18 §10.5.3 and Annex I.2 (Store Instances Response Module); JSON as in Annex F, XML as
in PS3.19 A.1, which Google sends unless JSON is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bulkdl.model.text import one_line, shortened

REFERENCED_SOPS: Final = "00081199"
FAILED_SOPS: Final = "00081198"
OTHER_FAILURES: Final = "0008119A"
REFERENCED_SOP_UID: Final = "00081155"
REFERENCED_SOP_CLASS: Final = "00081150"
FAILURE_REASON: Final = "00081197"
WARNING_REASON: Final = "00081196"
RETRIEVE_URL: Final = "00081190"

_SOP_UID: Final = "00080018"
_TEXTS: Final = ("00741048", "00090097")  # in which Microsoft and Google say more (Failed Attributes, private)
_ALREADY_AT_MICROSOFT: Final = 45070  # the same Study, Series and instance is stored; it compares no bytes
_SHOWN_CHARACTERS: Final = 120
_MOST_DEPTH: Final = 16
_CODE: Final = re.compile(r"\s*[0-9]{1,9}\s*", re.ASCII)  # Python converts no text of thousands of digits

PROCESSING_FAILURE: Final = 0x0110
DUPLICATE: Final = 0x0111
OUT_OF_RESOURCES: Final = 0xA700
DOES_NOT_MATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000

_REASONS: Final[Mapping[int, str]] = {
    PROCESSING_FAILURE: "processing failure",
    DUPLICATE: "duplicate SOP instance",
    0x0112: "no such object instance",
    0x0119: "class and instance conflict",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0x0213: "resource limitation",
    0xA770: "no dataset to store",
    0xB000: "values were changed",
    0xB006: "elements were discarded",
    0xB007: "the data set does not match its SOP class",
    0xC122: "transfer syntax not supported",
}
_REASON_CLASSES: Final[Mapping[int, str]] = {
    OUT_OF_RESOURCES: "out of resources",
    DOES_NOT_MATCH: "the data set does not match",
    CANNOT_UNDERSTAND: "cannot understand",
}
"""Those of the codes A7xx, A9xx and Cxxx."""


class StoreVerdict(StrEnum):
    """What an answer says of an instance. `already`: it was there before, as far as the archive compares that."""

    STORED = "stored"
    ALREADY = "already"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """What an answer says of one instance, and why: the reason of a failure, or of a warning."""

    verdict: StoreVerdict
    message: str = ""


def reason_text(code: int) -> str:
    """A Failure Reason or Warning Reason in words, with its hexadecimal code as the standard writes it."""
    words = _REASONS.get(code) or _REASON_CLASSES.get(code & 0xFF00) or _REASON_CLASSES.get(code & 0xF000)
    words = words or "a reason of the archive"
    return f"{words} ({code:04X})"


def read_answer(content: bytes, sop_uids: Collection[str]) -> dict[str, StoredInstance]:
    """What the body of an answer says of each of `sop_uids`, those that were sent.

    A body that is empty, or not a data set in JSON or XML, confirms nothing. An instance that is named as stored and as
    failed has failed.
    """
    found = {sop_uid: StoredInstance(StoreVerdict.UNCONFIRMED) for sop_uid in sop_uids}
    document = _document(content)
    for item in _items(document, REFERENCED_SOPS):
        if (sop_uid := _text(item, REFERENCED_SOP_UID)) in found:
            warning = _number(item, WARNING_REASON)
            message = "" if warning is None else f"stored with a warning: {reason_text(warning)}"
            found[sop_uid] = StoredInstance(StoreVerdict.STORED, message)
    for item in _items(document, FAILED_SOPS):
        if (sop_uid := _text(item, REFERENCED_SOP_UID)) in found:
            found[sop_uid] = _failed(item)
    return found


def names_any(found: Mapping[str, StoredInstance]) -> bool:
    """Whether an answer says something of any instance."""
    return any(said.verdict is not StoreVerdict.UNCONFIRMED for said in found.values())


def none_stored(found: Mapping[str, StoredInstance]) -> dict[str, StoredInstance]:
    """What an answer says whose status is that nothing was stored."""
    unnamed = StoredInstance(StoreVerdict.FAILED, "nothing of the request was stored, and its answer gives no reason")
    return {uid: unnamed if said.verdict is StoreVerdict.UNCONFIRMED else said for uid, said in found.items()}


def _failed(item: Mapping[str, Any]) -> StoredInstance:
    code = _number(item, FAILURE_REASON)
    said = "; ".join(filter(None, (_text(item, tag) for tag in _TEXTS)))
    said = f": {shortened(one_line(said), _SHOWN_CHARACTERS)}" if said else ""
    message = (reason_text(code) if code is not None else "no reason was given") + said
    return StoredInstance(StoreVerdict.ALREADY if code == _ALREADY_AT_MICROSOFT else StoreVerdict.FAILED, message)


def is_of_instance(content: bytes, sop_uid: str) -> bool:
    """Whether a body has the attributes of one instance, that one."""
    return _text(_document(content), _SOP_UID) == sop_uid


def _document(content: bytes) -> Mapping[str, Any]:
    """A data set, alone or as the only one of a list; empty if the content is something else."""
    if content.lstrip().startswith(b"<"):
        return _from_xml(content)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    return document if isinstance(document, dict) else {}


def _from_xml(content: bytes) -> Mapping[str, Any]:
    """A data set in the Native DICOM Model, as the one in JSON."""
    from xml.etree.ElementTree import ParseError  # noqa: PLC0415 - late: few archives answer XML

    from defusedxml import DefusedXmlException  # noqa: PLC0415 - as above
    from defusedxml.ElementTree import fromstring  # noqa: PLC0415 - as above

    try:
        return _elements(fromstring(content))
    except (ParseError, DefusedXmlException, ValueError, RecursionError):
        return {}


def _elements(parent: Any, depth: int = 0) -> dict[str, Any]:
    if depth > _MOST_DEPTH:
        raise ValueError("sequences in sequences without end")
    found: dict[str, Any] = {}
    for element in parent:
        if _name(element) != "DicomAttribute":
            continue
        values = [each.text or "" for each in element if _name(each) == "Value"]
        items = [_elements(each, depth + 1) for each in element if _name(each) == "Item"]
        found[str(element.get("tag", "")).upper()] = {"Value": items or values}
    return found


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _values(data_set: Mapping[str, Any], tag: str) -> Sequence[Any]:
    """The values of an element as Annex F has them. `Attributes` reads more forms; a confirmation must be certain."""
    element = data_set.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else ()


def _items(data_set: Mapping[str, Any], tag: str) -> Iterator[Mapping[str, Any]]:
    yield from (item for item in _values(data_set, tag) if isinstance(item, dict))


def _text(data_set: Mapping[str, Any], tag: str) -> str:
    first = next(iter(_values(data_set, tag)), None)
    return first.strip(" \0") if isinstance(first, str) else ""


def _number(data_set: Mapping[str, Any], tag: str) -> int | None:
    first = next(iter(_values(data_set, tag)), None)
    if isinstance(first, str) and _CODE.fullmatch(first):
        first = int(first)
    is_code = isinstance(first, int) and not isinstance(first, bool) and 0 <= first <= 0xFFFF  # noqa: PLR2004 - US
    return first if is_code else None

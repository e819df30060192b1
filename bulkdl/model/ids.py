"""UIDs that have been checked.

PS3.5 §9.1 allows 1 to 64 characters, digits and dots, no leading zeros, a registered root. Archives have UIDs that
violate the last two (`61.7.…`, components with leading zeros), so only the alphabet and the length are checked. Code
that puts a UID into a path or a URL must still escape it: `..` is accepted. Every `parse` function raises InvalidUid.
"""

import hashlib
import re
import uuid
from typing import NewType

from bulkdl.errors import InvalidUid
from bulkdl.model.text import shortened

StudyUid = NewType("StudyUid", str)
SeriesUid = NewType("SeriesUid", str)
SopInstanceUid = NewType("SopInstanceUid", str)

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_SHOWN_CHARACTERS = 80
_OIDS = uuid.NAMESPACE_OID.bytes
_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}  # of RFC 9562, §4.1: the two highest bits are 10


def is_uid(text: str) -> bool:
    """Whether `text` is 1 to 64 digits and dots."""
    return _UID.fullmatch(text) is not None


def _parse(text: str) -> str:
    if not is_uid(text):
        raise InvalidUid(f"{shortened(text, _SHOWN_CHARACTERS)!r} is not a UID (1 to 64 digits and dots)")
    return text


def parse_study_uid(text: str) -> StudyUid:
    """A Study Instance UID (0020,000D)."""
    return StudyUid(_parse(text))


def parse_series_uid(text: str) -> SeriesUid:
    """A Series Instance UID (0020,000E)."""
    return SeriesUid(_parse(text))


def parse_sop_uid(text: str) -> SopInstanceUid:
    """A SOP Instance UID (0008,0018)."""
    return SopInstanceUid(_parse(text))


def stable_uuid(uid: str) -> str:
    """The UUID that stands for a UID in the keys of a bucket: its UUIDv5 in the name space of OIDs (RFC 9562)."""
    text = hashlib.sha1(_OIDS + uid.encode(), usedforsecurity=False).hexdigest()
    # Version and variant are set as text because uuid.uuid5 takes five times as long, for a million Series.
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def names_files(template: str) -> bool:
    """Whether the template of a layout names files, too. The others leave them `default_file_name`."""
    return template.endswith(".dcm")


def derived_uid(text: str) -> str:
    """The UID that bulkdl gives to what has none, such as a slide: made of the UUIDv5 of its address (PS3.5 §B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, text).int}"


def is_plain_file(name: str) -> bool:
    """Whether a file of a mirror is not a DICOM instance: a slide, a table, a zip. Only instances end in `.dcm`."""
    return not name.endswith(".dcm")


def default_file_name(sop_uid: str) -> str:
    """The file name of an instance. The view `v_instances` of the journal states the same rule in SQL."""
    return f"{sop_uid}.dcm"

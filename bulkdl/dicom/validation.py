"""Validate an instance: is it valid DICOM, and is it the one that was requested?

Of the levels `header`, `structure` and `pixels` each includes the one before. pydicom opens every file that passes in a
transfer syntax that it knows, but accepts truncated files, so `part10` walks the data set, `pixels` compares the pixel
data with the attributes of the image, and `frames` counts the frames of compressed pixel data.

Not detected: a file that is cut exactly between two elements after the pixel data, or, in an object without pixel data,
between any two elements after its UIDs. The comparison of byte counts, elsewhere, finds those.
"""

import threading
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bulkdl.dicom.attributes import InstanceAttributes, Tag, parse_identity, parse_study_uid
from bulkdl.dicom.opening import sop_uid_by_pydicom
from bulkdl.dicom.part10 import JPIP_DEFLATED, FileMeta, open_data_set, opened, read_meta
from bulkdl.dicom.pixels import check_pixel_data, decode_pixel_data, is_registered, kind_of_uid
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance, WrongObject
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, is_uid
from bulkdl.model.records import InstanceKey
from bulkdl.model.settings import ValidationLevel
from bulkdl.model.text import error_text


class ValidationResult(NamedTuple):
    """A valid instance; a tuple, as it is made for each. `notes` are harmless irregularities, one sentence each.

    A note that begins with `NOT_DECODED` of `model.outcomes` says that level `pixels` was requested and not reached.
    """

    sop_uid: SopInstanceUid
    series_uid: SeriesUid
    study_uid: StudyUid | None
    sop_class_uid: str | None
    transfer_syntax_uid: str
    notes: tuple[str, ...] = ()


def validate(
    source: bytes | memoryview | Path, *, level: ValidationLevel, expected: InstanceKey | None = None
) -> ValidationResult:
    """Validate one instance, given as its bytes or as a file, which is not read into memory as a whole unless deflated.

    At level `pixels`, a corrupt frame may crash gdcm and with it the process.

    Raises:
        InvalidInstance: it is not valid DICOM; the message says what is wrong and where.
        WrongObject: it is not the `expected` instance.
        ConfigurationError: at level `pixels`, no decoder for its transfer syntax is installed.
    """
    load_pydicom()
    with opened(source) as file:
        meta = read_meta(file)
        syntax = _check_transfer_syntax(meta.transfer_syntax_uid)
        whole = level is not ValidationLevel.HEADER
        attributes = InstanceAttributes(open_data_set(file, meta, into_sequences=whole), whole=whole)
        sop_uid, series_uid = parse_identity(attributes.uid(Tag.SOP_INSTANCE), attributes.uid(Tag.SERIES))
        if expected is not None and sop_uid != expected.sop_uid:
            raise WrongObject(f"SOP Instance UID {sop_uid}, expected {expected.sop_uid}")
        if expected is not None and series_uid != expected.series_uid:
            raise WrongObject(f"Series Instance UID {series_uid}, expected {expected.series_uid}")
        study_uid = parse_study_uid(attributes.uid(Tag.STUDY))
        notes = _notes(meta, attributes, sop_uid, study_uid)
        if whole:
            notes += check_pixel_data(attributes, syntax)
        notes += _open_with_pydicom(file, sop_uid, meta, attributes)
        if level is ValidationLevel.PIXELS:
            notes += decode_pixel_data(file, attributes, syntax)
        return ValidationResult(sop_uid, series_uid, study_uid, attributes.sop_class_uid, syntax, tuple(notes))


_LOADING = threading.Lock()  # two threads that import a package with import cycles may both fail


def load_pydicom() -> None:
    """Import pydicom, so that the first instance does not wait for it: a tenth of a second or more. Blocking."""
    with _LOADING:
        import pydicom.filereader  # noqa: PLC0415, F401


def _check_transfer_syntax(uid: str | None) -> str:
    if uid is None:
        raise InvalidInstance("no Transfer Syntax UID")
    if not is_uid(uid):
        raise InvalidInstance(f"Transfer Syntax UID {uid!r} is not a UID")
    if kind_of_uid(uid) not in {"Transfer Syntax", ""}:
        raise InvalidInstance(f"Transfer Syntax UID {uid!r} is not that of a transfer syntax")
    return uid


def _notes(
    meta: FileMeta, attributes: InstanceAttributes, sop_uid: SopInstanceUid, study_uid: StudyUid | None
) -> list[str]:
    notes = []
    if meta.media_sop_uid != sop_uid:
        notes.append(f"Media Storage SOP Instance UID is {meta.media_sop_uid or 'absent'}")
    if attributes.sop_class_uid is None:
        notes.append("no SOP Class UID")
    if study_uid is None:
        notes.append("no valid Study Instance UID")
    if not attributes.is_as_declared:
        notes.append(f"{'implicit' if attributes.is_implicit else 'explicit'} VR, against its transfer syntax")
    if not is_registered(meta.transfer_syntax_uid or ""):
        notes.append(f"the transfer syntax {meta.transfer_syntax_uid} is unknown")
    if attributes.walk.illegal_groups:
        groups = ", ".join(f"{group:04X}" for group in sorted(attributes.walk.illegal_groups))
        notes.append(f"elements of group {groups} (PS3.5 §7.8.1)")
    if attributes.walk.zeros_after:
        notes.append(f"{attributes.walk.zeros_after} zero bytes after the data set")
    return notes


def _open_with_pydicom(
    file: BinaryIO, sop_uid: SopInstanceUid, meta: FileMeta, attributes: InstanceAttributes
) -> list[str]:
    """Check that pydicom opens the file. Returns a note if it cannot, and does not know the transfer syntax."""
    syntax = meta.transfer_syntax_uid or ""
    try:
        with suppressed_pydicom_warnings:
            found = sop_uid_by_pydicom(file, meta, attributes, expected=sop_uid)
    except Exception as error:  # pydicom raises many kinds of exceptions, RecursionError and struct.error included
        if syntax in JPIP_DEFLATED or not is_registered(syntax):
            return [f"pydicom cannot open it: {error_text(error)}"]
        raise InvalidInstance(f"pydicom cannot open it: {error_text(error)}") from error
    if found != sop_uid and syntax not in JPIP_DEFLATED:
        raise InvalidInstance("pydicom reads another SOP Instance UID")
    return []

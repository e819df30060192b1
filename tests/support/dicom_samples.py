"""DICOM files to test readers with: the files of pydicom, and small images in any transfer syntax."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

SOP_UID = "1.2.3.4"
SERIES_UID = "1.2.3.3"
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)

_PYDICOM = Path(pydicom.__file__).parent / "data"


@cache
def pydicom_files() -> tuple[Path, ...]:
    """All test files of the pydicom package; not all are DICOM."""
    folders = (_PYDICOM / "test_files", _PYDICOM / "charset_files")
    return tuple(sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()))


def pydicom_file(name: str) -> Path:
    """One of these files by name."""
    return next(path for path in pydicom_files() if path.name == name)


def image(**attributes: object) -> Dataset:
    """A CT image of 4 by 4 pixels of 16 bits, with a sequence; `attributes` are set, or removed where None."""
    item = Dataset()
    item.ReferencedSOPClassUID = CTImageStorage
    item.ReferencedSOPInstanceUID = "1.2.3.9"
    made = Dataset()
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = SOP_UID
    made.Modality = "CT"
    made.ReferencedImageSequence = [item]
    made.PatientID = "P"
    made.StudyInstanceUID = "1.2.3.2"
    made.SeriesInstanceUID = SERIES_UID
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows = 4
    made.Columns = 4
    made.BitsAllocated = 16
    made.BitsStored = 16
    made.HighBit = 15
    made.PixelRepresentation = 0
    made.PixelData = bytes(range(32))
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def encoded(data_set: Dataset, transfer_syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """`data_set` as a DICOM file. In encapsulated transfer syntaxes the pixel data goes in as it is."""
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.get("SOPInstanceUID", SOP_UID)
    data_set.file_meta.MediaStorageSOPClassUID = data_set.get("SOPClassUID", CTImageStorage)
    data_set.file_meta.TransferSyntaxUID = transfer_syntax
    if "PixelData" in data_set:
        data_set["PixelData"].VR = "OB" if transfer_syntax.is_encapsulated else "OW"
        data_set["PixelData"].is_undefined_length = transfer_syntax.is_encapsulated
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def jpeg(payload: bytes = b"") -> bytes:
    """Bytes that begin and end like a JPEG; no decoder takes them."""
    return b"\xff\xd8" + payload + b"\xff\xd9"


def encapsulated(frames: list[bytes], transfer_syntax: UID = JPEGLSLossless, **attributes: object) -> bytes:
    """An image file with unchanged `frames`, one fragment each."""
    return encoded(image(PixelData=encapsulate(frames), **attributes), transfer_syntax)


def in_syntax(syntax: str, content: bytes, *, written: UID = ExplicitVRLittleEndian) -> bytes:
    """`content`, which is in the transfer syntax `written`, under another Transfer Syntax UID."""
    before, after = (value.encode() + b"\0" * (len(value) % 2) for value in (written, syntax))
    return content.replace(
        b"UI" + len(before).to_bytes(2, "little") + before, b"UI" + len(after).to_bytes(2, "little") + after, 1
    )

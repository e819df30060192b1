"""Make valid, small DICOM files by the thousand."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid

_ROOT = "1.2.826.0.1.3680043.10.9999"
_DIGITS = 20  # of every made-up UID, so that a file can be made from a template by replacing its UIDs


def uid(*parts: object) -> str:
    """A UID that depends on `parts` alone, always of the same length."""
    number = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:12])
    return f"{_ROOT}.{10 ** (_DIGITS - 1) + number % (9 * 10 ** (_DIGITS - 1))}"


@dataclass(frozen=True)
class MadeUp:
    """One made-up instance."""

    collection: str
    patient_id: str
    study_uid: StudyUid
    series_uid: SeriesUid
    sop_uid: SopInstanceUid
    content: bytes

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.patient_id}/{self.series_uid}/{self.sop_uid}.dcm"


@cache
def _template(rows: int) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid("sop"))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = uid("sop")
    image.StudyDate = "20200102"
    image.SeriesDate = "20200102"
    image.Modality = "CT"
    image.Manufacturer = "EXAMPLE"
    image.PatientName = "PATIENT^00000000"
    image.PatientID = "PATIENT-00000000"
    image.BodyPartExamined = "CHEST"
    image.StudyInstanceUID = uid("study")
    image.SeriesInstanceUID = uid("series")
    image.SeriesNumber = "1"
    image.InstanceNumber = "1"
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows = rows
    image.Columns = rows
    image.BitsAllocated = 16
    image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 0
    image.PixelData = b"PIXELS--" * (rows * rows * 2 // 8)
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def instances(
    *, series: int, per_series: int, collection: str = "MADE-UP", rows: int = 8, seed: str = ""
) -> Iterator[MadeUp]:
    """Made-up CT instances, `rows` x `rows` pixels each: a Patient and a Study for each two Series."""
    for number in range(series):
        patient_id = f"PATIENT-{number // 2:08}"
        study_uid = StudyUid(uid(seed, collection, "study", number // 2))
        series_uid = SeriesUid(uid(seed, collection, "series", number))
        of_series = (
            _template(rows)
            .replace(uid("study").encode(), study_uid.encode())
            .replace(uid("series").encode(), series_uid.encode())
            .replace(b"PATIENT-00000000", patient_id.encode())
        )
        for position in range(per_series):
            sop_uid = SopInstanceUid(uid(seed, collection, "sop", number, position))
            content = of_series.replace(uid("sop").encode(), sop_uid.encode()).replace(
                b"PIXELS--", hashlib.sha256(sop_uid.encode()).digest()[:8], 4
            )
            yield MadeUp(collection, patient_id, study_uid, series_uid, sop_uid, content)


def write_folder(folder: Path, made_up: Iterator[MadeUp]) -> list[MadeUp]:
    """Write instances below `folder`, and return them."""
    written = []
    for instance in made_up:
        path = folder / instance.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(instance.content)
        written.append(instance)
    return written


def noisy(one: MadeUp) -> MadeUp:
    """The same with pixels that no zip can shrink."""
    begin = one.content.index(b"PIXELS--")
    pixels = random.Random(one.sop_uid).randbytes(len(one.content) - begin)  # noqa: S311 - no secret is made
    return replace(one, content=one.content[:begin] + pixels)


def padded(one: MadeUp) -> MadeUp:
    """The instance with trailing padding (PS3.10 §7.2): valid, and 28 bytes longer."""
    padding = b"\xfc\xff\xfc\xffOB\0\0" + (16).to_bytes(4, "little") + bytes(16)
    return replace(one, content=one.content + padding)

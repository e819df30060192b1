"""The made-up Collections of the documented answers, as files. Serving them gives exactly these answers."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage

from bulkdl.server.catalogue import About, Root

_ROOT = "1.3.6.1.4.1.14519.5.2.1.9999.1001"
FIRST_STUDY = f"{_ROOT}.310246871190345127782310559842"
SECOND_STUDY = f"{_ROOT}.155802236749921048863390127754"
CT_SERIES = f"{_ROOT}.226690874513370918842267715043"
SEG_SERIES = f"{_ROOT}.984413300576612209175540386621"
CT_INSTANCES = (
    f"{_ROOT}.118820456033917725640091284437",
    f"{_ROOT}.556127700938841120374465920083",
    f"{_ROOT}.290043318875629917840032156679",
)
ABOUT = About(
    license_name="Creative Commons Attribution 4.0 International License",
    license_uri="https://creativecommons.org/licenses/by/4.0/",
    collection_uri="https://doi.org/10.7937/K9/TCIA.2099.EXAMPLE1",
    released=date(2021, 7, 15),
)
_SUBMITTED = datetime(2021, 6, 2, tzinfo=UTC).timestamp()
_PADDING_HEAD_BYTES = 12


def write_documented(folder: Path) -> Root:
    """Write the files below `folder` and return the root that serves them."""
    ct = {
        "SOPClassUID": CTImageStorage,
        "StudyInstanceUID": FIRST_STUDY,
        "SeriesInstanceUID": CT_SERIES,
        "Modality": "CT",
        "ProtocolName": "6.1 CHEST",
        "SeriesDescription": 'AXIAL 2.5 "STD"',
        "SeriesNumber": 2,
    }
    for number, (sop_uid, size) in enumerate(zip(CT_INSTANCES, (526850, 526846, 526846), strict=True), start=1):
        _write(folder / f"ct{number}.dcm", size, **ct, SOPInstanceUID=sop_uid, InstanceNumber=number)
    _write(
        folder / "seg.dcm",
        412876,
        SOPClassUID=SegmentationStorage,
        StudyInstanceUID=FIRST_STUDY,
        SeriesInstanceUID=SEG_SERIES,
        SOPInstanceUID=f"{_ROOT}.1",
        Modality="SEG",
        SeriesDescription="Lung segmentation",
        SeriesNumber=300,
    )
    _write(
        folder / "later.dcm",
        2000,
        SOPClassUID=CTImageStorage,
        StudyInstanceUID=SECOND_STUDY,
        SeriesInstanceUID=f"{_ROOT}.701129954820337561104488297315",
        SOPInstanceUID=f"{_ROOT}.2",
        Modality="CT",
        StudyDate="20080930",
        StudyDescription="CT CHEST, FOLLOW UP",
        StudyID="2",
        LongitudinalTemporalEventType="DIAGNOSIS",
        LongitudinalTemporalOffsetFromEvent=203.0,
    )
    _write(
        folder / "other.dcm",
        2000,
        SOPClassUID=MRImageStorage,
        PatientID="DEMO-LUNG-002",
        PatientName="DEMO-LUNG-002",
        PatientSex="M",
        EthnicGroup="Not reported",
        SeriesInstanceUID=f"{_ROOT}.4",
        SOPInstanceUID=f"{_ROOT}.3",
        Modality="MR",
    )
    return Root(folder, "DEMO-LUNG", ABOUT)


def _write(path: Path, size: int, **attributes: Any) -> None:
    dataset = Dataset()
    common = {
        "PatientID": "DEMO-LUNG-001",
        "PatientName": "DEMO-LUNG-001",
        "PatientSex": "F",
        "PatientAge": "061Y",
        "StudyDate": "20080311",
        "SeriesDate": "20080311",
        "StudyDescription": "CT CHEST W/O CONTRAST",
        "BodyPartExamined": "CHEST",
        "Manufacturer": "EXAMPLE MEDICAL, INC.",
        "ManufacturerModelName": "Scan 16",
        "SoftwareVersions": "07MW18.4",
    }
    for keyword, value in {**common, **attributes}.items():
        setattr(dataset, keyword, value)
    site = dataset.private_block(0x0013, "CTP", create=True)
    site.add_new(0x12, "LO", "DEMO-SITE")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    bare = len(_bytes(dataset))
    dataset.add_new(0xFFFCFFFC, "OB", bytes(size - bare - _PADDING_HEAD_BYTES))
    content = _bytes(dataset)
    assert len(content) == size
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (_SUBMITTED, _SUBMITTED))


def _bytes(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()

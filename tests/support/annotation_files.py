"""Annotations of made-up images: small files that refer to Series, or to single instances, as real ones do."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    RTPlanStorage,
    RTStructureSetStorage,
)

from bulkdl.model.ids import SeriesUid, SopInstanceUid
from tests.support.dicom_files import MadeUp, uid

_CLASSES: Final = {
    "PR": GrayscaleSoftcopyPresentationStateStorage,
    "RTPLAN": RTPlanStorage,
    "RTSTRUCT": RTStructureSetStorage,
}


def dataset(**values: Any) -> Dataset:
    """A data set of these values."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def annotation(
    modality: str, beside: MadeUp, *, series: Iterable[str] = (), structures: MadeUp | None = None, name: str = ""
) -> MadeUp:
    """An annotation in the Study of `beside`, alone in its Series, that refers to `series`, or to `structures`."""
    name = name or modality
    series_uid, sop_uid = uid("annotation series", name), uid("annotation", name)
    made = dataset(
        SOPClassUID=_CLASSES[modality],
        SOPInstanceUID=sop_uid,
        Modality=modality,
        PatientID=beside.patient_id,
        PatientName="",
        StudyInstanceUID=beside.study_uid,
        SeriesInstanceUID=series_uid,
        SeriesNumber="9",
    )
    items = [dataset(SeriesInstanceUID=each) for each in series]
    if modality == "RTSTRUCT":
        study = dataset(
            ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
            ReferencedSOPInstanceUID=beside.study_uid,
            RTReferencedSeriesSequence=items,
        )
        frame = dataset(FrameOfReferenceUID=uid("frame"), RTReferencedStudySequence=[study])
        made.ReferencedFrameOfReferenceSequence = [frame]
        made.ROIContourSequence = [dataset(ReferencedROINumber="1")]
    elif items:
        made.ReferencedSeriesSequence = items
    if structures is not None:
        reference = dataset(ReferencedSOPClassUID=RTStructureSetStorage, ReferencedSOPInstanceUID=structures.sop_uid)
        made.ReferencedStructureSetSequence = [reference]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta = meta
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return MadeUp(
        beside.collection,
        beside.patient_id,
        beside.study_uid,
        SeriesUid(series_uid),
        SopInstanceUid(sop_uid),
        buffer.getvalue(),
    )

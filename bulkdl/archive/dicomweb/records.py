"""Records of what the answers of a search have. Pure.

DICOMweb has no Collections. That of a Study is its Clinical Trial Protocol ID (0012,0020), which holds the name of the
Collection in data of TCIA, or else the name of the host. It is read at the level of Studies alone, so that a Study is
in one Collection however it is found.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bulkdl.archive.dicomweb.attributes import TAGS, Attributes
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series, Study

STUDY_FIELDS: Final = tuple(
    map(TAGS.__getitem__, ("StudyDescription", "ClinicalTrialProtocolID", "StudyID", "NumberOfStudyRelatedSeries"))
)
"""The tags that are requested of Studies beyond those that every answer has."""
SERIES_FIELDS: Final = tuple(
    map(
        TAGS.__getitem__,
        (
            *("SeriesDate", "Manufacturer", "SeriesDescription", "ManufacturerModelName", "BodyPartExamined"),
            *("ProtocolName", "NumberOfSeriesRelatedInstances"),
        ),
    )
)
"""The same of Series."""


def read_study(row: Attributes, host: str) -> Study | None:
    """The Study of a row; None if it has no UID. `host` is the Collection of Studies that state none."""
    if (uid := row.uid("StudyInstanceUID")) is None:
        return None
    return Study(
        study_uid=StudyUid(uid),
        patient_id=row.text("PatientID") or "",
        collection=row.text("ClinicalTrialProtocolID") or host,
        study_date=row.day("StudyDate"),
        description=row.text("StudyDescription"),
        study_id=row.text("StudyID"),
        patient_sex=row.text("PatientSex"),
        series_count=row.number("NumberOfStudyRelatedSeries"),
    )


def read_series(row: Attributes, study: Study) -> Series | None:
    """The Series of a row; None if it has no UID, or is of another Study."""
    uid, study_uid = row.uid("SeriesInstanceUID"), row.uid("StudyInstanceUID")
    if uid is None or study_uid not in {None, study.study_uid}:
        return None
    return of_study(
        Series(
            series_uid=SeriesUid(uid),
            patient_id=row.text("PatientID") or "",
            modality=row.text("Modality"),
            image_count=row.number("NumberOfSeriesRelatedInstances"),
            body_part=row.text("BodyPartExamined"),
            manufacturer=row.text("Manufacturer"),
            model=row.text("ManufacturerModelName"),
            software_versions=row.text("SoftwareVersions"),
            protocol=row.text("ProtocolName"),
            description=row.text("SeriesDescription"),
            series_number=row.number("SeriesNumber"),
            series_date=row.day("SeriesDate"),
        ),
        study,
    )


def of_study(series: Series, study: Study) -> Series:
    """The Series with what its Study states."""
    return replace(
        series,
        study_uid=study.study_uid,
        patient_id=study.patient_id or series.patient_id,
        collection=study.collection,
        study_description=study.description,
        study_date=study.study_date,
        study_id=study.study_id,
    )

"""NBIA's Search APIs: v1, open to all, and v2, the same with a login. Paths are below `v1/` and `v2/`.

Source: the server program (`V1_*.java`, `V2_*.java`: parameters as declared, columns in order). Two traps: the form of
dates in parameters differs between endpoints, and the MD5 of an instance is requested by `SOPInstanceUid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints.base import Answer, Attribute, DateForm, Endpoint, Kind, Parameter
from bulkdl.archive.nbia.endpoints.shared import (
    JSON_ONLY,
    SERIES_START,
    asked,
    by_name,
    columns,
    other,
    rows,
    since,
)

PATIENT_FIELDS: Final = {"PatientName": "name", "PatientBirthDate": "birth_date", "PatientSex": "sex"}
"""The names of a Patient's fields in a table of Patients."""

PATIENT_V1: Final = columns(
    "PatientId, PatientName, PatientBirthDate, PatientSex, EthnicGroup, Collection, Phantom, SpeciesCode, "
    "SpeciesDescription",
    **PATIENT_FIELDS,
)

STUDY_V1: Final = columns("""
    StudyInstanceUID, StudyDate, StudyDescription, AdmittingDiagnosesDescription, StudyID, PatientAge, PatientID,
    PatientName, PatientBirthDate, PatientSex, EthnicGroup, Collection, SeriesCount, LongitudinalTemporalEventType,
    LongitudinalTemporalOffsetFromEvent
""")

SERIES_V1: Final = SERIES_START + columns("""
    TimeStamp, LicenseName, LicenseURI, CollectionURI, FileSize, DateReleased, StudyDesc, StudyDate, ThirdPartyAnalysis
""")

# Every value is text; dates are written by java.util.Date, except the Study's, which is MM-dd-yyyy.
_SERIES_METADATA: Final = columns(
    "Series UID, Collection, 3rd Party Analysis, Data Description URI, Subject ID, Study UID, Study Description, "
    "Study Date, Series Description, Manufacturer, Modality, SOP Class UID, Number of Images, File Size, "
    "File Location, Series Number, License Name, License URL, Annotation Size, Date Released, Series Date, "
    "Protocol Name, Body Part Examined, Annotations Flag, Manufacturer Model Name, Software Versions, TimeStamp",
    StudyDescription="study_description",
)

_SERIES_QC: Final = columns(
    "SeriesInstanceUID, Visibility, ReleaseStatus, ReleaseDate, ImageCount, Doi, LicenseName, Site, Project, "
    "PatientID, Modality, StudyDescription, SeriesDescription",
    StudyDescription="study_description",
)

_DATE: Final = since("Date", DateForm.SLASHED, "a day, such as 2020/12/31; what was released after it")
_FROM: Final = since(
    "fromDate", DateForm.DAY_FIRST, "a day, the day first: 31/12/2020; 01/01/1900 where it is left out"
)
_RELEASED: Final = Attribute(
    "Date Released", "released", Kind.DATE, "", "when the Series became public; note the blank"
)

VALUES: Final = (
    rows("getCollectionValues", "", "Collection"),
    rows("getModalityValues", "Collection, BodyPartExamined~", "Modality"),
    rows("getBodyPartValues", "Collection, Modality~", "BodyPartExamined"),
    rows("getManufacturerValues", "Collection, Modality~, BodyPartExamined~", "Manufacturer"),
)
"""The lists of values, which are the same in v1, v2 and v4."""

IMAGES: Final = (
    other("getSingleImage", "SeriesInstanceUID!, SOPInstanceUID!", Answer.INSTANCE),
    other("getImage", "SeriesInstanceUID!, NewFileNames", Answer.BUNDLE),
    other("getImageWithMD5Hash", "SeriesInstanceUID!", Answer.BUNDLE),
    other("getDCMImage", "SeriesInstanceUID!, IncludeAnnotation, MD5Verification", Answer.BUNDLE),
)
"""The images, which are the same in v1 and v2, and but for getImage in v4."""

IMAGE_OTHER: Final = other("getImageOther", "SeriesInstanceUID!", Answer.BUNDLE)


def patients_and_studies(
    patient: tuple[Attribute, ...], study: tuple[Attribute, ...], day: Parameter, more: str = ""
) -> tuple[Endpoint, ...]:
    """The endpoints of Patients and Studies, with the attributes of a version; it adds `more` to bare Patient IDs."""
    new = (*asked("Collection!"), replace(day, required=True))
    return (
        rows("getPatient", "Collection, PatientId", patient),
        rows("getPatientByCollectionAndModality", "Collection!, Modality!~", f"PatientId{more}"),
        rows("NewPatientsInCollection", new, patient),
        rows("getPatientStudy", "Collection, PatientID, StudyInstanceUID", study),
        rows("NewStudiesInPatientCollection", new + asked("PatientID"), study),
    )


SIZE_AND_INSTANCES: Final = (
    rows("getSeriesSize", "SeriesInstanceUID!", "TotalSizeInBytes, ObjectCount"),
    rows("getSOPInstanceUIDs", "SeriesInstanceUID!", "SOPInstanceUID"),
)

DENIED_SERIES: Final = rows("getDeniedSeries", "seriesList, userName", "SeriesInstanceUID")

_SEARCH: Final = (
    *VALUES,
    *patients_and_studies(PATIENT_V1, STUDY_V1, _DATE),
    rows(
        "getSeries",
        "Collection, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality, BodyPartExamined, Manufacturer, "
        "ManufacturerModelName",
        SERIES_V1,
    ),
    rows("getUpdatedSeries", (_FROM,), (*SERIES_START, *columns("DateReleased"))),
    rows("getContentsByName", "name!", (*SERIES_START, _RELEASED), formats=JSON_ONLY),
    *SIZE_AND_INSTANCES,
    rows("getSeriesMetaData", "SeriesInstanceUID!", _SERIES_METADATA),
    *IMAGES,
    other("getM5HashForImage", "SOPInstanceUid!", Answer.TEXT),
)

_V1_ALONE: Final = (
    IMAGE_OTHER,
    DENIED_SERIES,
    other("getUserAgreementTxt", "", Answer.TEXT),
    other("getAllSOPClassDefinition", "", Answer.TEXT),
    other("status", "", Answer.TEXT),
    other("status/version", "", Answer.TEXT),
)

_V2_ALONE: Final = (rows("getSeriesQCInfo", "seriesId!", _SERIES_QC, method="POST"),)

NBIA_V1: Final[Mapping[str, Endpoint]] = by_name((*_SEARCH, *_V1_ALONE))
NBIA_V2: Final[Mapping[str, Endpoint]] = by_name((*_SEARCH, *_V2_ALONE))

"""TCIA's REST API v3, and v4, which is the same without a key. Paths are below `…/services/v3/`.

Source: TCIA's guide to the API, and its platform Bindaas for the form of answers. The order of the attributes of
Patients and Studies is not documented; it is the one that clients show. Each path has a document at `PATH/metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints.base import Answer, DateForm, Endpoint
from bulkdl.archive.nbia.endpoints.nbia_search import PATIENT_FIELDS
from bulkdl.archive.nbia.endpoints.shared import JSON_ONLY, SERIES_START, asked, by_name, columns, other, rows, since

_PATIENT: Final = columns(
    "PatientID, PatientName, PatientBirthDate, PatientSex, EthnicGroup, Collection", **PATIENT_FIELDS
)

_STUDY: Final = columns("""
    Collection, PatientID, PatientName, StudyInstanceUID, StudyDate, StudyDescription, AdmittingDiagnosesDescriptions,
    StudyID, PatientAge, PatientSex, SeriesCount
""")

_DATE: Final = replace(
    since("Date", DateForm.ISO, "a day, such as 2020-12-31; what was released after it"), required=True
)

_SEARCH: Final = (
    rows("getCollectionValues", "", "Collection"),
    rows("getModalityValues", "Collection, BodyPartExamined, Modality", "Modality"),
    rows("getBodyPartValues", "Collection, Modality", "BodyPartExamined"),
    rows("getManufacturerValues", "Collection, Modality, BodyPartExamined", "Manufacturer"),
    rows("getPatient", "Collection", _PATIENT),
    rows("PatientsByModality", "Collection!, Modality!", "PatientID"),
    rows("getPatientStudy", "Collection, PatientID, StudyInstanceUID", _STUDY),
    rows(
        "getSeries",
        "Collection, StudyInstanceUID, PatientID, SeriesInstanceUID, Modality, BodyPartExamined, "
        "ManufacturerModelName, Manufacturer",
        SERIES_START,
    ),
    rows(
        "getSeriesSize",
        "SeriesInstanceUID!",
        "TotalSizeInBytes, ObjectCount",
        description="size and number of instances of one Series",
    ),
    other("getImage", "SeriesInstanceUID!", Answer.BUNDLE, description="all instances of a Series, as a zip"),
    rows("NewPatientsInCollection", (_DATE, *asked("Collection!")), _PATIENT),
    rows("NewStudiesInPatientCollection", (_DATE, *asked("Collection!, PatientID")), _STUDY),
    rows("getSOPInstanceUIDs", "SeriesInstanceUID!", "SOPInstanceUID"),
    other("getSingleImage", "SeriesInstanceUID!, SOPInstanceUID!", Answer.INSTANCE),
)
_CONTENTS: Final = rows("ContentsByName", "name!", SERIES_START, formats=JSON_ONLY)

OTHER_NAMES: Final = {"NewStudiesInPatientCollection": "NewStudiesInPatientsCollection"}
"""Second names of endpoints: TCIA's own page of the API spells one in two ways."""

TCIA_V3: Final[Mapping[str, Endpoint]] = by_name(
    (
        *(replace(endpoint, path=f"TCIA/query/{endpoint.path}") for endpoint in _SEARCH),
        replace(_CONTENTS, path=f"SharedList/query/{_CONTENTS.path}"),
    )
)

"""TCIA's REST API v3, and v4, which is the same without a key. Paths are below `…/services/v3/`.

Source: TCIA's guide to the API, and its platform Bindaas for the form of answers. The order of the attributes of
Patients and Studies is not documented; it is the one that clients show. Each path has a document at `PATH/metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bulkdl.archive.nbia.endpoints import shared as s
from bulkdl.archive.nbia.endpoints.base import (
    JSON_ONLY,
    Answer,
    DateForm,
    Endpoint,
    below,
    by_name,
    other,
    rows,
)

PATIENT_V3: Final = (
    s.A_PATIENT_ID,
    s.renamed("PatientName", s.A_PATIENT_NAME, "name"),
    s.renamed("PatientBirthDate", s.A_BIRTH_DATE, "birth_date"),
    s.renamed("PatientSex", s.A_SEX, "sex"),
    s.A_ETHNIC_GROUP,
    s.A_COLLECTION,
)

STUDY_V3: Final = (
    s.A_COLLECTION,
    s.A_PATIENT_ID,
    s.A_PATIENT_NAME,
    s.A_STUDY_UID,
    s.A_STUDY_DATE,
    s.A_STUDY_DESCRIPTION,
    s.renamed("AdmittingDiagnosesDescriptions", s.A_DIAGNOSIS),
    s.A_STUDY_ID,
    s.A_AGE,
    s.A_SEX,
    s.A_SERIES_COUNT,
)

_DATE: Final = s.required(s.since("Date", DateForm.ISO, "a day, such as 2020-12-31; what was released after it"))


_SEARCH: Final = (
    rows("getCollectionValues", (), (s.A_COLLECTION,), "all Collections"),
    rows(
        "getModalityValues",
        (s.COLLECTION, s.BODY_PART, s.MODALITY),
        (s.A_MODALITY,),
        "modalities, of one Collection or body part or of all",
    ),
    rows(
        "getBodyPartValues",
        (s.COLLECTION, s.MODALITY),
        (s.A_BODY_PART,),
        "body parts, of one Collection or modality or of all",
    ),
    rows(
        "getManufacturerValues",
        (s.COLLECTION, s.MODALITY, s.BODY_PART),
        (s.A_MANUFACTURER,),
        "manufacturers of equipment, narrowed by Collection, modality and body part",
    ),
    rows("getPatient", (s.COLLECTION,), PATIENT_V3, "Patients, of one Collection or of all"),
    rows(
        "PatientsByModality",
        (s.required(s.COLLECTION), s.required(s.MODALITY)),
        (s.A_PATIENT_ID,),
        "the Patients of a Collection who have a Series of that modality",
    ),
    rows(
        "getPatientStudy",
        (s.COLLECTION, s.PATIENT_ID, s.STUDY),
        STUDY_V3,
        "Studies, narrowed by Collection, Patient or UID",
    ),
    rows(
        "getSeries",
        (s.COLLECTION, s.STUDY, s.PATIENT_ID, s.SERIES, s.MODALITY, s.BODY_PART, s.MODEL, s.MANUFACTURER),
        s.SERIES_START,
        "Series that meet every criterion given",
    ),
    rows("getSeriesSize", (s.required(s.SERIES),), s.SIZE, "size and number of instances of one Series"),
    other("getImage", (s.required(s.SERIES),), Answer.BUNDLE, "all instances of a Series, as a zip"),
    rows(
        "NewPatientsInCollection",
        (_DATE, s.required(s.COLLECTION)),
        PATIENT_V3,
        "the Patients of a Collection who are new since a day",
    ),
    rows(
        "NewStudiesInPatientCollection",
        (_DATE, s.required(s.COLLECTION), s.PATIENT_ID),
        STUDY_V3,
        "the Studies of a Collection, or of one Patient of it, that are new since a day",
    ),
    rows("getSOPInstanceUIDs", (s.required(s.SERIES),), (s.A_SOP_UID,), "the instances of one Series"),
    other(
        "getSingleImage", (s.required(s.SERIES), s.required(s.SOP)), Answer.INSTANCE, "one instance, as a DICOM file"
    ),
)

TCIA_V3: Final[Mapping[str, Endpoint]] = by_name(
    (
        *below("TCIA/query", _SEARCH),
        *below(
            "SharedList/query",
            (
                rows(
                    "ContentsByName",
                    (s.SHARED_LIST,),
                    s.SERIES_START,
                    "the Series of a shared list; always JSON",
                    formats=JSON_ONLY,
                ),
            ),
        ),
    )
)

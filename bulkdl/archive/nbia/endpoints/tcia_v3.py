"""TCIA's own REST API v3, and v4, which is the same without a key. Paths are below `…/services/v3/`.

Source: TCIA's guide to the API, and the platform under it (Bindaas) for how it answers. The order of the attributes of
Patients and Studies is not documented; it is the one that clients show. `metadata` is asked for behind each path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bulkdl.archive.nbia.endpoints.base import (
    JSON_ONLY,
    NO_FORMATS,
    Answer,
    Attribute,
    DateForm,
    Endpoint,
    Parameter,
    by_name,
)
from bulkdl.archive.nbia.endpoints.shared import (
    A_AGE,
    A_BIRTH_DATE,
    A_BODY_PART,
    A_COLLECTION,
    A_DIAGNOSIS,
    A_ETHNIC_GROUP,
    A_MANUFACTURER,
    A_MODALITY,
    A_PATIENT_ID,
    A_PATIENT_NAME,
    A_SERIES_COUNT,
    A_SEX,
    A_SOP_UID,
    A_STUDY_DATE,
    A_STUDY_DESCRIPTION,
    A_STUDY_ID,
    A_STUDY_UID,
    BODY_PART,
    COLLECTION,
    MANUFACTURER,
    MODALITY,
    MODEL,
    PATIENT_ID,
    SERIES,
    SERIES_START,
    SHARED_LIST,
    SIZE,
    SOP,
    STUDY,
    called,
    required,
    since,
)

PATIENT_V3: Final = (
    A_PATIENT_ID,
    called("PatientName", A_PATIENT_NAME, "name"),
    called("PatientBirthDate", A_BIRTH_DATE, "birth_date"),
    called("PatientSex", A_SEX, "sex"),
    A_ETHNIC_GROUP,
    A_COLLECTION,
)

STUDY_V3: Final = (
    A_COLLECTION,
    A_PATIENT_ID,
    A_PATIENT_NAME,
    A_STUDY_UID,
    A_STUDY_DATE,
    A_STUDY_DESCRIPTION,
    called("AdmittingDiagnosesDescriptions", A_DIAGNOSIS),
    A_STUDY_ID,
    A_AGE,
    A_SEX,
    A_SERIES_COUNT,
)

_DATE: Final = required(since("Date", DateForm.ISO, "a day, such as 2020-12-31; what was released after it"))


def _search(
    name: str, parameters: tuple[Parameter, ...], attributes: tuple[Attribute, ...], description: str
) -> Endpoint:
    return Endpoint(name, f"TCIA/query/{name}", parameters, attributes, Answer.ROWS, description)


TCIA_V3: Final[Mapping[str, Endpoint]] = by_name(
    (
        _search("getCollectionValues", (), (A_COLLECTION,), "all Collections"),
        _search(
            "getModalityValues",
            (COLLECTION, BODY_PART, MODALITY),
            (A_MODALITY,),
            "modalities, of one Collection or body part or of all",
        ),
        _search(
            "getBodyPartValues",
            (COLLECTION, MODALITY),
            (A_BODY_PART,),
            "body parts, of one Collection or modality or of all",
        ),
        _search(
            "getManufacturerValues",
            (COLLECTION, MODALITY, BODY_PART),
            (A_MANUFACTURER,),
            "manufacturers of equipment, narrowed by Collection, modality and body part",
        ),
        _search("getPatient", (COLLECTION,), PATIENT_V3, "Patients, of one Collection or of all"),
        _search(
            "PatientsByModality",
            (required(COLLECTION), required(MODALITY)),
            (A_PATIENT_ID,),
            "the Patients of a Collection who have a Series of that modality",
        ),
        _search(
            "getPatientStudy",
            (COLLECTION, PATIENT_ID, STUDY),
            STUDY_V3,
            "Studies, narrowed by Collection, Patient or UID",
        ),
        _search(
            "getSeries",
            (COLLECTION, STUDY, PATIENT_ID, SERIES, MODALITY, BODY_PART, MODEL, MANUFACTURER),
            SERIES_START,
            "Series that meet every criterion given",
        ),
        _search("getSeriesSize", (required(SERIES),), SIZE, "size and number of instances of one Series"),
        Endpoint(
            "getImage",
            "TCIA/query/getImage",
            (required(SERIES),),
            (),
            Answer.BUNDLE,
            "all instances of a Series, as a zip",
            formats=NO_FORMATS,
            has_format=False,
        ),
        _search(
            "NewPatientsInCollection",
            (_DATE, required(COLLECTION)),
            PATIENT_V3,
            "the Patients of a Collection who are new since a day",
        ),
        _search(
            "NewStudiesInPatientCollection",
            (_DATE, required(COLLECTION), PATIENT_ID),
            STUDY_V3,
            "the Studies of a Collection, or of one Patient of it, that are new since a day",
        ),
        _search("getSOPInstanceUIDs", (required(SERIES),), (A_SOP_UID,), "the instances of one Series"),
        Endpoint(
            "getSingleImage",
            "TCIA/query/getSingleImage",
            (required(SERIES), required(SOP)),
            (),
            Answer.INSTANCE,
            "one instance, as a DICOM file",
            formats=NO_FORMATS,
            has_format=False,
        ),
        Endpoint(
            "ContentsByName",
            "SharedList/query/ContentsByName",
            (SHARED_LIST,),
            SERIES_START,
            Answer.ROWS,
            "the Series of a shared list; always JSON",
            formats=JSON_ONLY,
            has_format=False,
        ),
    )
)

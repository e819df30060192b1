"""NBIA's Search APIs: v1, open to all, and v2, the same with a login. Paths are below `v1/` and `v2/`.

Source: the server program (`V1_*.java`, `V2_*.java`: parameters as declared, columns in order). Two traps: the form of
dates in parameters differs between endpoints, and the MD5 of an instance is requested by `SOPInstanceUid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints import shared as s
from bulkdl.archive.nbia.endpoints.base import (
    JSON_ONLY,
    Answer,
    Attribute,
    DateForm,
    Endpoint,
    Kind,
    Parameter,
    by_name,
    other,
    rows,
)
from bulkdl.archive.nbia.endpoints.series_metadata import SERIES_METADATA_V1, SERIES_QC_V2

PATIENT_V1: Final = (
    s.renamed("PatientId", s.A_PATIENT_ID),
    s.renamed("PatientName", s.A_PATIENT_NAME, "name"),
    s.renamed("PatientBirthDate", s.A_BIRTH_DATE, "birth_date"),
    s.renamed("PatientSex", s.A_SEX, "sex"),
    s.A_ETHNIC_GROUP,
    s.A_COLLECTION,
    s.A_PHANTOM,
    s.A_SPECIES_CODE,
    s.A_SPECIES,
)

STUDY_V1: Final = (
    s.A_STUDY_UID,
    s.A_STUDY_DATE,
    s.A_STUDY_DESCRIPTION,
    s.A_DIAGNOSIS,
    s.A_STUDY_ID,
    s.A_AGE,
    s.A_PATIENT_ID,
    s.A_PATIENT_NAME,
    s.A_BIRTH_DATE,
    s.A_SEX,
    s.A_ETHNIC_GROUP,
    s.A_COLLECTION,
    s.A_SERIES_COUNT,
    s.A_EVENT,
    s.A_OFFSET,
)

SERIES_V1: Final = (
    *s.SERIES_START,
    s.A_SUBMITTED,
    s.A_LICENSE,
    s.A_LICENSE_URI,
    s.A_COLLECTION_URI,
    s.A_FILE_SIZE,
    s.A_RELEASED,
    s.A_STUDY_DESC,
    s.A_STUDY_DATE,
    s.A_THIRD_PARTY,
)

SERIES_CRITERIA: Final = (
    s.COLLECTION,
    s.PATIENT_ID,
    s.STUDY,
    s.SERIES,
    s.MODALITY,
    s.BODY_PART,
    s.MANUFACTURER,
    s.MODEL,
)

SERIES_ID_LIST: Final = replace(s.SERIES_LIST, name="seriesId")

_DATE: Final = s.since("Date", DateForm.SLASHED, "a day, such as 2020/12/31; what was released after it")
_SOP_SMALL_ID: Final = s.required(replace(s.SOP, name="SOPInstanceUid", description="a SOP Instance UID; note the d"))

VALUES: Final = (
    rows("getCollectionValues", (), (s.A_COLLECTION,), "all Collections"),
    rows(
        "getModalityValues",
        (s.COLLECTION, s.any_case(s.BODY_PART)),
        (s.A_MODALITY,),
        "modalities, of one Collection or body part or of all",
    ),
    rows(
        "getBodyPartValues",
        (s.COLLECTION, s.any_case(s.MODALITY)),
        (s.A_BODY_PART,),
        "body parts, of one Collection or modality or of all",
    ),
    rows(
        "getManufacturerValues",
        (s.COLLECTION, s.any_case(s.MODALITY), s.any_case(s.BODY_PART)),
        (s.A_MANUFACTURER,),
        "manufacturers of equipment, narrowed by Collection, modality and body part",
    ),
)
"""The lists of values, which are the same in v1, v2 and v4."""

IMAGES: Final = (
    other(
        "getSingleImage", (s.required(s.SERIES), s.required(s.SOP)), Answer.INSTANCE, "one instance, as a DICOM file"
    ),
    other(
        "getImage",
        (s.required(s.SERIES), s.NEW_FILE_NAMES),
        Answer.BUNDLE,
        "all instances of a Series, as a zip that begins with a LICENSE",
    ),
    other(
        "getImageWithMD5Hash",
        (s.required(s.SERIES),),
        Answer.BUNDLE,
        "all instances of a Series, as a zip that ends with md5hashes.csv",
    ),
    other(
        "getDCMImage",
        (s.required(s.SERIES), s.INCLUDE_ANNOTATION, s.MD5_VERIFICATION),
        Answer.BUNDLE,
        "all instances of a Series, as a zip of names such as 1-01.dcm",
    ),
)
"""The images, which are the same in v1 and v2, and but for getImage in v4."""

IMAGE_OTHER: Final = other(
    "getImageOther",
    (s.required(s.SERIES),),
    Answer.BUNDLE,
    "the files of a Series that are not DICOM, as a zip with the original names",
)


def patients_and_studies(
    patient: tuple[Attribute, ...], study: tuple[Attribute, ...], since: Parameter, *more: Attribute
) -> tuple[Endpoint, ...]:
    """The endpoints of Patients and Studies, with the attributes of a version; it adds `more` to bare Patient IDs."""
    return (
        rows("getPatient", (s.COLLECTION, s.PATIENT_ID_SMALL_D), patient, "Patients, of one Collection or of all"),
        rows(
            "getPatientByCollectionAndModality",
            (s.required(s.COLLECTION), s.required(s.any_case(s.MODALITY))),
            (s.renamed("PatientId", s.A_PATIENT_ID), *more),
            "the Patients of a Collection who have a Series of that modality",
        ),
        rows(
            "NewPatientsInCollection",
            (s.required(s.COLLECTION), s.required(since)),
            patient,
            "the Patients of a Collection who are new since a day",
        ),
        rows(
            "getPatientStudy",
            (s.COLLECTION, s.PATIENT_ID, s.STUDY),
            study,
            "Studies, narrowed by Collection, Patient or UID",
        ),
        rows(
            "NewStudiesInPatientCollection",
            (s.required(s.COLLECTION), s.required(since), s.PATIENT_ID),
            study,
            "the Studies of a Collection, or of one Patient of it, that are new since a day",
        ),
    )


SIZE_AND_INSTANCES: Final = (
    rows(
        "getSeriesSize",
        (s.required(s.SERIES),),
        s.SIZE,
        "size and number of instances of one Series; slow on large archives",
    ),
    rows("getSOPInstanceUIDs", (s.required(s.SERIES),), (s.A_SOP_UID,), "the instances of one Series"),
)

DENIED_SERIES: Final = rows(
    "getDeniedSeries",
    (
        Parameter(
            "seriesList", "series_uids", description="Series Instance UIDs with commas between them", separator=","
        ),
        Parameter("userName", "user", description="the user whose rights are checked"),
    ),
    (s.A_SERIES_UID,),
    "those of some Series that a user may not see",
)

_SEARCH: Final = (
    *VALUES,
    *patients_and_studies(PATIENT_V1, STUDY_V1, _DATE),
    rows("getSeries", SERIES_CRITERIA, SERIES_V1, "Series that meet every criterion given"),
    rows(
        "getUpdatedSeries",
        (s.since("fromDate", DateForm.DAY_FIRST, "a day, the day first: 31/12/2020; 01/01/1900 where it is left out"),),
        (*s.SERIES_START, s.A_RELEASED),
        "the Series that were released after a day",
    ),
    rows(
        "getContentsByName",
        (s.SHARED_LIST,),
        (
            *s.SERIES_START,
            Attribute("Date Released", "released", Kind.DATE, "", "when the Series became public; note the blank"),
        ),
        "the Series of a shared list; always JSON",
        formats=JSON_ONLY,
    ),
    *SIZE_AND_INSTANCES,
    rows(
        "getSeriesMetaData",
        (s.required(s.SERIES),),
        SERIES_METADATA_V1,
        "the metadata of one Series as in the metadata.csv of downloads; every value is text",
    ),
    *IMAGES,
    other(
        "getM5HashForImage",
        (_SOP_SMALL_ID,),
        Answer.TEXT,
        "the MD5 of one instance, 32 hexadecimal digits; nothing for an unknown one",
    ),
)

_V1_ALONE: Final = (
    IMAGE_OTHER,
    DENIED_SERIES,
    other("getUserAgreementTxt", (), Answer.TEXT, "the agreement for users of the data"),
    other("getAllSOPClassDefinition", (), Answer.TEXT, "names of SOP classes, a line UID=name for each"),
    other("status", (), Answer.TEXT, "whether the API is up"),
    other("status/version", (), Answer.TEXT, "the version of the API"),
)

_V2_ALONE: Final = (
    rows(
        "getSeriesQCInfo",
        (SERIES_ID_LIST,),
        SERIES_QC_V2,
        "release, visibility and licence of some Series",
        method="POST",
    ),
)

NBIA_V1: Final[Mapping[str, Endpoint]] = by_name((*_SEARCH, *_V1_ALONE))
NBIA_V2: Final[Mapping[str, Endpoint]] = by_name((*_SEARCH, *_V2_ALONE))

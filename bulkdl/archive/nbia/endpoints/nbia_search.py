"""NBIA's Search APIs: v1, open to all, and v2, the same for who is logged in. Paths are below `v1/` and `v2/`.

Source: the server program (`V1_*.java`, `V2_*.java`: parameters as declared, columns in order). Two traps of it: the
dates of parameters have another form in each endpoint, and the MD5 of an instance is asked for by `SOPInstanceUid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints.base import (
    JSON_ONLY,
    NO_FORMATS,
    Answer,
    Attribute,
    DateForm,
    Endpoint,
    Kind,
    Parameter,
    Place,
    by_name,
)
from bulkdl.archive.nbia.endpoints.shared import (
    A_AGE,
    A_ANNOTATIONS,
    A_BIRTH_DATE,
    A_BODY_PART,
    A_COLLECTION,
    A_COLLECTION_URI,
    A_DIAGNOSIS,
    A_ETHNIC_GROUP,
    A_EVENT,
    A_FILE_SIZE,
    A_IMAGE_COUNT,
    A_LICENSE,
    A_LICENSE_URI,
    A_MANUFACTURER,
    A_MODALITY,
    A_MODEL,
    A_OFFSET,
    A_PATIENT_ID,
    A_PATIENT_NAME,
    A_PHANTOM,
    A_PROTOCOL,
    A_RELEASED,
    A_SERIES_COUNT,
    A_SERIES_DATE,
    A_SERIES_DESCRIPTION,
    A_SERIES_NUMBER,
    A_SERIES_UID,
    A_SEX,
    A_SITE,
    A_SOFTWARE,
    A_SOP_CLASS,
    A_SOP_UID,
    A_SPECIES,
    A_SPECIES_CODE,
    A_STUDY_DATE,
    A_STUDY_DESC,
    A_STUDY_DESCRIPTION,
    A_STUDY_ID,
    A_STUDY_UID,
    A_SUBMITTED,
    A_THIRD_PARTY,
    A_VISIBILITY,
    BODY_PART,
    COLLECTION,
    INCLUDE_ANNOTATION,
    MANUFACTURER,
    MD5_VERIFICATION,
    MODALITY,
    MODEL,
    NEW_FILE_NAMES,
    PATIENT_ID,
    PATIENT_ID_SMALL_D,
    SERIES,
    SERIES_START,
    SHARED_LIST,
    SIZE,
    SOP,
    STUDY,
    any_case,
    called,
    required,
    since,
)

PATIENT_V1: Final = (
    called("PatientId", A_PATIENT_ID),
    called("PatientName", A_PATIENT_NAME, "name"),
    called("PatientBirthDate", A_BIRTH_DATE, "birth_date"),
    called("PatientSex", A_SEX, "sex"),
    A_ETHNIC_GROUP,
    A_COLLECTION,
    A_PHANTOM,
    A_SPECIES_CODE,
    A_SPECIES,
)

STUDY_V1: Final = (
    A_STUDY_UID,
    A_STUDY_DATE,
    A_STUDY_DESCRIPTION,
    A_DIAGNOSIS,
    A_STUDY_ID,
    A_AGE,
    A_PATIENT_ID,
    A_PATIENT_NAME,
    A_BIRTH_DATE,
    A_SEX,
    A_ETHNIC_GROUP,
    A_COLLECTION,
    A_SERIES_COUNT,
    A_EVENT,
    A_OFFSET,
)

SERIES_V1: Final = (
    *SERIES_START,
    A_SUBMITTED,
    A_LICENSE,
    A_LICENSE_URI,
    A_COLLECTION_URI,
    A_FILE_SIZE,
    A_RELEASED,
    A_STUDY_DESC,
    A_STUDY_DATE,
    A_THIRD_PARTY,
)

# Every value of it is text; dates are the text of java.util.Date but for the Study's, which is MM-dd-yyyy.
SERIES_METADATA_V1: Final = (
    called("Series UID", A_SERIES_UID),
    A_COLLECTION,
    called("3rd Party Analysis", A_THIRD_PARTY),
    called("Data Description URI", A_COLLECTION_URI),
    called("Subject ID", A_PATIENT_ID),
    called("Study UID", A_STUDY_UID),
    called("Study Description", A_STUDY_DESC),
    called("Study Date", A_STUDY_DATE),
    called("Series Description", A_SERIES_DESCRIPTION),
    A_MANUFACTURER,
    A_MODALITY,
    A_SOP_CLASS,
    called("Number of Images", A_IMAGE_COUNT),
    called("File Size", A_FILE_SIZE),
    Attribute("File Location", "study_id", tag="00200010", description="the Study's ID, whatever the name says"),
    called("Series Number", A_SERIES_NUMBER),
    called("License Name", A_LICENSE),
    called("License URL", A_LICENSE_URI),
    Attribute("Annotation Size", "annotation_bytes", Kind.INTEGER, "", "bytes of all annotations"),
    called("Date Released", A_RELEASED),
    called("Series Date", A_SERIES_DATE),
    called("Protocol Name", A_PROTOCOL),
    called("Body Part Examined", A_BODY_PART),
    called("Annotations Flag", A_ANNOTATIONS),
    called("Manufacturer Model Name", A_MODEL),
    called("Software Versions", A_SOFTWARE),
    A_SUBMITTED,
)

SERIES_QC_V2: Final = (
    A_SERIES_UID,
    A_VISIBILITY,
    Attribute("ReleaseStatus", "is_released", Kind.YES_NO, "", "Yes for what is public"),
    Attribute("ReleaseDate", "released", Kind.DATE, "", "when the Series became public"),
    A_IMAGE_COUNT,
    called("Doi", A_COLLECTION_URI),
    A_LICENSE,
    A_SITE,
    called("Project", A_COLLECTION),
    A_PATIENT_ID,
    A_MODALITY,
    called("StudyDescription", A_STUDY_DESC),
    A_SERIES_DESCRIPTION,
)

SERIES_CRITERIA: Final = (COLLECTION, PATIENT_ID, STUDY, SERIES, MODALITY, BODY_PART, MANUFACTURER, MODEL)

DENIED_SERIES: Final = (
    Parameter("seriesList", "series_uids", description="Series Instance UIDs with commas between them", separator=","),
    Parameter("userName", "user", description="whose rights are asked about"),
)

SERIES_ID_LIST: Final = Parameter(
    "seriesId",
    "series_uids",
    required=True,
    description="a Series Instance UID",
    place=Place.FORM,
    is_repeatable=True,
)

_DATE: Final = required(since("Date", DateForm.SLASHED, "a day, such as 2020/12/31; what was released after it"))
_SOP_SMALL_ID: Final = required(replace(SOP, name="SOPInstanceUid", description="a SOP Instance UID; note the d"))

VALUES: Final = (
    Endpoint("getCollectionValues", "getCollectionValues", (), (A_COLLECTION,), Answer.ROWS, "all Collections"),
    Endpoint(
        "getModalityValues",
        "getModalityValues",
        (COLLECTION, any_case(BODY_PART)),
        (A_MODALITY,),
        Answer.ROWS,
        "modalities, of one Collection or body part or of all",
    ),
    Endpoint(
        "getBodyPartValues",
        "getBodyPartValues",
        (COLLECTION, any_case(MODALITY)),
        (A_BODY_PART,),
        Answer.ROWS,
        "body parts, of one Collection or modality or of all",
    ),
    Endpoint(
        "getManufacturerValues",
        "getManufacturerValues",
        (COLLECTION, any_case(MODALITY), any_case(BODY_PART)),
        (A_MANUFACTURER,),
        Answer.ROWS,
        "manufacturers of equipment, narrowed by Collection, modality and body part",
    ),
)
"""The lists of values, which are the same in v1, v2 and v4."""

IMAGES: Final = (
    Endpoint(
        "getSingleImage",
        "getSingleImage",
        (required(SERIES), required(SOP)),
        (),
        Answer.INSTANCE,
        "one instance, as a DICOM file",
        formats=NO_FORMATS,
        has_format=False,
    ),
    Endpoint(
        "getImage",
        "getImage",
        (required(SERIES), NEW_FILE_NAMES),
        (),
        Answer.BUNDLE,
        "all instances of a Series, as a zip that begins with a LICENSE",
        formats=NO_FORMATS,
        has_format=False,
    ),
    Endpoint(
        "getImageWithMD5Hash",
        "getImageWithMD5Hash",
        (required(SERIES),),
        (),
        Answer.BUNDLE,
        "all instances of a Series, as a zip that ends with md5hashes.csv",
        formats=NO_FORMATS,
        has_format=False,
    ),
    Endpoint(
        "getDCMImage",
        "getDCMImage",
        (required(SERIES), INCLUDE_ANNOTATION, MD5_VERIFICATION),
        (),
        Answer.BUNDLE,
        "all instances of a Series, as a zip of names such as 1-01.dcm",
        formats=NO_FORMATS,
        has_format=False,
    ),
)
"""The images, which are the same in v1 and v2, and but for getImage in v4."""

IMAGE_OTHER: Final = Endpoint(
    "getImageOther",
    "getImageOther",
    (required(SERIES),),
    (),
    Answer.BUNDLE,
    "what a Series holds that is no DICOM, as a zip with the original names",
    formats=NO_FORMATS,
    has_format=False,
)

_SEARCH: Final = (
    *VALUES,
    Endpoint(
        "getPatient",
        "getPatient",
        (COLLECTION, PATIENT_ID_SMALL_D),
        PATIENT_V1,
        Answer.ROWS,
        "Patients, of one Collection or of all",
    ),
    Endpoint(
        "getPatientByCollectionAndModality",
        "getPatientByCollectionAndModality",
        (required(COLLECTION), required(any_case(MODALITY))),
        (called("PatientId", A_PATIENT_ID),),
        Answer.ROWS,
        "the Patients of a Collection who have a Series of that modality",
    ),
    Endpoint(
        "NewPatientsInCollection",
        "NewPatientsInCollection",
        (required(COLLECTION), _DATE),
        PATIENT_V1,
        Answer.ROWS,
        "the Patients of a Collection who are new since a day",
    ),
    Endpoint(
        "getPatientStudy",
        "getPatientStudy",
        (COLLECTION, PATIENT_ID, STUDY),
        STUDY_V1,
        Answer.ROWS,
        "Studies, narrowed by Collection, Patient or UID",
    ),
    Endpoint(
        "NewStudiesInPatientCollection",
        "NewStudiesInPatientCollection",
        (required(COLLECTION), _DATE, PATIENT_ID),
        STUDY_V1,
        Answer.ROWS,
        "the Studies of a Collection, or of one Patient of it, that are new since a day",
    ),
    Endpoint(
        "getSeries", "getSeries", SERIES_CRITERIA, SERIES_V1, Answer.ROWS, "Series that meet every criterion given"
    ),
    Endpoint(
        "getUpdatedSeries",
        "getUpdatedSeries",
        (since("fromDate", DateForm.DAY_FIRST, "a day, the day first: 31/12/2020; 01/01/1900 where it is left out"),),
        (*SERIES_START, A_RELEASED),
        Answer.ROWS,
        "the Series that were released after a day",
    ),
    Endpoint(
        "getContentsByName",
        "getContentsByName",
        (SHARED_LIST,),
        (
            *SERIES_START,
            Attribute("Date Released", "released", Kind.DATE, "", "when the Series became public; note the blank"),
        ),
        Answer.ROWS,
        "the Series of a shared list; always JSON",
        formats=JSON_ONLY,
        has_format=False,
    ),
    Endpoint(
        "getSeriesSize",
        "getSeriesSize",
        (required(SERIES),),
        SIZE,
        Answer.ROWS,
        "size and number of instances of one Series; slow on large archives",
    ),
    Endpoint(
        "getSOPInstanceUIDs",
        "getSOPInstanceUIDs",
        (required(SERIES),),
        (A_SOP_UID,),
        Answer.ROWS,
        "the instances of one Series",
    ),
    Endpoint(
        "getSeriesMetaData",
        "getSeriesMetaData",
        (required(SERIES),),
        SERIES_METADATA_V1,
        Answer.ROWS,
        "what is told of one Series in the metadata.csv of downloads; every value is text",
    ),
    *IMAGES,
    Endpoint(
        "getM5HashForImage",
        "getM5HashForImage",
        (_SOP_SMALL_ID,),
        (),
        Answer.TEXT,
        "the MD5 of one instance, 32 hexadecimal digits; nothing for an unknown one",
        formats=NO_FORMATS,
        has_format=False,
    ),
)

_V1_ALONE: Final = (
    IMAGE_OTHER,
    Endpoint(
        "getDeniedSeries",
        "getDeniedSeries",
        DENIED_SERIES,
        (A_SERIES_UID,),
        Answer.ROWS,
        "those of some Series that a user may not see",
    ),
    Endpoint(
        "getUserAgreementTxt",
        "getUserAgreementTxt",
        (),
        (),
        Answer.TEXT,
        "the agreement that users of the data enter into",
        formats=NO_FORMATS,
        has_format=False,
    ),
    Endpoint(
        "getAllSOPClassDefinition",
        "getAllSOPClassDefinition",
        (),
        (),
        Answer.TEXT,
        "names of SOP classes, a line UID=name for each",
        formats=NO_FORMATS,
        has_format=False,
    ),
    Endpoint("status", "status", (), (), Answer.TEXT, "whether the API is up", formats=NO_FORMATS, has_format=False),
    Endpoint(
        "status/version",
        "status/version",
        (),
        (),
        Answer.TEXT,
        "the version of the API",
        formats=NO_FORMATS,
        has_format=False,
    ),
)

_V2_ALONE: Final = (
    Endpoint(
        "getSeriesQCInfo",
        "getSeriesQCInfo",
        (SERIES_ID_LIST,),
        SERIES_QC_V2,
        Answer.ROWS,
        "release, visibility and licence of some Series",
        method="POST",
    ),
)

NBIA_V1: Final[Mapping[str, Endpoint]] = by_name((*_SEARCH, *_V1_ALONE))
NBIA_V2: Final[Mapping[str, Endpoint]] = by_name((*_SEARCH, *_V2_ALONE))

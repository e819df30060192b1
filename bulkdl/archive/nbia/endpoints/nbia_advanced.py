"""NBIA's Advanced API, and what v4 shares with it: counts, DICOM tags, searches, manifests, checksums, shared lists.

It requires a login, and its paths are directly below the services. JSON contains nulls; there is no other format.
Source: the server program (`restAPI/Get*.java`, `v4/V4_*.java` and the objects that they send).

Two names are misspelt there, and therefore here: `thirdPartyAnanlysis`, and counts of body parts are of `BodyPart`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints.base import Answer, Attribute, DateForm, Endpoint, Kind, Parameter
from bulkdl.archive.nbia.endpoints.shared import CSV_FILE, JSON_ONLY, asked, by_name, columns, other, rows

_CRITERIA_COUNT: Final = (
    Attribute("criteria", "value", description="the value that is counted"),
    Attribute("count", "count", Kind.INTEGER, "", "number of Patients; written as text"),
)

DESCRIPTION: Final = (
    Attribute("description", "description", description="about the Collection, in HTML"),
    Attribute("id", "id", Kind.INTEGER, "", "number in the archive's database"),
    Attribute("collectionDescTimestamp", "changed", Kind.NESTED, "", "when it was written, in milliseconds since 1970"),
    Attribute("collectionName", "collection", description="name of the Collection"),
    Attribute("userName", "user", description="who wrote it"),
    Attribute("licenseId", "license_id", Kind.INTEGER, "", "number of the licence, see getLicenses"),
    Attribute("descriptionURI", "collection_uri", description="DOI of the Collection"),
)

OF_DOI: Final = columns("collection, seriesInstanceUID, thirdPartyAnanlysis")

_TAGS: Final = (
    Attribute("element", "element", description="DICOM tag, such as (0008,0060); > for each level of nesting"),
    Attribute("name", "name", description="name of the DICOM attribute"),
    Attribute("data", "data", description="its value as text"),
)

_SHARED_LIST: Final = (
    Attribute("name", "name", description="name of the list"),
    Attribute("comment", "description", description="description by its owner"),
    Attribute("hyperlink", "url", description="where there is more about it"),
    Attribute("date", "changed", Kind.NESTED, "", "when it was made, in milliseconds since 1970"),
    Attribute("id", "id", Kind.INTEGER, "", "number in the archive's database"),
    Attribute("userName", "user", description="its owner"),
    Attribute("seriesInstanceUIDs", "series_uids", Kind.NESTED, "", "its Series"),
    Attribute("seriesInstanceUidsList", "series_uids_again", Kind.NESTED, "", "its Series once more"),
    Attribute("usageCount", "usage_count", Kind.INTEGER, "", "how often it was asked for"),
    Attribute("dateString", "changed_text", description="when it was made, as text"),
)

_LICENSES: Final = (
    Attribute("longName", "name", description="name of the licence"),
    Attribute("id", "id", Kind.INTEGER, "", "number in the archive's database"),
    Attribute("shortName", "short_name", description="its short name, such as CC BY 4.0"),
    Attribute("licenseURL", "url", description="its address"),
    Attribute("licenseText", "text", description="its text"),
    Attribute("commercialUse", "commercial_use", description="whether it allows commercial use"),
)

_FOUND: Final = (
    Attribute("resultSet", "patients", Kind.NESTED, "", "Patients that were found, with numbers of Studies and Series"),
    Attribute("totalPatients", "total_patients", Kind.INTEGER, "", "how many there are in all"),
    Attribute("bodyParts", "body_parts", Kind.NESTED, "", "body parts among them, each with its count"),
    Attribute("modalities", "modalities", Kind.NESTED, "", "modalities among them, each with its count"),
    Attribute("collections", "collections", Kind.NESTED, "", "Collections among them, each with its count"),
    Attribute("species", "species", Kind.NESTED, "", "species among them, each with its count"),
    Attribute("maxTimepoints", "most_timepoints", Kind.INTEGER, "", "most Studies of a Patient"),
    Attribute("minTimepoints", "fewest_timepoints", Kind.INTEGER, "", "fewest Studies of a Patient"),
    Attribute("sort", "sort", description="how they are sorted"),
)

_STUDIES: Final = (
    Attribute("studyId", "study_uid", Kind.UID, "0020000D", "Study Instance UID"),
    Attribute("date", "study_date", Kind.NESTED, "00080020", "date of the Study, in milliseconds since 1970"),
    Attribute("description", "description", tag="00081030", description="description of the Study"),
    Attribute("seriesList", "series", Kind.NESTED, "", "its Series, each an object"),
)
_DRILLED_IMAGES: Final = (
    *columns("seriesInstanceUid, sopInstanceUid"),
    Attribute("size", "size_bytes", Kind.INTEGER, "", "bytes of the instance"),
)

_SERIES_METADATA_2: Final = columns(
    "Subject ID, Study UID, Study Description, Study Date, Series ID, Series Description, Number of images, "
    "File Size (Bytes), Collection Name, Modality, Manufacturer, 3rd Party Analysis, Data Description URI, "
    "Series Number, License Name, License URL, Date Released, Series Date, Protocol Name, Body Part Examined, "
    "Annotations Flag, Manufacturer Model Name, Software Versions, TimeStamp",
    StudyDescription="study_description",
)

SERIES_METADATA_3: Final = columns(
    "Patient ID, Patient Name, Patient Sex, Ethnic Group, Phantom, Species Code, Species Description, "
    "Study Instance UID, Study Date, Study Description, Admitting Diagnosis Description, Study ID, Patient Age, "
    "Longitudinal Temporal Event Type, Longitudinal Temporal Offset From Event, Series Instance UID, Project, "
    "Modality, Protocol Name, Series Date, Series Description, Body Part Examined, Series Number, Annotations Flag, "
    "Manufacturer, Manufacturer Model Name, Pixel Spacing(mm)- Row, Slice Thickness(mm), Software Versions, "
    "Image Count, Max Submission Timestamp, License Name, License URI, Collection URI, File Size, Date Released, "
    "Third Party Analysis",
    StudyDescription="study_description",
)

SERIES_LIST: Final = replace(
    *asked("list!"), description="Series Instance UIDs, repeated or with commas between them", separator=","
)
_INTERNAL_LIST: Final = replace(
    *asked("list!"), field="series_ids", kind=Kind.INTEGER, description="numbers of Series in the archive's database"
)
_NEW_LIST: Final = (
    *asked("list!"),
    Parameter("name", "shared_list", Kind.TEXT, "its name", required=True),
    Parameter("description", "description", Kind.TEXT, "what it is"),
    Parameter("url", "url", Kind.TEXT, "where there is more about it"),
)


def _numbered(name: str, field: str, kind: Kind, description: str, dates: DateForm | None = None) -> Parameter:
    return Parameter(name, field, kind, description, date_form=dates, is_numbered=True)


def search_form(dates: DateForm) -> tuple[Parameter, ...]:
    """The form of a simple search, with dates in the form that the API version reads."""
    return (
        _numbered(
            "criteriaType", "criteria_type", Kind.TEXT, "what is narrowed, such as CollectionCriteria; numbered from 0"
        ),
        _numbered("value", "criteria_value", Kind.TEXT, "a value of the criterion of that number"),
        _numbered("fromDate", "from_date", Kind.DATE, "the first day, with DateRangeCriteria", dates),
        _numbered("toDate", "to_date", Kind.DATE, "the last day, with DateRangeCriteria", dates),
        _numbered("from", "from_value", Kind.NUMBER, "the least value of a range"),
        _numbered("to", "to_value", Kind.NUMBER, "the largest value of a range"),
        Parameter("start", "start", Kind.INTEGER, "the first Patient wanted, counted from 0"),
        Parameter("size", "size", Kind.INTEGER, "how many Patients are wanted"),
        Parameter("sortField", "sort_field", Kind.TEXT, "subject, studies, series or collection"),
        Parameter("sortDirection", "sort_direction", Kind.TEXT, "ascending or descending"),
        Parameter("tool", "tool", Kind.TEXT, "name of the client"),
    )


def json_rows(
    name: str, parameters: str | tuple[Parameter, ...], attributes: str | tuple[Attribute, ...], method: str = "GET"
) -> Endpoint:
    """An endpoint whose rows are JSON always."""
    return rows(name, parameters, attributes, method=method, formats=JSON_ONLY)


def posted(name: str, parameters: str | tuple[Parameter, ...], answer: Answer) -> Endpoint:
    """An endpoint that takes a form, and answers with a text or a file."""
    return other(name, parameters, answer, method="POST")


def as_object(endpoint: Endpoint) -> Endpoint:
    """The same endpoint, where it answers with one JSON object instead of rows."""
    return replace(endpoint, answer=Answer.OBJECT)


def search(name: str, dates: DateForm) -> Endpoint:
    """The endpoint of a simple search."""
    return as_object(json_rows(name, search_form(dates), _FOUND, "POST"))


COUNTS: Final = (
    ("getCollectionValuesAndCounts", "", "Collection"),
    ("getModalityValuesAndCounts", "Collection, BodyPartExamined~", "Modality"),
    ("getBodyPartValuesAndCounts", "Collection, Modality~", "BodyPart"),
    ("getManufacturerValuesAndCounts", "Collection, Modality~, BodyPartExamined~", "Manufacturer"),
    ("getSpeciesValuesAndCounts", "", "Species"),
)
"""Names and parameters of the counts, and what is counted."""

# The same in both forms, but for what v4 says of who may see it.
SHARED: Final = (
    json_rows("getSpeciesTax", "", "speciesCode, speciesDescription"),
    json_rows("getDicomTags", "SeriesUID!", _TAGS),
    json_rows("getDicomTagsByImageID", "imageID!", _TAGS),
    posted("getManifestForCollection", "collection!, visibility, includeAnnotation", Answer.MANIFEST),
    posted(
        "getManifestFromPatientStudySeries",
        "patientIDs, studyUIDs, seriesUIDs, anyOrAll, includeAnnotation",
        Answer.MANIFEST,
    ),
    posted("getMD5Hierarchy", "SeriesInstanceUID, StudyInstanceUID, PatientID, Collection", Answer.TEXT),
    json_rows("getStudyDrillDown", (_INTERNAL_LIST,), _STUDIES, "POST"),
    json_rows("getImageDrillDown", (_INTERNAL_LIST,), _DRILLED_IMAGES, "POST"),
    json_rows("getStudyDrillDownWithSeriesIds", "list!", _STUDIES, "POST"),
    posted("getThumbnail", "seriesUID!, objectUID!", Answer.PICTURE),
)

NBIA_ADVANCED: Final[Mapping[str, Endpoint]] = by_name(
    (
        *(json_rows(name, parameters, _CRITERIA_COUNT) for name, parameters, _ in COUNTS),
        json_rows("getCollectionDescriptions", "collectionName", DESCRIPTION),
        json_rows("getCollectionOrSeriesForDOI", "DOI!, CollectionOrSeries", OF_DOI, "POST"),
        search("getSimpleSearchWithModalityAndBodyPartPaged", DateForm.DAY_FIRST),
        posted("getManifestTextV2", "list!, includeAnnotation", Answer.MANIFEST),
        posted("getManifestForSimpleSearch", search_form(DateForm.DAY_FIRST), Answer.MANIFEST),
        rows("getSeriesMetadata2", (SERIES_LIST,), _SERIES_METADATA_2, method="POST", formats=CSV_FILE),
        rows("getSeriesMetadata3", (SERIES_LIST,), SERIES_METADATA_3, method="POST", formats=CSV_FILE),
        as_object(json_rows("getSharedList", "nameValue!", _SHARED_LIST, "POST")),
        posted("createSharedList", _NEW_LIST, Answer.TEXT),
        posted("deleteSharedList", _NEW_LIST[1:2], Answer.TEXT),
        json_rows("getLicenses", "", _LICENSES),
        *SHARED,
        other("hostName", "", Answer.TEXT),
        other("up", "", Answer.TEXT),
    )
)

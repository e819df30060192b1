"""NBIA's Advanced API, and what v4 shares with it: counts, DICOM tags, searches, manifests, checksums, shared lists.

It requires a login, and its paths are directly below the services. JSON contains nulls; there is no other format.
Source: the server program (`restAPI/Get*.java`, `v4/V4_*.java` and the objects that they send).

Two names are misspelt there, and therefore here: `thirdPartyAnanlysis`, and counts of body parts are of `BodyPart`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints import shared as s
from bulkdl.archive.nbia.endpoints.base import (
    CSV_FILE,
    JSON_ONLY,
    Answer,
    Attribute,
    DateForm,
    Endpoint,
    Kind,
    Parameter,
    as_object,
    by_name,
    other,
    rows,
)
from bulkdl.archive.nbia.endpoints.series_metadata import SERIES_METADATA_2, SERIES_METADATA_3

# --- what is sent -----------------------------------------------------------------------------------------------------

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

OF_DOI: Final = (
    Attribute("collection", "collection", description="name of the Collection"),
    s.renamed("seriesInstanceUID", s.A_SERIES_UID),
    s.renamed("thirdPartyAnanlysis", s.A_THIRD_PARTY),
)

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

FOUND: Final = (
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
    Attribute("seriesInstanceUid", "series_uid", Kind.UID, "0020000E", "Series Instance UID"),
    Attribute("sopInstanceUid", "sop_uid", Kind.UID, "00080018", "SOP Instance UID"),
    Attribute("size", "size_bytes", Kind.INTEGER, "", "bytes of the instance"),
)

# --- what is asked ----------------------------------------------------------------------------------------------------


def _field(name: str, field: str, description: str, *, kind: Kind = Kind.TEXT, is_required: bool = False) -> Parameter:
    return Parameter(name, field, kind, is_required, description)


def _numbered(name: str, field: str, description: str, kind: Kind = Kind.TEXT) -> Parameter:
    return Parameter(name, field, kind, description=description, is_numbered=True)


def search_form(dates: DateForm) -> tuple[Parameter, ...]:
    """The form of a simple search, with dates in the form that the API version reads."""
    from_date = _numbered("fromDate", "from_date", "the first day, with DateRangeCriteria", Kind.DATE)
    to_date = _numbered("toDate", "to_date", "the last day, with DateRangeCriteria", Kind.DATE)
    return (
        _numbered("criteriaType", "criteria_type", "what is narrowed, such as CollectionCriteria; numbered from 0"),
        _numbered("value", "criteria_value", "a value of the criterion of that number"),
        replace(from_date, date_form=dates),
        replace(to_date, date_form=dates),
        _numbered("from", "from_value", "the least value of a range", Kind.NUMBER),
        _numbered("to", "to_value", "the largest value of a range", Kind.NUMBER),
        _field("start", "start", "the first Patient wanted, counted from 0", kind=Kind.INTEGER),
        _field("size", "size", "how many Patients are wanted", kind=Kind.INTEGER),
        _field("sortField", "sort_field", "subject, studies, series or collection"),
        _field("sortDirection", "sort_direction", "ascending or descending"),
        _field("tool", "tool", "name of the client"),
    )


WITH_ANNOTATION: Final = _field("includeAnnotation", "with_annotations", "true: annotations too")
_SERIES_UID: Final = replace(
    s.SERIES, name="SeriesUID", required=True, description="a Series Instance UID; note the name"
)
_IMAGE_ID: Final = Parameter("imageID", "image_id", Kind.INTEGER, True, "number of an instance in the database")  # noqa: FBT003 - see Parameter
_INTERNAL_LIST: Final = replace(
    s.SERIES_LIST, field="series_ids", kind=Kind.INTEGER, description="numbers of Series in the archive's database"
)
DOI: Final = (
    _field("DOI", "doi", "a DOI", is_required=True),
    _field("CollectionOrSeries", "level", "series: the Series of that DOI, too"),
)

# --- endpoints --------------------------------------------------------------------------------------------------------


def json_rows(
    name: str, parameters: tuple[Parameter, ...], attributes: tuple[Attribute, ...], text: str, method: str = "GET"
) -> Endpoint:
    """An endpoint whose rows are JSON always."""
    return rows(name, parameters, attributes, text, method=method, formats=JSON_ONLY)


def posted(name: str, parameters: tuple[Parameter, ...], answer: Answer, text: str) -> Endpoint:
    """An endpoint that takes a form, and answers with a text or a file."""
    return other(name, parameters, answer, text, method="POST")


def _metadata(name: str, attributes: tuple[Attribute, ...], text: str) -> Endpoint:
    return rows(name, (s.SERIES_LIST_OF_COMMAS,), attributes, text, method="POST", formats=CSV_FILE)


COUNTS: Final = (
    ("getCollectionValuesAndCounts", (), "Collection", "Collections, with the number of Patients of each"),
    (
        "getModalityValuesAndCounts",
        (s.COLLECTION, s.any_case(s.BODY_PART)),
        "Modality",
        "modalities, with the number of Patients of each",
    ),
    (
        "getBodyPartValuesAndCounts",
        (s.COLLECTION, s.any_case(s.MODALITY)),
        "BodyPart",
        "body parts, with the number of Patients of each",
    ),
    (
        "getManufacturerValuesAndCounts",
        (s.COLLECTION, s.any_case(s.MODALITY), s.any_case(s.BODY_PART)),
        "Manufacturer",
        "manufacturers, with the number of Patients of each",
    ),
    ("getSpeciesValuesAndCounts", (), "Species", "species, with the number of Patients of each"),
)


_LICENSES_LIST: Final = json_rows("getLicenses", (), _LICENSES, "the licences of the archive's data")

# The same in both forms, but for what v4 says of who may see it.
SHARED: Final = (
    json_rows(
        "getSpeciesTax",
        (),
        (s.renamed("speciesCode", s.A_SPECIES_CODE), s.renamed("speciesDescription", s.A_SPECIES)),
        "the species that there are",
    ),
    json_rows("getDicomTags", (_SERIES_UID,), _TAGS, "the DICOM attributes of the first instance of a Series"),
    json_rows("getDicomTagsByImageID", (_IMAGE_ID,), _TAGS, "the DICOM attributes of one instance"),
    posted(
        "getManifestForCollection",
        (
            _field("collection", "collection", "name of a Collection", is_required=True),
            _field("visibility", "visibility", "1, or 13 for all", kind=Kind.INTEGER),
            WITH_ANNOTATION,
        ),
        Answer.MANIFEST,
        "a manifest of the Series of a Collection",
    ),
    posted(
        "getManifestFromPatientStudySeries",
        (
            _field("patientIDs", "patient_ids", "IDs of Patients with commas between them"),
            _field("studyUIDs", "study_uids", "Study Instance UIDs with commas between them"),
            _field("seriesUIDs", "series_uids", "Series Instance UIDs with commas between them"),
            _field("anyOrAll", "any_or_all", "any: what is in one of the lists; all: what is in each"),
            WITH_ANNOTATION,
        ),
        Answer.MANIFEST,
        "a manifest of the Series of some Patients, Studies and Series",
    ),
    posted(
        "getMD5Hierarchy",
        (s.SERIES, s.STUDY, s.PATIENT_ID, s.COLLECTION),
        Answer.TEXT,
        "one MD5 over those of all instances of a Series, Study, Patient or Collection; nothing for an unknown one",
    ),
    json_rows("getStudyDrillDown", (_INTERNAL_LIST,), _STUDIES, "the Studies of some Series, nested", "POST"),
    json_rows("getImageDrillDown", (_INTERNAL_LIST,), _DRILLED_IMAGES, "the instances of some Series", "POST"),
    json_rows(
        "getStudyDrillDownWithSeriesIds", (s.SERIES_LIST,), _STUDIES, "the Studies of some Series, nested", "POST"
    ),
    posted(
        "getThumbnail",
        (
            _field("seriesUID", "series_uid", "a Series Instance UID", kind=Kind.UID, is_required=True),
            _field("objectUID", "sop_uid", "a SOP Instance UID", kind=Kind.UID, is_required=True),
        ),
        Answer.PICTURE,
        "a small picture of one instance",
    ),
)

NBIA_ADVANCED: Final[Mapping[str, Endpoint]] = by_name(
    (
        *(json_rows(name, parameters, _CRITERIA_COUNT, text) for name, parameters, _, text in COUNTS),
        json_rows(
            "getCollectionDescriptions",
            (Parameter("collectionName", "collection", description="name of a Collection"),),
            DESCRIPTION,
            "what the archive says about its Collections",
        ),
        json_rows("getCollectionOrSeriesForDOI", DOI, OF_DOI, "what a DOI names", "POST"),
        as_object(
            rows(
                "getSimpleSearchWithModalityAndBodyPartPaged",
                search_form(DateForm.DAY_FIRST),
                FOUND,
                "Patients that meet all criteria, a page of them, with counts of what they have",
                method="POST",
                formats=JSON_ONLY,
            )
        ),
        posted(
            "getManifestTextV2",
            (s.SERIES_LIST, WITH_ANNOTATION),
            Answer.MANIFEST,
            "a manifest of some Series",
        ),
        posted(
            "getManifestForSimpleSearch",
            search_form(DateForm.DAY_FIRST),
            Answer.MANIFEST,
            "a manifest of what a simple search finds",
        ),
        _metadata("getSeriesMetadata2", SERIES_METADATA_2, "metadata of some Series, as an attachment of CSV"),
        _metadata("getSeriesMetadata3", SERIES_METADATA_3, "all metadata of some Series, as an attachment of CSV"),
        as_object(
            rows(
                "getSharedList",
                (_field("nameValue", "shared_list", "name of a shared list", is_required=True),),
                _SHARED_LIST,
                "a shared list; null for an unknown one",
                method="POST",
                formats=JSON_ONLY,
            )
        ),
        posted(
            "createSharedList",
            (
                s.SERIES_LIST,
                _field("name", "shared_list", "its name", is_required=True),
                _field("description", "description", "what it is"),
                _field("url", "url", "where there is more about it"),
            ),
            Answer.TEXT,
            "make a shared list of some Series",
        ),
        posted(
            "deleteSharedList",
            (_field("name", "shared_list", "its name", is_required=True),),
            Answer.TEXT,
            "delete a shared list that you own",
        ),
        _LICENSES_LIST,
        *SHARED,
        other("hostName", (), Answer.TEXT, "name of the server"),
        other("up", (), Answer.TEXT, "the word up"),
    )
)

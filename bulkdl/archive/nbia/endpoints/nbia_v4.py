"""NBIA v4, the current API, for guests and logins. Paths are below `v4/`.

It refuses unknown parameters; dates are `MM-dd-yyyy` both ways. Its forms of the Advanced API share the tables of
`nbia_advanced`. Source: the server program (`v4/V4_*.java`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints import nbia_advanced as advanced
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
from bulkdl.archive.nbia.endpoints.nbia_search import (
    DENIED_SERIES,
    IMAGE_OTHER,
    IMAGES,
    PATIENT_V1,
    SERIES_CRITERIA,
    SERIES_ID_LIST,
    SIZE_AND_INSTANCES,
    STUDY_V1,
    VALUES,
    patients_and_studies,
)
from bulkdl.archive.nbia.endpoints.series_metadata import (
    DATA_DESCRIPTION_URI,
    DIAGNOSIS_V4,
    MAX_SUBMITTED,
    SERIES_METADATA_COMBINED,
    SERIES_METADATA_V4,
    SERIES_QC_V4,
)

PATIENT_V4: Final = (*(each for each in PATIENT_V1 if each.name != "PatientBirthDate"), s.A_AUTHORIZED)
STUDY_V4: Final = (*(each for each in STUDY_V1 if each.name != "PatientBirthDate"), s.A_AUTHORIZED)

SERIES_V4: Final = (
    s.A_SERIES_UID,
    s.A_STUDY_UID,
    s.A_MODALITY,
    s.A_PROTOCOL,
    s.A_SERIES_DATE,
    s.A_SERIES_DESCRIPTION,
    s.A_BODY_PART,
    s.A_SERIES_NUMBER,
    s.A_ANNOTATIONS,
    s.A_COLLECTION,
    s.A_SITE,
    s.A_PATIENT_ID,
    s.A_SEX,
    s.A_AGE,
    DIAGNOSIS_V4,
    s.A_MANUFACTURER,
    s.A_MODEL,
    s.A_SOFTWARE,
    s.A_IMAGE_COUNT,
    MAX_SUBMITTED,
    s.A_LICENSE,
    s.A_LICENSE_URI,
    DATA_DESCRIPTION_URI,
    s.A_FILE_SIZE,
    s.A_RELEASED_STATUS,
    s.A_RELEASED,
    s.A_STUDY_DESC,
    s.A_STUDY_DATE,
    s.A_THIRD_PARTY,
    s.A_AUTHORIZED,
)

_FROM: Final = s.since("fromDate", DateForm.MONTH_FIRST, "a day, such as 12-31-2020; what was released on it or later")

_SEARCH: Final = (
    *VALUES,
    *patients_and_studies(PATIENT_V4, STUDY_V4, _FROM, s.A_AUTHORIZED),
    rows(
        "getSeries",
        tuple(each if each.any_case or each in {s.STUDY, s.SERIES} else s.any_case(each) for each in SERIES_CRITERIA),
        SERIES_V4,
        "Series that meet every criterion given",
    ),
    rows(
        "getUpdatedSeries",
        (replace(_FROM, description="a day, such as 12-31-2020; 01-01-1900 where it is left out"),),
        SERIES_V4,
        "the public Series that were released after a day",
    ),
    *SIZE_AND_INSTANCES,
    DENIED_SERIES,
    rows(
        "getSeriesMetadata",
        (s.SERIES_LIST_OF_COMMAS,),
        SERIES_METADATA_V4,
        "all metadata of some Series, up to 10,000 of them; an attachment of CSV if no format is named",
        method="POST",
        formats=("CSV-DOWNLOAD", "JSON", "CSV", "XML", "HTML"),
    ),
    rows(
        "getSeriesMetadataCombined",
        (s.SERIES_LIST,),
        SERIES_METADATA_COMBINED,
        "getSeriesMetadata with blanks in the names, as an attachment of CSV",
        method="POST",
        formats=CSV_FILE,
    ),
    rows(
        "getSeriesQCInfo",
        (SERIES_ID_LIST,),
        SERIES_QC_V4,
        "getSeriesMetadata with the visibility of each Series",
        method="POST",
    ),
    *(each for each in IMAGES if each.name != "getImage"),
    other(
        "getImage",
        (s.required(s.SERIES), s.NEW_FILE_NAMES, s.INCLUDE_MD5),
        Answer.BUNDLE,
        "all instances of a Series, as a zip that begins with a LICENSE, with md5hashes.csv at its end if asked for",
    ),
    IMAGE_OTHER,
    other(
        "getMD5HashForImage",
        (s.required(s.SOP),),
        Answer.TEXT,
        "the MD5 of one instance, 32 hexadecimal digits; nothing for an unknown one",
    ),
)

_DESCRIPTION_V4: Final = tuple(
    each for each in advanced.DESCRIPTION if each.name not in {"collectionDescTimestamp", "userName", "licenseId"}
)


def _counts_v4(name: str) -> tuple[Attribute, ...]:
    return (
        Attribute(name, "value", description="the value that is counted"),
        Attribute("Count", "count", Kind.INTEGER, "", "number of Patients"),
        s.A_AUTHORIZED,
    )


NBIA_V4: Final[Mapping[str, Endpoint]] = by_name(
    replace(endpoint, is_strict=True)
    for endpoint in (
        *_SEARCH,
        *(
            advanced.json_rows(name, parameters, _counts_v4(counted), text)
            for name, parameters, counted, text in advanced.COUNTS
        ),
        advanced.json_rows(
            "getCollectionDescriptions",
            (Parameter("collectionName", "collection", description="name of a Collection"),),
            _DESCRIPTION_V4,
            "what the archive says about its Collections",
        ),
        advanced.json_rows(
            "getCollectionOrSeriesForDOI",
            advanced.DOI,
            (*advanced.OF_DOI, s.renamed("authorized", s.A_AUTHORIZED)),
            "what a DOI names",
            "POST",
        ),
        as_object(
            rows(
                "getSimpleSearch",
                advanced.search_form(DateForm.MONTH_FIRST),
                advanced.FOUND,
                "Patients that meet all criteria, a page of them, with counts of what they have",
                method="POST",
                formats=JSON_ONLY,
            )
        ),
        advanced.posted(
            "getManifestText",
            (s.SERIES_LIST, replace(advanced.WITH_ANNOTATION, required=True)),
            Answer.MANIFEST,
            "a manifest of some Series",
        ),
        advanced.posted(
            "getManifestForSimpleSearch",
            advanced.search_form(DateForm.MONTH_FIRST),
            Answer.MANIFEST,
            "a manifest of what a simple search finds",
        ),
        *advanced.SHARED,
    )
)

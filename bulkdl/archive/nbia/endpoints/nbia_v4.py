"""NBIA v4, the current API, for guests and logins. Paths are below `v4/`.

It refuses unknown parameters; dates are `MM-dd-yyyy` both ways. Its forms of the Advanced API share the tables of
`nbia_advanced`. Source: the server program (`v4/V4_*.java`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints import nbia_advanced as advanced
from bulkdl.archive.nbia.endpoints import nbia_search as search
from bulkdl.archive.nbia.endpoints.base import FORMATS, Answer, Attribute, DateForm, Endpoint, Kind
from bulkdl.archive.nbia.endpoints.shared import CSV_FILE, by_name, columns, other, rows, since

_AUTHORIZED: Final = columns("Authorized")
_PATIENT: Final = tuple(each for each in search.PATIENT_V1 if each.name != "PatientBirthDate") + _AUTHORIZED
_STUDY: Final = tuple(each for each in search.STUDY_V1 if each.name != "PatientBirthDate") + _AUTHORIZED

_SERIES: Final = columns("""
    SeriesInstanceUID, StudyInstanceUID, Modality, ProtocolName, SeriesDate, SeriesDescription, BodyPartExamined,
    SeriesNumber, AnnotationsFlag, Collection, Site, PatientID, PatientSex, PatientAge, AdmittingDiagnosisDescription,
    Manufacturer, ManufacturerModelName, SoftwareVersions, ImageCount, MaxSubmissionTimestamp, LicenseName, LicenseURI,
    DataDescriptionURI, FileSize, ReleasedStatus, DateReleased, StudyDesc, StudyDate, ThirdPartyAnalysis, Authorized
""")

_METADATA: Final = """
    PatientID, PatientName, PatientSex, EthnicGroup, Phantom, SpeciesCode, SpeciesDescription, StudyInstanceUID,
    StudyDate, StudyDesc, AdmittingDiagnosisDescription, StudyID, PatientAge, LongitudinalTemporalEventType,
    LongitudinalTemporalOffsetFromEvent, SeriesInstanceUID, Collection, Site, Modality, ProtocolName, SeriesDate,
    SeriesDescription, BodyPartExamined, SeriesNumber, AnnotationsFlag, Manufacturer, ManufacturerModelName,
    PixelSpacing(mm)-Row, SliceThickness(mm), SoftwareVersions, ImageCount, MaxSubmissionTimestamp, LicenseName,
    LicenseURI, DataDescriptionURI, FileSize, ReleasedStatus, DateReleased, ThirdPartyAnalysis, Authorized
"""
_QC: Final = _METADATA.replace("ReleasedStatus", "Visibility, ReleasedStatus")
_COMBINED: Final = tuple(each for each in advanced.SERIES_METADATA_3 if not each.name.endswith(("Row", "(mm)")))

_FROM: Final = since("fromDate", DateForm.MONTH_FIRST, "a day, such as 12-31-2020; what was released on it or later")
_FROM_1900: Final = replace(_FROM, description="a day, such as 12-31-2020; 01-01-1900 where it is left out")

_SEARCH: Final = (
    *search.VALUES,
    *search.patients_and_studies(_PATIENT, _STUDY, _FROM, ", Authorized"),
    rows(
        "getSeries",
        "Collection, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality~, BodyPartExamined~, Manufacturer~, "
        "ManufacturerModelName~",
        _SERIES,
    ),
    rows("getUpdatedSeries", (_FROM_1900,), _SERIES, description="the public Series that were released after a day"),
    *search.SIZE_AND_INSTANCES,
    search.DENIED_SERIES,
    rows("getSeriesMetadata", (advanced.SERIES_LIST,), _METADATA, method="POST", formats=(*CSV_FILE, *FORMATS)),
    rows("getSeriesMetadataCombined", "list!", _COMBINED, method="POST", formats=CSV_FILE),
    rows(
        "getSeriesQCInfo",
        "seriesId!",
        _QC,
        method="POST",
        description="getSeriesMetadata with the visibility of each Series",
    ),
    *(each for each in search.IMAGES if each.name != "getImage"),
    other(
        "getImage",
        "SeriesInstanceUID!, NewFileNames, IncludeMD5",
        Answer.BUNDLE,
        description="all instances of a Series, as a zip that begins with a LICENSE, "
        "with md5hashes.csv at its end if asked for",
    ),
    search.IMAGE_OTHER,
    other("getMD5HashForImage", "SOPInstanceUID!", Answer.TEXT),
)

_DESCRIPTION: Final = tuple(
    each for each in advanced.DESCRIPTION if each.name not in {"collectionDescTimestamp", "userName", "licenseId"}
)


def _counts(name: str) -> tuple[Attribute, ...]:
    value = Attribute(name, "value", description="the value that is counted")
    return (value, Attribute("Count", "count", Kind.INTEGER, "", "number of Patients"), *_AUTHORIZED)


_ADVANCED: Final = (
    *(advanced.json_rows(name, parameters, _counts(counted)) for name, parameters, counted in advanced.COUNTS),
    advanced.json_rows("getCollectionDescriptions", "collectionName", _DESCRIPTION),
    advanced.json_rows(
        "getCollectionOrSeriesForDOI", "DOI!, CollectionOrSeries", (*advanced.OF_DOI, *columns("authorized")), "POST"
    ),
    advanced.search("getSimpleSearch", DateForm.MONTH_FIRST),
    advanced.posted("getManifestText", "list!, includeAnnotation!", Answer.MANIFEST),
    advanced.posted("getManifestForSimpleSearch", advanced.search_form(DateForm.MONTH_FIRST), Answer.MANIFEST),
    *advanced.SHARED,
)

NBIA_V4: Final[Mapping[str, Endpoint]] = by_name(
    replace(endpoint, is_strict=True) for endpoint in (*_SEARCH, *_ADVANCED)
)

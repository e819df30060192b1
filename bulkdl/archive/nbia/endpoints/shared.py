"""The words of the tables: what several endpoints share, how a table names it, and what each endpoint does.

Tags are those of PS3.6; TCIA's own attributes have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints.base import FORMATS, Answer, Attribute, DateForm, Endpoint, Kind, Parameter

JSON_ONLY: Final = ("JSON",)
CSV_FILE: Final = ("CSV-DOWNLOAD",)

_PARAMETERS: Final = {
    parameter.name: parameter
    for parameter in (
        Parameter("Collection", "collection", Kind.TEXT, "name of a Collection", any_case=True),
        Parameter("collection", "collection", Kind.TEXT, "name of a Collection"),
        Parameter("collectionName", "collection", Kind.TEXT, "name of a Collection"),
        Parameter("PatientID", "patient_id", Kind.TEXT, "a Patient's ID", any_case=True),
        Parameter("PatientId", "patient_id", Kind.TEXT, "a Patient's ID; note the small d", any_case=True),
        Parameter("patientIDs", "patient_ids", Kind.TEXT, "IDs of Patients with commas between them"),
        Parameter("StudyInstanceUID", "study_uid", Kind.UID, "a Study Instance UID"),
        Parameter("studyUIDs", "study_uids", Kind.TEXT, "Study Instance UIDs with commas between them"),
        Parameter("SeriesInstanceUID", "series_uid", Kind.UID, "a Series Instance UID"),
        Parameter("SeriesUID", "series_uid", Kind.UID, "a Series Instance UID; note the name"),
        Parameter("seriesUID", "series_uid", Kind.UID, "a Series Instance UID"),
        Parameter("seriesUIDs", "series_uids", Kind.TEXT, "Series Instance UIDs with commas between them"),
        Parameter(
            "seriesList", "series_uids", Kind.TEXT, "Series Instance UIDs with commas between them", separator=","
        ),
        Parameter("seriesId", "series_uids", Kind.TEXT, "a Series Instance UID", is_repeatable=True),
        Parameter("list", "series_uids", Kind.TEXT, "a Series Instance UID", is_repeatable=True),
        Parameter("SOPInstanceUID", "sop_uid", Kind.UID, "a SOP Instance UID"),
        Parameter("SOPInstanceUid", "sop_uid", Kind.UID, "a SOP Instance UID; note the d"),
        Parameter("objectUID", "sop_uid", Kind.UID, "a SOP Instance UID"),
        Parameter("imageID", "image_id", Kind.INTEGER, "number of an instance in the database"),
        Parameter("Modality", "modality", Kind.TEXT, "a modality, such as CT"),
        Parameter("BodyPartExamined", "body_part", Kind.TEXT, "a body part, such as CHEST"),
        Parameter("Manufacturer", "manufacturer", Kind.TEXT, "a manufacturer"),
        Parameter("ManufacturerModelName", "model", Kind.TEXT, "a manufacturer's model name"),
        Parameter("visibility", "visibility", Kind.INTEGER, "1, or 13 for all"),
        Parameter("anyOrAll", "any_or_all", Kind.TEXT, "any: what is in one of the lists; all: what is in each"),
        Parameter("DOI", "doi", Kind.TEXT, "a DOI"),
        Parameter("CollectionOrSeries", "level", Kind.TEXT, "series: the Series of that DOI, too"),
        Parameter("userName", "user", Kind.TEXT, "the user whose rights are checked"),
        Parameter("name", "shared_list", Kind.TEXT, "name of a shared list"),
        Parameter("nameValue", "shared_list", Kind.TEXT, "name of a shared list"),
        Parameter("NewFileNames", "new_file_names", Kind.TEXT, "Yes: names such as 1-01.dcm in the zip", any_case=True),
        Parameter("IncludeMD5", "with_md5", Kind.TEXT, "Yes: md5hashes.csv in the zip", any_case=True),
        Parameter("MD5Verification", "with_md5", Kind.TEXT, "true: md5hashes.csv in the zip", any_case=True),
        Parameter("IncludeAnnotation", "with_annotations", Kind.TEXT, "true: annotations in the zip", any_case=True),
        Parameter("includeAnnotation", "with_annotations", Kind.TEXT, "true: annotations too"),
    )
}

_ATTRIBUTES: Final = (
    Attribute("Collection", "collection", Kind.TEXT, "", "name of the Collection"),
    Attribute("CollectionURI", "collection_uri", Kind.TEXT, "", "DOI of the Collection"),
    Attribute("LicenseName", "license_name", Kind.TEXT, "", "licence of the data"),
    Attribute("LicenseURI", "license_uri", Kind.TEXT, "", "address of the licence"),
    Attribute("Site", "site", Kind.TEXT, "", "the site that submitted the Series"),
    Attribute("PatientID", "patient_id", Kind.TEXT, "00100020", "the Patient's ID"),
    Attribute("PatientName", "patient_name", Kind.TEXT, "00100010", "name, de-identified"),
    Attribute("PatientBirthDate", "patient_birth_date", Kind.DATE, "00100030", "date of birth, if kept"),
    Attribute("PatientSex", "patient_sex", Kind.TEXT, "00100040", "M, F or O"),
    Attribute("PatientAge", "patient_age", Kind.TEXT, "00101010", "age at the Study, such as 061Y"),
    Attribute("EthnicGroup", "ethnic_group", Kind.TEXT, "00102160", "ethnic group"),
    Attribute("Phantom", "phantom", Kind.YES_NO, "00100200", "YES for a phantom"),
    Attribute("SpeciesCode", "species_code", Kind.TEXT, "00102202", "SNOMED code of the species"),
    Attribute("SpeciesDescription", "species_description", Kind.TEXT, "00102201", "name of the species"),
    Attribute("StudyInstanceUID", "study_uid", Kind.UID, "0020000D", "Study Instance UID"),
    Attribute("StudyID", "study_id", Kind.TEXT, "00200010", "the Study's ID"),
    Attribute("StudyDate", "study_date", Kind.DATE, "00080020", "date of the Study, often moved"),
    Attribute("StudyDescription", "description", Kind.TEXT, "00081030", "description of the Study"),
    Attribute("StudyDesc", "study_description", Kind.TEXT, "00081030", "description of the Study"),
    Attribute("AdmittingDiagnosesDescription", "admitting_diagnosis", Kind.TEXT, "00081080", "diagnosis"),
    Attribute("LongitudinalTemporalEventType", "longitudinal_event_type", Kind.TEXT, "00120053", "event"),
    Attribute(
        "LongitudinalTemporalOffsetFromEvent",
        "longitudinal_offset_days",
        Kind.NUMBER,
        "00120052",
        "days from the event",
    ),
    Attribute("SeriesCount", "series_count", Kind.INTEGER, "", "number of Series in the Study"),
    Attribute("SeriesInstanceUID", "series_uid", Kind.UID, "0020000E", "Series Instance UID"),
    Attribute("SeriesNumber", "series_number", Kind.INTEGER, "00200011", "number of the Series"),
    Attribute("SeriesDate", "series_date", Kind.DATE, "00080021", "date of the Series, often moved"),
    Attribute("SeriesDescription", "description", Kind.TEXT, "0008103E", "description of the Series"),
    Attribute("Modality", "modality", Kind.TEXT, "00080060", "modality"),
    Attribute("ProtocolName", "protocol", Kind.TEXT, "00181030", "name of the protocol"),
    Attribute("BodyPartExamined", "body_part", Kind.TEXT, "00180015", "body part"),
    Attribute("Manufacturer", "manufacturer", Kind.TEXT, "00080070", "manufacturer of the equipment"),
    Attribute("ManufacturerModelName", "model", Kind.TEXT, "00081090", "model name of the equipment"),
    Attribute("SoftwareVersions", "software_versions", Kind.TEXT, "00181020", "versions of its software"),
    Attribute("PixelSpacing(mm)-Row", "pixel_spacing_mm", Kind.NUMBER, "00280030", "distance of rows in mm"),
    Attribute("SliceThickness(mm)", "slice_thickness_mm", Kind.NUMBER, "00180050", "thickness of slices in mm"),
    Attribute("ImageCount", "image_count", Kind.INTEGER, "", "number of instances"),
    Attribute("ObjectCount", "image_count", Kind.INTEGER, "", "number of instances"),
    Attribute("FileSize", "size_bytes", Kind.INTEGER, "", "bytes of all instances"),
    Attribute("TotalSizeInBytes", "size_bytes", Kind.INTEGER, "", "bytes of all instances"),
    Attribute("AnnotationsFlag", "annotations", Kind.FLAG, "", "whether annotations are attached"),
    Attribute("AnnotationSize", "annotation_bytes", Kind.INTEGER, "", "bytes of all annotations"),
    Attribute(
        "ThirdPartyAnalysis", "third_party", Kind.YES_NO, "", "YES for results that others than the submitter made"
    ),
    Attribute("TimeStamp", "submitted", Kind.TIMESTAMP, "", "when the Series was last submitted"),
    Attribute("DateReleased", "released", Kind.DATE, "", "when the Series became public"),
    Attribute("ReleasedStatus", "is_released", Kind.YES_NO, "", "Yes for public data"),
    Attribute("ReleaseStatus", "is_released", Kind.YES_NO, "", "Yes for what is public"),
    Attribute("Visibility", "visibility", Kind.TEXT, "", "1 for visible data"),
    Attribute("Authorized", "authorized", Kind.INTEGER, "", "1: you may see it"),
    Attribute("SOPClassUID", "sop_class_uid", Kind.UID, "00080016", "class of the instances"),
    Attribute("SOPInstanceUID", "sop_uid", Kind.UID, "00080018", "SOP Instance UID"),
    Attribute("FileLocation", "study_id", Kind.TEXT, "00200010", "the Study's ID, whatever the name says"),
)

# What else some tables call an attribute. The case of a name and its blanks make no difference.
_OTHER_NAMES: Final = {
    "3rdPartyAnalysis": "ThirdPartyAnalysis",
    "AdmittingDiagnosesDescriptions": "AdmittingDiagnosesDescription",
    "AdmittingDiagnosisDescription": "AdmittingDiagnosesDescription",
    "CollectionName": "Collection",
    "DataDescriptionURI": "CollectionURI",
    "Doi": "CollectionURI",
    "FileSize(Bytes)": "FileSize",
    "LicenseURL": "LicenseURI",
    "MaxSubmissionTimestamp": "TimeStamp",
    "NumberOfImages": "ImageCount",
    "Project": "Collection",
    "ReleaseDate": "DateReleased",
    "SeriesID": "SeriesInstanceUID",
    "SeriesUID": "SeriesInstanceUID",
    "StudyUID": "StudyInstanceUID",
    "SubjectID": "PatientID",
    "thirdPartyAnanlysis": "ThirdPartyAnalysis",
}

# What each endpoint answers or does, in words: said once for all families that have it.
_DESCRIPTIONS: Final = {
    "getCollectionValues": "all Collections",
    "getModalityValues": "modalities, of one Collection or body part or of all",
    "getBodyPartValues": "body parts, of one Collection or modality or of all",
    "getManufacturerValues": "manufacturers of equipment, narrowed by Collection, modality and body part",
    "getPatient": "Patients, of one Collection or of all",
    "getPatientByCollectionAndModality": "the Patients of a Collection who have a Series of that modality",
    "NewPatientsInCollection": "the Patients of a Collection who are new since a day",
    "getPatientStudy": "Studies, narrowed by Collection, Patient or UID",
    "NewStudiesInPatientCollection": "the Studies of a Collection, or of one Patient of it, that are new since a day",
    "getSeries": "Series that meet every criterion given",
    "getUpdatedSeries": "the Series that were released after a day",
    "getContentsByName": "the Series of a shared list; always JSON",
    "getSeriesSize": "size and number of instances of one Series; slow on large archives",
    "getSOPInstanceUIDs": "the instances of one Series",
    "getSeriesMetaData": "the metadata of one Series as in the metadata.csv of downloads; every value is text",
    "getSingleImage": "one instance, as a DICOM file",
    "getImage": "all instances of a Series, as a zip that begins with a LICENSE",
    "getImageWithMD5Hash": "all instances of a Series, as a zip that ends with md5hashes.csv",
    "getDCMImage": "all instances of a Series, as a zip of names such as 1-01.dcm",
    "getM5HashForImage": "the MD5 of one instance, 32 hexadecimal digits; nothing for an unknown one",
    "getImageOther": "the files of a Series that are not DICOM, as a zip with the original names",
    "getDeniedSeries": "those of some Series that a user may not see",
    "getUserAgreementTxt": "the agreement for users of the data",
    "getAllSOPClassDefinition": "names of SOP classes, a line UID=name for each",
    "status": "whether the API is up",
    "status/version": "the version of the API",
    "getSeriesQCInfo": "release, visibility and licence of some Series",
    "getSeriesMetadata": "all metadata of some Series, up to 10,000 of them; "
    "an attachment of CSV if no format is named",
    "getSeriesMetadataCombined": "getSeriesMetadata with blanks in the names, as an attachment of CSV",
    "getMD5HashForImage": "the MD5 of one instance, 32 hexadecimal digits; nothing for an unknown one",
    "getCollectionValuesAndCounts": "Collections, with the number of Patients of each",
    "getModalityValuesAndCounts": "modalities, with the number of Patients of each",
    "getBodyPartValuesAndCounts": "body parts, with the number of Patients of each",
    "getManufacturerValuesAndCounts": "manufacturers, with the number of Patients of each",
    "getSpeciesValuesAndCounts": "species, with the number of Patients of each",
    "getCollectionDescriptions": "what the archive says about its Collections",
    "getCollectionOrSeriesForDOI": "what a DOI names",
    "getSimpleSearch": "Patients that meet all criteria, a page of them, with counts of what they have",
    "getManifestText": "a manifest of some Series",
    "getManifestForSimpleSearch": "a manifest of what a simple search finds",
    "getSpeciesTax": "the species that there are",
    "getDicomTags": "the DICOM attributes of the first instance of a Series",
    "getDicomTagsByImageID": "the DICOM attributes of one instance",
    "getManifestForCollection": "a manifest of the Series of a Collection",
    "getManifestFromPatientStudySeries": "a manifest of the Series of some Patients, Studies and Series",
    "getMD5Hierarchy": "one MD5 over those of all instances of a Series, Study, Patient or Collection; "
    "nothing for an unknown one",
    "getStudyDrillDown": "the Studies of some Series, nested",
    "getImageDrillDown": "the instances of some Series",
    "getStudyDrillDownWithSeriesIds": "the Studies of some Series, nested",
    "getThumbnail": "a small picture of one instance",
    "getSimpleSearchWithModalityAndBodyPartPaged": "Patients that meet all criteria, a page of them, "
    "with counts of what they have",
    "getManifestTextV2": "a manifest of some Series",
    "getSeriesMetadata2": "metadata of some Series, as an attachment of CSV",
    "getSeriesMetadata3": "all metadata of some Series, as an attachment of CSV",
    "getSharedList": "a shared list; null for an unknown one",
    "createSharedList": "make a shared list of some Series",
    "deleteSharedList": "delete a shared list that you own",
    "getLicenses": "the licences of the archive's data",
    "hostName": "name of the server",
    "up": "the word up",
    "PatientsByModality": "the Patients of a Collection who have a Series of that modality",
    "ContentsByName": "the Series of a shared list; always JSON",
}


def _folded(name: str) -> str:
    return name.replace(" ", "").casefold()


_BY_NAME: Final = {_folded(attribute.name): attribute for attribute in _ATTRIBUTES}
_BY_NAME.update({_folded(other): _BY_NAME[_folded(name)] for other, name in _OTHER_NAMES.items()})


def columns(names: str, **fields: str) -> tuple[Attribute, ...]:
    """The attributes of an answer by their names, with commas between them, in the order and spelling of the wire.

    `fields` are those that have another name of ours in this answer, by their names without blanks.
    """
    return tuple(_column(name.strip(), fields) for name in names.split(","))


def _column(name: str, fields: Mapping[str, str]) -> Attribute:
    known = _BY_NAME[_folded(name)]
    field = fields.get(name.replace(" ", ""), known.field)
    if (known.name, known.field) == (name, field):
        return known
    return Attribute(name, field, known.kind, known.tag, known.description)


def asked(names: str) -> tuple[Parameter, ...]:
    """The parameters of these names, with commas between them. `Modality!~` is required, and compared in any case."""
    return tuple(_parameter(name.strip()) for name in names.split(",") if name)


def _parameter(marked: str) -> Parameter:
    name = marked.rstrip("!~")
    known = _PARAMETERS[name]
    if name == marked:
        return known
    return replace(known, required="!" in marked, any_case=known.any_case or "~" in marked)


def since(name: str, form: DateForm, description: str) -> Parameter:
    """A parameter with the day since which something is new."""
    return Parameter(name, "since", Kind.DATE, description, date_form=form)


def rows(
    name: str,
    parameters: str | tuple[Parameter, ...],
    attributes: str | tuple[Attribute, ...],
    *,
    method: str = "GET",
    formats: tuple[str, ...] = FORMATS,
    description: str | None = None,
) -> Endpoint:
    """An endpoint that answers with rows; its path is its name. Texts are read by `asked` and `columns`."""
    return Endpoint(
        name,
        name,
        asked(parameters) if isinstance(parameters, str) else parameters,
        columns(attributes) if isinstance(attributes, str) else attributes,
        Answer.ROWS,
        description or _DESCRIPTIONS[name],
        method=method,
        formats=formats,
    )


def other(
    name: str,
    parameters: str | tuple[Parameter, ...],
    answer: Answer,
    *,
    method: str = "GET",
    description: str | None = None,
) -> Endpoint:
    """An endpoint that answers with a text or a file; its path is its name."""
    return replace(rows(name, parameters, (), method=method, formats=(), description=description), answer=answer)


def by_name(endpoints: Iterable[Endpoint]) -> Mapping[str, Endpoint]:
    """The endpoints of a family, keyed by their names as documented."""
    return {endpoint.name: endpoint for endpoint in endpoints}


SERIES_START: Final = columns("""
    SeriesInstanceUID, StudyInstanceUID, Modality, ProtocolName, SeriesDate, SeriesDescription, BodyPartExamined,
    SeriesNumber, AnnotationsFlag, Collection, PatientID, Manufacturer, ManufacturerModelName, SoftwareVersions,
    ImageCount
""")
"""The first fifteen attributes of a Series, which every family except NBIA v4 sends in this order."""

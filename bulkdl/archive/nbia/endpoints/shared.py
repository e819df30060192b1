"""Parameters and attributes that several families share. Tags are those of PS3.6; TCIA's own attributes have none."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints.base import Attribute, DateForm, Kind, Parameter


def required(parameter: Parameter) -> Parameter:
    """The same parameter, where an endpoint requires it."""
    return replace(parameter, required=True)


def any_case(parameter: Parameter) -> Parameter:
    """The same parameter, where its value is compared without case."""
    return replace(parameter, any_case=True)


def since(name: str, form: DateForm, description: str) -> Parameter:
    """A parameter with the day since which something is new."""
    return Parameter(name, "since", Kind.DATE, description=description, date_form=form)


def renamed(name: str, attribute: Attribute, field: str | None = None) -> Attribute:
    """The same attribute under another name on the wire, and under another name of ours if `field` is given."""
    return replace(attribute, name=name, field=field or attribute.field)


# --- parameters -------------------------------------------------------------------------------------------------------

COLLECTION: Final = Parameter("Collection", "collection", description="name of a Collection", any_case=True)
PATIENT_ID: Final = Parameter("PatientID", "patient_id", description="a Patient's ID", any_case=True)
PATIENT_ID_SMALL_D: Final = Parameter(
    "PatientId", "patient_id", description="a Patient's ID; note the small d", any_case=True
)
STUDY: Final = Parameter("StudyInstanceUID", "study_uid", Kind.UID, description="a Study Instance UID")
SERIES: Final = Parameter("SeriesInstanceUID", "series_uid", Kind.UID, description="a Series Instance UID")
SOP: Final = Parameter("SOPInstanceUID", "sop_uid", Kind.UID, description="a SOP Instance UID")
MODALITY: Final = Parameter("Modality", "modality", description="a modality, such as CT")
BODY_PART: Final = Parameter("BodyPartExamined", "body_part", description="a body part, such as CHEST")
MANUFACTURER: Final = Parameter("Manufacturer", "manufacturer", description="a manufacturer")
MODEL: Final = Parameter("ManufacturerModelName", "model", description="a manufacturer's model name")
SHARED_LIST: Final = Parameter("name", "shared_list", required=True, description="name of a shared list")
NEW_FILE_NAMES: Final = Parameter(
    "NewFileNames", "new_file_names", description="Yes: names such as 1-01.dcm in the zip", any_case=True
)
INCLUDE_MD5: Final = Parameter("IncludeMD5", "with_md5", description="Yes: md5hashes.csv in the zip", any_case=True)
INCLUDE_ANNOTATION: Final = Parameter(
    "IncludeAnnotation", "with_annotations", description="true: annotations in the zip", any_case=True
)
MD5_VERIFICATION: Final = Parameter(
    "MD5Verification", "with_md5", description="true: md5hashes.csv in the zip", any_case=True
)
SERIES_LIST: Final = Parameter(
    "list",
    "series_uids",
    required=True,
    description="a Series Instance UID",
    is_repeatable=True,
)
SERIES_LIST_OF_COMMAS: Final = replace(
    SERIES_LIST, description="Series Instance UIDs, repeated or with commas between them", separator=","
)

# --- attributes -------------------------------------------------------------------------------------------------------

A_COLLECTION: Final = Attribute("Collection", "collection", description="name of the Collection")
A_PATIENT_ID: Final = Attribute("PatientID", "patient_id", tag="00100020", description="the Patient's ID")
A_PATIENT_NAME: Final = Attribute("PatientName", "patient_name", tag="00100010", description="name, de-identified")
A_BIRTH_DATE: Final = Attribute(
    "PatientBirthDate", "patient_birth_date", Kind.DATE, "00100030", "date of birth, if kept"
)
A_SEX: Final = Attribute("PatientSex", "patient_sex", tag="00100040", description="M, F or O")
A_ETHNIC_GROUP: Final = Attribute("EthnicGroup", "ethnic_group", tag="00102160", description="ethnic group")
A_PHANTOM: Final = Attribute("Phantom", "phantom", Kind.YES_NO, "00100200", "YES for a phantom")
A_SPECIES_CODE: Final = Attribute(
    "SpeciesCode", "species_code", tag="00102202", description="SNOMED code of the species"
)
A_SPECIES: Final = Attribute(
    "SpeciesDescription", "species_description", tag="00102201", description="name of the species"
)
A_STUDY_UID: Final = Attribute("StudyInstanceUID", "study_uid", Kind.UID, "0020000D", "Study Instance UID")
A_STUDY_DATE: Final = Attribute("StudyDate", "study_date", Kind.DATE, "00080020", "date of the Study, often moved")
A_STUDY_DESCRIPTION: Final = Attribute(
    "StudyDescription", "description", tag="00081030", description="description of the Study"
)
A_DIAGNOSIS: Final = Attribute(
    "AdmittingDiagnosesDescription", "admitting_diagnosis", tag="00081080", description="diagnosis"
)
A_STUDY_ID: Final = Attribute("StudyID", "study_id", tag="00200010", description="the Study's ID")
A_AGE: Final = Attribute("PatientAge", "patient_age", tag="00101010", description="age at the Study, such as 061Y")
A_SERIES_COUNT: Final = Attribute("SeriesCount", "series_count", Kind.INTEGER, "", "number of Series in the Study")
A_EVENT: Final = Attribute(
    "LongitudinalTemporalEventType", "longitudinal_event_type", tag="00120053", description="event"
)
A_OFFSET: Final = Attribute(
    "LongitudinalTemporalOffsetFromEvent", "longitudinal_offset_days", Kind.NUMBER, "00120052", "days from the event"
)
A_SERIES_UID: Final = Attribute("SeriesInstanceUID", "series_uid", Kind.UID, "0020000E", "Series Instance UID")
A_SOP_UID: Final = Attribute("SOPInstanceUID", "sop_uid", Kind.UID, "00080018", "SOP Instance UID")
A_SOP_CLASS: Final = Attribute("SOP Class UID", "sop_class_uid", Kind.UID, "00080016", "class of the instances")
A_MODALITY: Final = Attribute("Modality", "modality", tag="00080060", description="modality")
A_PROTOCOL: Final = Attribute("ProtocolName", "protocol", tag="00181030", description="name of the protocol")
A_SERIES_DATE: Final = Attribute("SeriesDate", "series_date", Kind.DATE, "00080021", "date of the Series, often moved")
A_SERIES_DESCRIPTION: Final = Attribute(
    "SeriesDescription", "description", tag="0008103E", description="description of the Series"
)
A_BODY_PART: Final = Attribute("BodyPartExamined", "body_part", tag="00180015", description="body part")
A_SERIES_NUMBER: Final = Attribute("SeriesNumber", "series_number", Kind.INTEGER, "00200011", "number of the Series")
A_ANNOTATIONS: Final = Attribute("AnnotationsFlag", "annotations", Kind.FLAG, "", "whether annotations are attached")
A_MANUFACTURER: Final = Attribute(
    "Manufacturer", "manufacturer", tag="00080070", description="manufacturer of the equipment"
)
A_MODEL: Final = Attribute("ManufacturerModelName", "model", tag="00081090", description="model name of the equipment")
A_SOFTWARE: Final = Attribute(
    "SoftwareVersions", "software_versions", tag="00181020", description="versions of its software"
)
A_IMAGE_COUNT: Final = Attribute("ImageCount", "image_count", Kind.INTEGER, "", "number of instances")
A_SUBMITTED: Final = Attribute("TimeStamp", "submitted", Kind.TIMESTAMP, "", "when the Series was last submitted")
A_LICENSE: Final = Attribute("LicenseName", "license_name", description="licence of the data")
A_LICENSE_URI: Final = Attribute("LicenseURI", "license_uri", description="address of the licence")
A_COLLECTION_URI: Final = Attribute("CollectionURI", "collection_uri", description="DOI of the Collection")
A_FILE_SIZE: Final = Attribute("FileSize", "size_bytes", Kind.INTEGER, "", "bytes of all instances")
A_RELEASED: Final = Attribute("DateReleased", "released", Kind.DATE, "", "when the Series became public")
A_STUDY_DESC: Final = Attribute(
    "StudyDesc", "study_description", tag="00081030", description="description of the Study"
)
A_THIRD_PARTY: Final = Attribute(
    "ThirdPartyAnalysis", "third_party", Kind.YES_NO, "", "YES for results that others than the submitter made"
)
A_SITE: Final = Attribute("Site", "site", description="the site that submitted the Series")
A_RELEASED_STATUS: Final = Attribute("ReleasedStatus", "is_released", Kind.YES_NO, "", "Yes for public data")
A_VISIBILITY: Final = Attribute("Visibility", "visibility", description="1 for visible data")
A_AUTHORIZED: Final = Attribute("Authorized", "authorized", Kind.INTEGER, "", "1: you may see it")
A_PIXEL_SPACING: Final = Attribute(
    "PixelSpacing(mm)-Row", "pixel_spacing_mm", Kind.NUMBER, "00280030", "distance of rows in mm"
)
A_SLICE_THICKNESS: Final = Attribute(
    "SliceThickness(mm)", "slice_thickness_mm", Kind.NUMBER, "00180050", "thickness of slices in mm"
)
A_SIZE: Final = Attribute("TotalSizeInBytes", "size_bytes", Kind.INTEGER, "", "bytes of all instances")
A_OBJECT_COUNT: Final = Attribute("ObjectCount", "image_count", Kind.INTEGER, "", "number of instances")

SIZE: Final = (A_SIZE, A_OBJECT_COUNT)

SERIES_START: Final = (
    A_SERIES_UID,
    A_STUDY_UID,
    A_MODALITY,
    A_PROTOCOL,
    A_SERIES_DATE,
    A_SERIES_DESCRIPTION,
    A_BODY_PART,
    A_SERIES_NUMBER,
    A_ANNOTATIONS,
    A_COLLECTION,
    A_PATIENT_ID,
    A_MANUFACTURER,
    A_MODEL,
    A_SOFTWARE,
    A_IMAGE_COUNT,
)
"""The first fifteen attributes of a Series, which every family except NBIA v4 sends in this order."""

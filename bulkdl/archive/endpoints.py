"""Tables of the archives' endpoints: paths, parameters, returned attributes with their DICOM tags.

Each endpoint is described once; the client, the embedded archive, `bulkdl query` and `bulkdl describe` all read it
here. An attribute has two names: the one on the wire (`SeriesInstanceUID`), and the `field` of our records
(`series_uid`). How a value of a `Kind` is written on the wire is the dialect's affair.

Source: the NBIA Search REST API as its server program implements it (`V1_*.java`, column lists in order).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Kind(Enum):
    """The type of a value, apart from how a dialect writes it."""

    TEXT = auto()
    UID = auto()
    INTEGER = auto()
    NUMBER = auto()
    FLAG = auto()  # true, false
    YES_NO = auto()  # YES, NO
    DATE = auto()
    TIMESTAMP = auto()


class Answer(Enum):
    """What an endpoint sends."""

    ROWS = auto()
    INSTANCE = auto()  # one DICOM file
    BUNDLE = auto()  # the zip of a Series
    TEXT = auto()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter. `field` is the criterion of our own words that it carries."""

    name: str
    field: str
    kind: Kind = Kind.TEXT
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A returned attribute; `tag` is its DICOM tag as eight hexadecimal digits, or empty."""

    name: str
    field: str
    kind: Kind = Kind.TEXT
    tag: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `path` is relative to the base address of its family; `attributes` are in the wire's order."""

    name: str
    path: str
    parameters: tuple[Parameter, ...]
    attributes: tuple[Attribute, ...]
    answer: Answer
    description: str
    method: str = "GET"

    @property
    def required(self) -> tuple[str, ...]:
        """The wire names of the required parameters."""
        return tuple(parameter.name for parameter in self.parameters if parameter.required)


def by_name(endpoints: Iterable[Endpoint]) -> Mapping[str, Endpoint]:
    """The endpoints of a family, keyed by their names as documented."""
    return {endpoint.name: endpoint for endpoint in endpoints}


# --- parameters -------------------------------------------------------------------------------------------------------

_COLLECTION = Parameter("Collection", "collection", description="name of a Collection, in any case")
_PATIENT_ID = Parameter("PatientID", "patient_id", description="a Patient's ID, in any case")
_PATIENT_ID_OF_GET_PATIENT = Parameter("PatientId", "patient_id", description="a Patient's ID; note the small d")
_STUDY = Parameter("StudyInstanceUID", "study_uid", Kind.UID, description="a Study Instance UID")
_SERIES = Parameter("SeriesInstanceUID", "series_uid", Kind.UID, description="a Series Instance UID")
_SERIES_REQUIRED = Parameter(
    "SeriesInstanceUID", "series_uid", Kind.UID, required=True, description="a Series Instance UID"
)
_SOP_REQUIRED = Parameter("SOPInstanceUID", "sop_uid", Kind.UID, required=True, description="a SOP Instance UID")
_MODALITY = Parameter("Modality", "modality", description="a modality, such as CT")
_BODY_PART = Parameter("BodyPartExamined", "body_part", description="a body part, such as CHEST")
_MANUFACTURER = Parameter("Manufacturer", "manufacturer", description="a manufacturer")
_MODEL = Parameter("ManufacturerModelName", "model", description="a manufacturer's model name")
_NEW_FILE_NAMES = Parameter("NewFileNames", "new_file_names", description="Yes: names such as 1-01.dcm in the zip")

# --- attributes -------------------------------------------------------------------------------------------------------

_A_COLLECTION = Attribute("Collection", "collection", tag="", description="name of the Collection")
_A_PATIENT_NAME = Attribute("PatientName", "patient_name", tag="00100010", description="name, de-identified")
_A_BIRTH_DATE = Attribute("PatientBirthDate", "birth_date", Kind.DATE, "00100030", "date of birth, if kept")
_A_SEX = Attribute("PatientSex", "sex", tag="00100040", description="M, F or O")
_A_ETHNIC_GROUP = Attribute("EthnicGroup", "ethnic_group", tag="00102160", description="ethnic group")
_A_PATIENT_ID = Attribute("PatientID", "patient_id", tag="00100020", description="the Patient's ID")
_A_STUDY_UID = Attribute("StudyInstanceUID", "study_uid", Kind.UID, "0020000D", "Study Instance UID")
_A_STUDY_DATE = Attribute("StudyDate", "study_date", Kind.DATE, "00080020", "date of the Study, often shifted")

PATIENT_V1 = (
    Attribute("PatientId", "patient_id", tag="00100020", description="the Patient's ID"),
    Attribute("PatientName", "name", tag="00100010", description="name, de-identified"),
    _A_BIRTH_DATE,
    _A_SEX,
    _A_ETHNIC_GROUP,
    _A_COLLECTION,
    Attribute("Phantom", "phantom", Kind.YES_NO, "00200200", "YES for a phantom"),
    Attribute("SpeciesCode", "species_code", tag="00102202", description="SNOMED code of the species"),
    Attribute("SpeciesDescription", "species_description", tag="00102201", description="name of the species"),
)

STUDY_V1 = (
    _A_STUDY_UID,
    _A_STUDY_DATE,
    Attribute("StudyDescription", "description", tag="00081030", description="description of the Study"),
    Attribute("AdmittingDiagnosesDescription", "admitting_diagnosis", tag="00081080", description="diagnosis"),
    Attribute("StudyID", "study_id", tag="00200010", description="the Study's ID"),
    Attribute("PatientAge", "patient_age", tag="00101010", description="age at the Study, such as 061Y"),
    _A_PATIENT_ID,
    _A_PATIENT_NAME,
    Attribute("PatientBirthDate", "patient_birth_date", Kind.DATE, "00100030", "date of birth, if kept"),
    Attribute("PatientSex", "patient_sex", tag="00100040", description="M, F or O"),
    _A_ETHNIC_GROUP,
    _A_COLLECTION,
    Attribute("SeriesCount", "series_count", Kind.INTEGER, "", "number of Series in the Study"),
    Attribute("LongitudinalTemporalEventType", "longitudinal_event_type", tag="00120053", description="event"),
    Attribute(
        "LongitudinalTemporalOffsetFromEvent",
        "longitudinal_offset_days",
        Kind.NUMBER,
        "00120052",
        "days from the event",
    ),
)

SERIES_V1 = (
    Attribute("SeriesInstanceUID", "series_uid", Kind.UID, "0020000E", "Series Instance UID"),
    _A_STUDY_UID,
    Attribute("Modality", "modality", tag="00080060", description="modality"),
    Attribute("ProtocolName", "protocol", tag="00181030", description="name of the protocol"),
    Attribute("SeriesDate", "series_date", Kind.DATE, "00080021", "date of the Series, often shifted"),
    Attribute("SeriesDescription", "description", tag="0008103E", description="description of the Series"),
    Attribute("BodyPartExamined", "body_part", tag="00180015", description="body part"),
    Attribute("SeriesNumber", "series_number", Kind.INTEGER, "00200011", "number of the Series"),
    Attribute("AnnotationsFlag", "annotations", Kind.FLAG, "", "whether annotations are attached"),
    _A_COLLECTION,
    _A_PATIENT_ID,
    Attribute("Manufacturer", "manufacturer", tag="00080070", description="manufacturer of the equipment"),
    Attribute("ManufacturerModelName", "model", tag="00081090", description="model name of the equipment"),
    Attribute("SoftwareVersions", "software_versions", tag="00181020", description="versions of its software"),
    Attribute("ImageCount", "image_count", Kind.INTEGER, "", "number of instances"),
    Attribute("TimeStamp", "submitted", Kind.TIMESTAMP, "", "when the Series was last submitted"),
    Attribute("LicenseName", "license_name", tag="", description="licence of the data"),
    Attribute("LicenseURI", "license_uri", tag="", description="address of the licence"),
    Attribute("CollectionURI", "collection_uri", tag="", description="DOI of the Collection"),
    Attribute("FileSize", "size_bytes", Kind.INTEGER, "", "bytes of all instances"),
    Attribute("DateReleased", "released", Kind.DATE, "", "when the Series became public"),
    Attribute("StudyDesc", "study_description", tag="00081030", description="description of the Study"),
    _A_STUDY_DATE,
    Attribute("ThirdPartyAnalysis", "third_party", Kind.YES_NO, "", "YES for results of others than the submitter"),
)

_SIZE = (
    Attribute("TotalSizeInBytes", "size_bytes", Kind.INTEGER, "", "bytes of all instances"),
    Attribute("ObjectCount", "image_count", Kind.INTEGER, "", "number of instances"),
)

_IMAGE_COUNT = [attribute.name for attribute in SERIES_V1].index("ImageCount")

# --- NBIA v1 ----------------------------------------------------------------------------------------------------------

NBIA_V1: Mapping[str, Endpoint] = by_name(
    (
        Endpoint("getCollectionValues", "getCollectionValues", (), (_A_COLLECTION,), Answer.ROWS, "all Collections"),
        Endpoint(
            "getPatient",
            "getPatient",
            (_COLLECTION, _PATIENT_ID_OF_GET_PATIENT),
            PATIENT_V1,
            Answer.ROWS,
            "Patients, of one Collection or of all",
        ),
        Endpoint(
            "getPatientStudy",
            "getPatientStudy",
            (_COLLECTION, _PATIENT_ID, _STUDY),
            STUDY_V1,
            Answer.ROWS,
            "Studies, narrowed by Collection, Patient or UID",
        ),
        Endpoint(
            "getSeries",
            "getSeries",
            (_COLLECTION, _PATIENT_ID, _STUDY, _SERIES, _MODALITY, _BODY_PART, _MANUFACTURER, _MODEL),
            SERIES_V1,
            Answer.ROWS,
            "Series that meet every criterion given",
        ),
        Endpoint(
            "getContentsByName",
            "getContentsByName",
            (Parameter("name", "shared_list", required=True, description="name of a shared list"),),
            (
                *SERIES_V1[: _IMAGE_COUNT + 1],
                Attribute("Date Released", "released", Kind.DATE, "", "when the Series became public; note the blank"),
            ),
            Answer.ROWS,
            "the Series of a shared list; always JSON",
        ),
        Endpoint(
            "getSeriesSize",
            "getSeriesSize",
            (_SERIES_REQUIRED,),
            _SIZE,
            Answer.ROWS,
            "size and number of instances of one Series; slow on large archives",
        ),
        Endpoint(
            "getSOPInstanceUIDs",
            "getSOPInstanceUIDs",
            (_SERIES_REQUIRED,),
            (Attribute("SOPInstanceUID", "sop_uid", Kind.UID, "00080018", "SOP Instance UID"),),
            Answer.ROWS,
            "the instances of one Series",
        ),
        Endpoint(
            "getSingleImage",
            "getSingleImage",
            (_SERIES_REQUIRED, _SOP_REQUIRED),
            (),
            Answer.INSTANCE,
            "one instance, as a DICOM file",
        ),
        Endpoint(
            "getImage",
            "getImage",
            (_SERIES_REQUIRED, _NEW_FILE_NAMES),
            (),
            Answer.BUNDLE,
            "all instances of a Series, as a zip that begins with a LICENSE",
        ),
        Endpoint(
            "getImageWithMD5Hash",
            "getImageWithMD5Hash",
            (_SERIES_REQUIRED,),
            (),
            Answer.BUNDLE,
            "all instances of a Series, as a zip that ends with md5hashes.csv",
        ),
        Endpoint(
            "getM5HashForImage",
            "getM5HashForImage",
            (
                Parameter(
                    "SOPInstanceUid",
                    "sop_uid",
                    Kind.UID,
                    required=True,
                    description="a SOP Instance UID; note the small id",
                ),
            ),
            (),
            Answer.TEXT,
            "the MD5 of one instance, 32 hexadecimal digits; nothing for an unknown one",
        ),
    )
)

"""The attributes of getSeriesMetaData and its later forms, and of getSeriesQCInfo: the longest tables of NBIA.

Source: as for `nbia_search`, `nbia_v4` and `nbia_advanced`, whose endpoints these are.
"""

from __future__ import annotations

import re
from typing import Final

from bulkdl.archive.nbia.endpoints import shared as s
from bulkdl.archive.nbia.endpoints.base import Attribute, Kind

_END: Final = (
    s.renamed("Date Released", s.A_RELEASED),
    s.renamed("Series Date", s.A_SERIES_DATE),
    s.renamed("Protocol Name", s.A_PROTOCOL),
    s.renamed("Body Part Examined", s.A_BODY_PART),
    s.renamed("Annotations Flag", s.A_ANNOTATIONS),
    s.renamed("Manufacturer Model Name", s.A_MODEL),
    s.renamed("Software Versions", s.A_SOFTWARE),
    s.A_SUBMITTED,
)

# Every value is text; dates are written by java.util.Date, except the Study's, which is MM-dd-yyyy.
SERIES_METADATA_V1: Final = (
    s.renamed("Series UID", s.A_SERIES_UID),
    s.A_COLLECTION,
    s.renamed("3rd Party Analysis", s.A_THIRD_PARTY),
    s.renamed("Data Description URI", s.A_COLLECTION_URI),
    s.renamed("Subject ID", s.A_PATIENT_ID),
    s.renamed("Study UID", s.A_STUDY_UID),
    s.renamed("Study Description", s.A_STUDY_DESC),
    s.renamed("Study Date", s.A_STUDY_DATE),
    s.renamed("Series Description", s.A_SERIES_DESCRIPTION),
    s.A_MANUFACTURER,
    s.A_MODALITY,
    s.A_SOP_CLASS,
    s.renamed("Number of Images", s.A_IMAGE_COUNT),
    s.renamed("File Size", s.A_FILE_SIZE),
    Attribute("File Location", "study_id", tag="00200010", description="the Study's ID, whatever the name says"),
    s.renamed("Series Number", s.A_SERIES_NUMBER),
    s.renamed("License Name", s.A_LICENSE),
    s.renamed("License URL", s.A_LICENSE_URI),
    Attribute("Annotation Size", "annotation_bytes", Kind.INTEGER, "", "bytes of all annotations"),
    *_END,
)

SERIES_QC_V2: Final = (
    s.A_SERIES_UID,
    s.A_VISIBILITY,
    Attribute("ReleaseStatus", "is_released", Kind.YES_NO, "", "Yes for what is public"),
    Attribute("ReleaseDate", "released", Kind.DATE, "", "when the Series became public"),
    s.A_IMAGE_COUNT,
    s.renamed("Doi", s.A_COLLECTION_URI),
    s.A_LICENSE,
    s.A_SITE,
    s.renamed("Project", s.A_COLLECTION),
    s.A_PATIENT_ID,
    s.A_MODALITY,
    s.renamed("StudyDescription", s.A_STUDY_DESC),
    s.A_SERIES_DESCRIPTION,
)

SERIES_METADATA_2: Final = (
    s.renamed("Subject ID", s.A_PATIENT_ID),
    s.renamed("Study UID", s.A_STUDY_UID),
    s.renamed("Study Description", s.A_STUDY_DESC),
    s.renamed("Study Date", s.A_STUDY_DATE),
    s.renamed("Series ID", s.A_SERIES_UID),
    s.renamed("Series Description", s.A_SERIES_DESCRIPTION),
    s.renamed("Number of images", s.A_IMAGE_COUNT),
    s.renamed("File Size (Bytes)", s.A_FILE_SIZE),
    s.renamed("Collection Name", s.A_COLLECTION),
    s.A_MODALITY,
    s.A_MANUFACTURER,
    s.renamed("3rd Party Analysis", s.A_THIRD_PARTY),
    s.renamed("Data Description URI", s.A_COLLECTION_URI),
    s.renamed("Series Number", s.A_SERIES_NUMBER),
    s.renamed("License Name", s.A_LICENSE),
    s.renamed("License URL", s.A_LICENSE_URI),
    *_END,
)

MAX_SUBMITTED: Final = s.renamed("MaxSubmissionTimestamp", s.A_SUBMITTED)
DATA_DESCRIPTION_URI: Final = s.renamed("DataDescriptionURI", s.A_COLLECTION_URI)
DIAGNOSIS_V4: Final = s.renamed("AdmittingDiagnosisDescription", s.A_DIAGNOSIS)

SERIES_METADATA_V4: Final = (
    s.A_PATIENT_ID,
    s.A_PATIENT_NAME,
    s.A_SEX,
    s.A_ETHNIC_GROUP,
    s.A_PHANTOM,
    s.A_SPECIES_CODE,
    s.A_SPECIES,
    s.A_STUDY_UID,
    s.A_STUDY_DATE,
    s.A_STUDY_DESC,
    DIAGNOSIS_V4,
    s.A_STUDY_ID,
    s.A_AGE,
    s.A_EVENT,
    s.A_OFFSET,
    s.A_SERIES_UID,
    s.A_COLLECTION,
    s.A_SITE,
    s.A_MODALITY,
    s.A_PROTOCOL,
    s.A_SERIES_DATE,
    s.A_SERIES_DESCRIPTION,
    s.A_BODY_PART,
    s.A_SERIES_NUMBER,
    s.A_ANNOTATIONS,
    s.A_MANUFACTURER,
    s.A_MODEL,
    s.A_PIXEL_SPACING,
    s.A_SLICE_THICKNESS,
    s.A_SOFTWARE,
    s.A_IMAGE_COUNT,
    MAX_SUBMITTED,
    s.A_LICENSE,
    s.A_LICENSE_URI,
    DATA_DESCRIPTION_URI,
    s.A_FILE_SIZE,
    s.A_RELEASED_STATUS,
    s.A_RELEASED,
    s.A_THIRD_PARTY,
    s.A_AUTHORIZED,
)

_AT_RELEASED_STATUS: Final = SERIES_METADATA_V4.index(s.A_RELEASED_STATUS)
SERIES_QC_V4: Final = (
    *SERIES_METADATA_V4[:_AT_RELEASED_STATUS],
    s.A_VISIBILITY,
    *SERIES_METADATA_V4[_AT_RELEASED_STATUS:],
)

# The forms that send CSV only have blanks in their names, and some other names.
_SPACED: Final = {
    "StudyDesc": "Study Description",
    "Collection": "Project",
    "DataDescriptionURI": "Collection URI",
    "PixelSpacing(mm)-Row": "Pixel Spacing(mm)- Row",
}
_NEW_WORD: Final = re.compile("(?<=[a-z])(?=[A-Z])")
_UNSPACED: Final = frozenset({s.A_SITE, s.A_RELEASED_STATUS, s.A_AUTHORIZED})
SERIES_METADATA_3: Final = tuple(
    s.renamed(_SPACED.get(each.name) or _NEW_WORD.sub(" ", each.name), each)
    for each in SERIES_METADATA_V4
    if each not in _UNSPACED
)
SERIES_METADATA_COMBINED: Final = tuple(each for each in SERIES_METADATA_3 if not each.name.endswith(("Row", "(mm)")))

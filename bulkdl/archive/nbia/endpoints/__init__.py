"""Tables of the archives' endpoints: paths, parameters, returned attributes with their DICOM tags.

Each endpoint of each family is described once, for the client, the embedded archive, `bulkdl query` and
`bulkdl describe`. A family is a mapping of documented names to endpoints; its paths are relative to its base address:
`v1/`, `v2/` and `v4/` below `…/nbia-api/services/`, that address itself for NBIA_ADVANCED, `…/services/v3/` for TCIA.
"""

from __future__ import annotations

from bulkdl.archive.nbia.endpoints.base import (
    CSV_FILE,
    FORMATS,
    JSON_ONLY,
    NO_FORMATS,
    Answer,
    Attribute,
    DateForm,
    Endpoint,
    Kind,
    Parameter,
    by_name,
)
from bulkdl.archive.nbia.endpoints.nbia_advanced import NBIA_ADVANCED
from bulkdl.archive.nbia.endpoints.nbia_search import NBIA_V1, NBIA_V2, PATIENT_V1, SERIES_V1, STUDY_V1
from bulkdl.archive.nbia.endpoints.nbia_v4 import NBIA_V4
from bulkdl.archive.nbia.endpoints.tcia_v3 import TCIA_V3

__all__ = [
    "CSV_FILE",
    "FORMATS",
    "JSON_ONLY",
    "NBIA_ADVANCED",
    "NBIA_V1",
    "NBIA_V2",
    "NBIA_V4",
    "NO_FORMATS",
    "PATIENT_V1",
    "SERIES_V1",
    "STUDY_V1",
    "TCIA_V3",
    "Answer",
    "Attribute",
    "DateForm",
    "Endpoint",
    "Kind",
    "Parameter",
    "by_name",
]

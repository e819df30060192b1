"""Tables of the archives' endpoints: paths, parameters, returned attributes with their DICOM tags.

Each endpoint of each family is described once, for the client, the embedded archive, `bulkdl query` and
`bulkdl describe`. A family is a mapping of documented names to endpoints; its paths are relative to its base address:
`v1/`, `v2/` and `v4/` below `…/nbia-api/services/`, that address itself for NBIA_ADVANCED, `…/services/v3/` for TCIA.
"""

from __future__ import annotations

from bulkdl.archive.nbia.endpoints.base import FORMATS, Answer, Attribute, DateForm, Endpoint, Kind, Parameter
from bulkdl.archive.nbia.endpoints.nbia_advanced import NBIA_ADVANCED
from bulkdl.archive.nbia.endpoints.nbia_search import NBIA_V1, NBIA_V2
from bulkdl.archive.nbia.endpoints.nbia_v4 import NBIA_V4
from bulkdl.archive.nbia.endpoints.tcia_v3 import OTHER_NAMES, TCIA_V3

__all__ = [
    "FORMATS",
    "NBIA_ADVANCED",
    "NBIA_V1",
    "NBIA_V2",
    "NBIA_V4",
    "OTHER_NAMES",
    "TCIA_V3",
    "Answer",
    "Attribute",
    "DateForm",
    "Endpoint",
    "Kind",
    "Parameter",
]

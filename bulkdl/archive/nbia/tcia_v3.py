"""The dialect of TCIA's own REST API v3, below `…/services/v3/`: an API key, ISO dates, `[]` for nothing.

Which format comes where none is named is not documented, so each question names it. It has no checksums, and tells no
sizes but by getSeriesSize. v4 of the same platform speaks alike, without a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from bulkdl.archive.nbia.dialect import Identity, Request, TableDialect
from bulkdl.archive.nbia.endpoints import TCIA_V3, Endpoint
from bulkdl.model.ids import SeriesUid, SopInstanceUid

_NOT_NAMED: Final = ""


class TciaV3(TableDialect):
    """TCIA REST API v3."""

    name = "tcia-v3"
    endpoints = TCIA_V3
    identity = Identity.KEY
    other_names: ClassVar[Mapping[str, str]] = {
        "getContentsByName": "ContentsByName",
        "getPatientByCollectionAndModality": "PatientsByModality",
    }
    default_format = _NOT_NAMED

    def bundle(self, series_uid: SeriesUid) -> Request:
        """See `Dialect.bundle`."""
        return self._ask("getImage", {"series_uid": series_uid})

    def checksum(self, sop_uid: SopInstanceUid) -> None:
        """See `Dialect.checksum`."""

    def metadata(self, endpoint: Endpoint) -> Request:
        """See `Dialect.metadata`."""
        return Request(endpoint, f"{endpoint.path}/metadata", identity=self.identity)

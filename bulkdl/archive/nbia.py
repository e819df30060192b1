"""The NBIA dialects. v1: the Search API, open to all, which shows public data only.

Source: the NBIA API guide and the behaviour of its server program. Names of parameters are case-sensitive, and v1
ignores those it does not know: a misspelt one asks for everything. That is why requests are made from the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bulkdl.archive.dialect import Request, question
from bulkdl.archive.endpoints import NBIA_V1, Endpoint
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import InstanceKey

_PREFIX: Final = "v1/"


class NbiaV1:
    """NBIA Search API v1, below `…/nbia-api/services/`."""

    name: Final = "nbia-v1"
    endpoints: Final = NBIA_V1

    def _ask(self, endpoint: str, criteria: Mapping[str, str]) -> Request:
        return question(self.endpoints[endpoint], criteria, prefix=_PREFIX)

    def collections(self) -> Request:
        """See `Dialect.collections`."""
        return self._ask("getCollectionValues", {})

    def series(self, criteria: Mapping[str, str]) -> Request:
        """See `Dialect.series`."""
        return self._ask("getContentsByName" if "shared_list" in criteria else "getSeries", criteria)

    def size(self, series_uid: SeriesUid) -> Request:
        """See `Dialect.size`. The real server is slow at it: take sizes from getSeries where they are."""
        return self._ask("getSeriesSize", {"series_uid": series_uid})

    def instances(self, series_uid: SeriesUid) -> Request:
        """See `Dialect.instances`."""
        return self._ask("getSOPInstanceUIDs", {"series_uid": series_uid})

    def instance(self, key: InstanceKey) -> Request:
        """See `Dialect.instance`."""
        return self._ask("getSingleImage", {"series_uid": key.series_uid, "sop_uid": key.sop_uid})

    def bundle(self, series_uid: SeriesUid) -> Request:
        """See `Dialect.bundle`."""
        return self._ask("getImageWithMD5Hash", {"series_uid": series_uid})

    def checksum(self, sop_uid: SopInstanceUid) -> Request:
        """See `Dialect.checksum`."""
        return self._ask("getM5HashForImage", {"sop_uid": sop_uid})

    def verbatim(self, endpoint: Endpoint, parameters: Mapping[str, str]) -> Request:
        """See `Dialect.verbatim`."""
        return Request(endpoint, f"{_PREFIX}{endpoint.path}", tuple(parameters.items()))


def find_endpoint(endpoints: Mapping[str, Endpoint], name: str) -> Endpoint | None:
    """The endpoint of that name, in any case."""
    folded = {known.casefold(): endpoint for known, endpoint in endpoints.items()}
    return folded.get(name.casefold())

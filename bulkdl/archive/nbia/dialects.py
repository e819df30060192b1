"""The dialects of TCIA's REST services: NBIA v1, the Search API; v2, the same with a login; v4; and TCIA's own API v3.

v1 is open to all and shows public data only. v2 brings the Advanced API with it. v4 takes guests and logins; what it
lacks, such as shared lists by name, is asked of v1 and of the Advanced API. TCIA v3 takes an API key and writes ISO
dates; it has no checksums, and gives sizes in getSeriesSize only. v4 of its platform speaks alike, without a key.

Source: the NBIA API guide and the behaviour of its server program; TCIA's guide to v3. Names of parameters are
case-sensitive. NBIA v1 and v2 ignore unknown parameters, so a misspelt one asks for everything; v4 refuses them.
Therefore requests are made from the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from bulkdl.archive.nbia.dialect import Dialect
from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, NBIA_V1, NBIA_V2, NBIA_V4, TCIA_V3, Endpoint
from bulkdl.archive.request import Identity, Request
from bulkdl.model.ids import SeriesUid

# tcia_utils sends up to 10,000; fewer lose less when an answer is cut, and are hardly slower.
_SERIES_AT_ONCE: Final = 2_000

_OF_V1_FOR_V4: Final = ("getContentsByName", "getUserAgreementTxt", "getAllSOPClassDefinition")
_ADVANCED_FOR_V4: Final = tuple(name for name in NBIA_ADVANCED if name not in NBIA_V4)


class NbiaV1(Dialect):
    """NBIA Search API v1, below `…/nbia-api/services/`."""

    name = "nbia-v1"
    endpoints = NBIA_V1
    prefix = "v1/"


class NbiaV2(Dialect):
    """NBIA Search with Authentication API v2, and the Advanced API, below `…/nbia-api/services/`."""

    name = "nbia-v2"
    endpoints: ClassVar[Mapping[str, Endpoint]] = {**NBIA_V2, **NBIA_ADVANCED}
    prefix = "v2/"
    identity = Identity.TOKEN
    elsewhere: ClassVar[Mapping[str, tuple[str, Identity]]] = dict.fromkeys(NBIA_ADVANCED, ("", Identity.TOKEN))


class NbiaV4(Dialect):
    """NBIA v4, below `…/nbia-api/services/`."""

    name = "nbia-v4"
    endpoints: ClassVar[Mapping[str, Endpoint]] = {
        **NBIA_V4,
        **{name: NBIA_V1[name] for name in _OF_V1_FOR_V4},
        **{name: NBIA_ADVANCED[name] for name in _ADVANCED_FOR_V4},
    }
    prefix = "v4/"
    identity = Identity.TOKEN_IF_ANY
    elsewhere: ClassVar[Mapping[str, tuple[str, Identity]]] = {
        **dict.fromkeys(_OF_V1_FOR_V4, ("v1/", Identity.NONE)),
        **dict.fromkeys(_ADVANCED_FOR_V4, ("", Identity.TOKEN)),
    }
    other_names: ClassVar[Mapping[str, str]] = {"getM5HashForImage": "getMD5HashForImage"}
    series_at_once = _SERIES_AT_ONCE

    def series_by_uids(self, series_uids: Sequence[SeriesUid]) -> Request:
        """See `Dialect.series_by_uids`."""
        return self._ask("getSeriesMetadata", {"series_uids": series_uids})


class TciaV3(Dialect):
    """TCIA REST API v3, below `…/services/v3/`. Its default format is not documented, so each request names one."""

    name = "tcia-v3"
    endpoints = TCIA_V3
    identity = Identity.KEY
    other_names: ClassVar[Mapping[str, str]] = {
        "getContentsByName": "ContentsByName",
        "getPatientByCollectionAndModality": "PatientsByModality",
    }
    default_format = ""

    def bundle(self, series_uid: SeriesUid) -> Request:
        """See `Dialect.bundle`."""
        return self._ask("getImage", {"series_uid": series_uid})

    def checksum(self, sop_uid: str) -> None:
        """See `Dialect.checksum`."""

    def metadata(self, endpoint: Endpoint) -> Request:
        """See `Dialect.metadata`."""
        return Request(f"{endpoint.name}/metadata", f"{endpoint.path}/metadata", identity=self.identity)


DIALECTS: Final[Mapping[str, type[Dialect]]] = {
    "nbia": NbiaV4,
    "nbia-v1": NbiaV1,
    "nbia-v2": NbiaV2,
    "nbia-v4": NbiaV4,
    "tcia-v3": TciaV3,
}
"""The dialects by the kind of a profile."""


def find_endpoint(endpoints: Mapping[str, Endpoint], name: str) -> Endpoint | None:
    """The endpoint of that name, in any case."""
    if name in endpoints:
        return endpoints[name]
    folded = {known.casefold(): endpoint for known, endpoint in endpoints.items()}
    return folded.get(name.casefold())

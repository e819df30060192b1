"""The dialects of TCIA's REST services: NBIA v1, the Search API; v2, the same with a login; v4; and TCIA's own API v3.

v1 is open to all and shows public data only. v2 brings the Advanced API with it. v4 takes guests and logins; what it
lacks, such as shared lists by name, is asked of v1 and of the Advanced API. TCIA v3 takes an API key and writes ISO
dates; it has no checksums, and gives sizes in getSeriesSize only. v4 of its platform is the same without a key.

Source: the NBIA API guide and the behaviour of its server program; TCIA's guide to v3. Names of parameters are
case-sensitive. NBIA v1 and v2 ignore unknown parameters, so a misspelt one asks for everything; v4 refuses them.
Therefore requests are made from the tables: a dialect is its endpoint tables, the names that it gives to our questions,
and its ways to write values. No I/O; answers are read by `values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, NBIA_V1, NBIA_V2, NBIA_V4, OTHER_NAMES, TCIA_V3, Endpoint
from bulkdl.archive.request import Identity, Request
from bulkdl.model.ids import SeriesUid

# tcia_utils sends up to 10,000; fewer lose less when an answer is cut, and are hardly slower.
_SERIES_AT_ONCE: Final = 2_000

_OF_V1_FOR_V4: Final = ("getContentsByName", "getUserAgreementTxt", "getAllSOPClassDefinition")
_ADVANCED_FOR_V4: Final = tuple(name for name in NBIA_ADVANCED if name not in NBIA_V4)


class Dialect:
    """One family of APIs: each method makes the request of one question. Criteria have our own names (see `Parameter`).

    A family states its endpoints by their documented names, and where they are: below `prefix`, but for those of
    `elsewhere`. `other_names` maps the names of NBIA v1, by which endpoints are looked up here, to the family's own.
    `series_at_once` is how many Series one `series_by_uids` may name.
    """

    endpoints: ClassVar[Mapping[str, Endpoint]]
    identity: ClassVar[Identity] = Identity.NONE
    prefix: ClassVar[str] = ""
    elsewhere: ClassVar[Mapping[str, tuple[str, Identity]]] = {}
    other_names: ClassVar[Mapping[str, str]] = {}
    default_format: ClassVar[str] = "JSON"
    series_at_once: ClassVar[int] = 1

    def collections(self) -> Request:
        return self._ask("getCollectionValues", {})

    def collections_of_doi(self, doi: str) -> Request | None:
        """Ask for the Collections of a DOI; None where the family cannot be asked."""
        return self._ask_if_any("getCollectionOrSeriesForDOI", {"doi": doi, "level": ""})

    def description(self, collection: str) -> Request | None:
        """Ask what the archive says about a Collection; None where the family cannot be asked."""
        return self._ask_if_any("getCollectionDescriptions", {"collection": collection})

    def studies(self, collection: str, patient_id: str | None = None) -> Request:
        """Ask for the Studies of a Collection, or of one Patient of it."""
        criteria = {"collection": collection}
        return self._ask("getPatientStudy", criteria if patient_id is None else {**criteria, "patient_id": patient_id})

    def series(self, criteria: Mapping[str, str]) -> Request:
        """Ask for the Series that meet all `criteria`; or for those of a shared list, which is then the only criterion.

        Raises:
            KeyError: the family has no such criterion. Without it, the archive would send more than was selected.
        """
        return self._ask("getContentsByName" if "shared_list" in criteria else "getSeries", criteria)

    def series_by_uids(self, series_uids: Sequence[SeriesUid]) -> Request:
        """Ask for Series by their UIDs. The answer leaves out those that do not exist or are not visible."""
        (series_uid,) = series_uids
        return self._ask("getSeries", {"series_uid": series_uid})

    def size(self, series_uid: SeriesUid) -> Request:
        """Ask for the bytes and the number of instances of a Series. Real servers are slow at it; prefer getSeries."""
        return self._ask("getSeriesSize", {"series_uid": series_uid})

    def instances(self, series_uid: SeriesUid) -> Request:
        return self._ask("getSOPInstanceUIDs", {"series_uid": series_uid})

    def instance(self, series_uid: SeriesUid, sop_uid: str) -> Request:
        return self._ask("getSingleImage", {"series_uid": series_uid, "sop_uid": sop_uid})

    def bundle(self, series_uid: SeriesUid) -> Request:
        """Ask for the zip of a Series, with checksums where the family has them."""
        return self._ask("getImageWithMD5Hash", {"series_uid": series_uid})

    def checksum(self, sop_uid: str) -> Request | None:
        """Ask for the MD5 of one instance; None where the family has none."""
        return self._ask_if_any("getM5HashForImage", {"sop_uid": sop_uid})

    def series_checksum(self, series_uid: SeriesUid) -> Request | None:
        """Ask for the MD5 over those of all instances of a Series; None where the family has none."""
        return self._ask_if_any("getMD5Hierarchy", {"series_uid": series_uid})

    def tags(self, series_uid: SeriesUid) -> Request | None:
        """Ask for the attributes of the first instance of a Series; None where the family has no such endpoint."""
        return self._ask_if_any("getDicomTags", {"series_uid": series_uid})

    def metadata(self, endpoint: Endpoint) -> Request | None:
        """Ask for the archive's own description of an endpoint; None where the family has none."""
        del endpoint
        return None

    def verbatim(self, endpoint: Endpoint, parameters: Iterable[tuple[str, str]]) -> Request:
        """Ask any endpoint of the family; parameters have the names that the archive gives them."""
        pairs = tuple(parameters)
        is_form = endpoint.method == "POST"
        prefix, identity = self.elsewhere.get(endpoint.name, (self.prefix, self.identity))
        path = f"{prefix}{endpoint.path}"
        return Request(endpoint.name, path, () if is_form else pairs, pairs if is_form else None, identity)

    def _ask_if_any(self, name: str, criteria: Mapping[str, str]) -> Request | None:
        return self._ask(name, criteria) if self.other_names.get(name, name) in self.endpoints else None

    def _ask(self, name: str, criteria: Mapping[str, str]) -> Request:
        """Ask the endpoint of that name in v1. The keys of `criteria` are fields of its parameters.

        Rows are requested as JSON: the format is named where neither the endpoint nor the family states that JSON is
        what it sends anyway.
        """
        endpoint = self.endpoints[self.other_names.get(name, name)]
        names = {parameter.field: parameter.name for parameter in endpoint.parameters}
        pairs = [(names[field], value) for field, value in criteria.items()]
        if endpoint.has_format and {endpoint.default_format, self.default_format} != {"JSON"}:
            pairs.append(("format", "json"))
        return self.verbatim(endpoint, pairs)


class NbiaV1(Dialect):
    """NBIA Search API v1, below `…/nbia-api/services/`."""

    endpoints = NBIA_V1
    prefix = "v1/"


class NbiaV2(Dialect):
    """NBIA Search with Authentication API v2, and the Advanced API, below `…/nbia-api/services/`."""

    endpoints: ClassVar[Mapping[str, Endpoint]] = {**NBIA_V2, **NBIA_ADVANCED}
    prefix = "v2/"
    identity = Identity.TOKEN
    elsewhere: ClassVar[Mapping[str, tuple[str, Identity]]] = dict.fromkeys(NBIA_ADVANCED, ("", Identity.TOKEN))


class NbiaV4(Dialect):
    """NBIA v4, below `…/nbia-api/services/`."""

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
        return self._ask("getSeriesMetadata", {"series_uids": ",".join(series_uids)})


class TciaV3(Dialect):
    """TCIA REST API v3, below `…/services/v3/`. Its default format is not documented, so each request names one."""

    endpoints = TCIA_V3
    identity = Identity.KEY
    other_names: ClassVar[Mapping[str, str]] = {
        "getContentsByName": "ContentsByName",
        "getImageWithMD5Hash": "getImage",
    }
    default_format = ""

    def metadata(self, endpoint: Endpoint) -> Request:
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
    """The endpoint of that name, or of the second name that it has, in any case."""
    if name in endpoints:
        return endpoints[name]
    folded = {known.casefold(): endpoint for known, endpoint in endpoints.items()}
    second = {other.casefold(): folded.get(known.casefold()) for known, other in OTHER_NAMES.items()}
    return folded.get(name.casefold()) or second.get(name.casefold())

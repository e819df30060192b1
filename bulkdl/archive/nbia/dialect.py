"""What every dialect can say: a question becomes a `Request`. Pure; the answer is read by `values`.

A dialect is its endpoint table, the name it gives to each of our questions, and its ways of writing values. The client
executes requests and knows no dialect; a new protocol is a new module beside `nbia` and a line in `profiles`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from typing import ClassVar, Protocol, TypeAlias

from bulkdl.archive.nbia.endpoints import DateForm, Endpoint, Parameter, Place
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import InstanceKey

Criterion: TypeAlias = str | date | Sequence[str]
Pairs: TypeAlias = tuple[tuple[str, str], ...]


class Identity(Enum):
    """What a request says of who is asking."""

    NOBODY = auto()
    KEY = auto()  # an API key, if there is one
    TOKEN_IF_ANY = auto()  # the token of a login, if there is one; guests ask without
    TOKEN = auto()  # the token of a login, of the guest's if there is no other


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a path relative to the archive's base address, with its query and its form in order."""

    endpoint: Endpoint
    path: str
    query: Pairs = ()
    form: Pairs = ()
    identity: Identity = Identity.NOBODY


class Dialect(Protocol):
    """How one family of APIs is spoken to. Criteria are our own words: the `field` of the endpoint's parameters."""

    @property
    def name(self) -> str:
        """The family, as profiles name it."""

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Every endpoint of the family, by its documented name."""

    @property
    def series_at_once(self) -> int:
        """How many Series one `series_by_uids` may name."""

    @property
    def takes_key(self) -> bool:
        """Whether an API key is of use."""

    @property
    def takes_login(self) -> bool:
        """Whether a login is of use."""

    def collections(self) -> Request:
        """Ask for all Collections."""

    def series(self, criteria: Mapping[str, str]) -> Request:
        """Ask for the Series that meet all of `criteria`, or, with the one criterion `shared_list`, for those of it."""

    def series_by_uids(self, series_uids: Sequence[SeriesUid]) -> Request:
        """Ask for Series by their UIDs, up to `series_at_once` of them; what is unknown is left out of the answer."""

    def size(self, series_uid: SeriesUid) -> Request:
        """Ask for bytes and number of instances of a Series."""

    def instances(self, series_uid: SeriesUid) -> Request:
        """Ask for the SOP Instance UIDs of a Series."""

    def instance(self, key: InstanceKey) -> Request:
        """Ask for one instance."""

    def bundle(self, series_uid: SeriesUid) -> Request:
        """Ask for the zip of a Series, with checksums where the family offers them."""

    def checksum(self, sop_uid: SopInstanceUid) -> Request | None:
        """Ask for the MD5 of one instance; None where the family cannot tell."""

    def hierarchy_checksum(self, series_uid: SeriesUid) -> Request | None:
        """Ask for the MD5 over those of all instances of a Series; None where the family cannot tell."""

    def metadata(self, endpoint: Endpoint) -> Request | None:
        """Ask what the archive itself says about an endpoint; None where the family says nothing."""

    def verbatim(self, endpoint: Endpoint, parameters: Mapping[str, str] | Iterable[tuple[str, str]]) -> Request:
        """Ask any endpoint of the family with parameters named as they go over the wire."""


class TableDialect:
    """What the dialects have in common: they ask what their tables say, most of it under the same names.

    A family says where its endpoints lie (`prefix`, and `elsewhere` for those that lie below another), and what it
    calls those that have `other_names`; the names that are looked up are NBIA v1's.
    """

    name: ClassVar[str]
    endpoints: ClassVar[Mapping[str, Endpoint]]
    identity: ClassVar[Identity] = Identity.NOBODY
    prefix: ClassVar[str] = ""
    elsewhere: ClassVar[Mapping[str, tuple[str, Identity]]] = {}
    other_names: ClassVar[Mapping[str, str]] = {}
    default_format: ClassVar[str] = "JSON"
    series_at_once: ClassVar[int] = 1

    @property
    def takes_key(self) -> bool:
        """See `Dialect.takes_key`."""
        return self.identity is Identity.KEY

    @property
    def takes_login(self) -> bool:
        """See `Dialect.takes_login`."""
        return self.identity in {Identity.TOKEN, Identity.TOKEN_IF_ANY}

    def collections(self) -> Request:
        """See `Dialect.collections`."""
        return self._ask("getCollectionValues", {})

    def series(self, criteria: Mapping[str, str]) -> Request:
        """See `Dialect.series`."""
        return self._ask("getContentsByName" if "shared_list" in criteria else "getSeries", criteria)

    def series_by_uids(self, series_uids: Sequence[SeriesUid]) -> Request:
        """See `Dialect.series_by_uids`."""
        (series_uid,) = series_uids
        return self._ask("getSeries", {"series_uid": series_uid})

    def size(self, series_uid: SeriesUid) -> Request:
        """See `Dialect.size`. The real servers are slow at it: take sizes from getSeries where they are."""
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

    def checksum(self, sop_uid: SopInstanceUid) -> Request | None:
        """See `Dialect.checksum`."""
        return self._ask("getM5HashForImage", {"sop_uid": sop_uid})

    def hierarchy_checksum(self, series_uid: SeriesUid) -> Request | None:
        """See `Dialect.hierarchy_checksum`."""
        if "getMD5Hierarchy" not in self.endpoints:
            return None
        return self._ask("getMD5Hierarchy", {"series_uid": series_uid})

    def metadata(self, endpoint: Endpoint) -> Request | None:
        """See `Dialect.metadata`."""
        del endpoint
        return None

    def verbatim(self, endpoint: Endpoint, parameters: Mapping[str, str] | Iterable[tuple[str, str]]) -> Request:
        """See `Dialect.verbatim`."""
        pairs = tuple(parameters.items() if isinstance(parameters, Mapping) else parameters)
        is_form = endpoint.method == "POST"
        prefix, identity = self.elsewhere.get(endpoint.name, (self.prefix, self.identity))
        return Request(
            endpoint, f"{prefix}{endpoint.path}", () if is_form else pairs, pairs if is_form else (), identity
        )

    def _ask(self, name: str, criteria: Mapping[str, Criterion]) -> Request:
        endpoint = self.endpoints[self.other_names.get(name, name)]
        prefix, identity = self.elsewhere.get(endpoint.name, (self.prefix, self.identity))
        return question(endpoint, criteria, prefix=prefix, identity=identity, default_format=self.default_format)


def question(
    endpoint: Endpoint,
    criteria: Mapping[str, Criterion],
    *,
    prefix: str,
    identity: Identity = Identity.NOBODY,
    default_format: str = "JSON",
) -> Request:
    """The request of `endpoint` for `criteria`, whose keys are fields of its parameters, below the path `prefix`.

    Rows are asked for as JSON; `default_format` is what the family sends where the endpoint does not say otherwise and
    no format is named.

    Raises:
        KeyError: a criterion that the endpoint does not know. Left out, it would ask for more than is wanted.
    """
    named = {parameter.field: parameter for parameter in endpoint.parameters}
    query: list[tuple[str, str]] = []
    form: list[tuple[str, str]] = []
    for field, value in criteria.items():
        parameter = named[field]
        place = form if parameter.place is Place.FORM else query
        place += [(parameter.name, text) for text in _written(parameter, value)]
    if endpoint.has_format and {endpoint.default_format, default_format} != {"JSON"}:
        (form if endpoint.method == "POST" else query).append(("format", "json"))
    return Request(endpoint, f"{prefix}{endpoint.path}", tuple(query), tuple(form), identity)


def _written(parameter: Parameter, value: Criterion) -> list[str]:
    """The value of a parameter as it goes over the wire, once or several times."""
    if isinstance(value, date):
        return [value.strftime(parameter.date_form or DateForm.ISO)]
    if isinstance(value, str):
        return [value]
    return [parameter.separator.join(value)] if parameter.separator else list(value)

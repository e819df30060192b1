"""What the dialects have in common: a question becomes a `Request`, made from the endpoint tables. No I/O.

A dialect is its endpoint tables, the names that it gives to our questions, and its ways to write values. `dialects` has
all of them; answers are read by `values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import ClassVar, TypeAlias

from bulkdl.archive.nbia.endpoints import DateForm, Endpoint, Parameter
from bulkdl.archive.request import Identity, Request
from bulkdl.model.ids import SeriesUid

Criterion: TypeAlias = str | date | Sequence[str]


class Dialect:
    """One family of APIs. Criteria have our own names: the `field` of the endpoint's parameters.

    A family states its endpoints by their documented names, and where they are: below `prefix`, but for those of
    `elsewhere`. `other_names` maps the names of NBIA v1, by which endpoints are looked up here, to the family's own.
    `series_at_once` is how many Series one `series_by_uids` may name.
    """

    name: ClassVar[str]
    endpoints: ClassVar[Mapping[str, Endpoint]]
    identity: ClassVar[Identity] = Identity.NONE
    prefix: ClassVar[str] = ""
    elsewhere: ClassVar[Mapping[str, tuple[str, Identity]]] = {}
    other_names: ClassVar[Mapping[str, str]] = {}
    default_format: ClassVar[str] = "JSON"
    series_at_once: ClassVar[int] = 1

    def collections(self) -> Request:
        """Ask for all Collections."""
        return self._ask("getCollectionValues", {})

    def collections_of_doi(self, doi: str) -> Request | None:
        """Ask for the Collections of a DOI; None where the family cannot be asked."""
        if "getCollectionOrSeriesForDOI" not in self.endpoints:
            return None
        return self._ask("getCollectionOrSeriesForDOI", {"doi": doi, "level": ""})

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
        """Ask for the SOP Instance UIDs of a Series."""
        return self._ask("getSOPInstanceUIDs", {"series_uid": series_uid})

    def instance(self, series_uid: SeriesUid, sop_uid: str) -> Request:
        """Ask for one instance."""
        return self._ask("getSingleImage", {"series_uid": series_uid, "sop_uid": sop_uid})

    def bundle(self, series_uid: SeriesUid) -> Request:
        """Ask for the zip of a Series, with checksums where the family has them."""
        return self._ask("getImageWithMD5Hash", {"series_uid": series_uid})

    def checksum(self, sop_uid: str) -> Request | None:
        """Ask for the MD5 of one instance; None where the family has none."""
        return self._ask("getM5HashForImage", {"sop_uid": sop_uid})

    def series_checksum(self, series_uid: SeriesUid) -> Request | None:
        """Ask for the MD5 over those of all instances of a Series; None where the family has none."""
        if "getMD5Hierarchy" not in self.endpoints:
            return None
        return self._ask("getMD5Hierarchy", {"series_uid": series_uid})

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

    def _ask(self, name: str, criteria: Mapping[str, Criterion]) -> Request:
        endpoint = self.endpoints[self.other_names.get(name, name)]
        return self.verbatim(endpoint, write_parameters(endpoint, criteria, default_format=self.default_format))


def write_parameters(
    endpoint: Endpoint, criteria: Mapping[str, Criterion], *, default_format: str = "JSON"
) -> list[tuple[str, str]]:
    """The parameters of `endpoint` for `criteria`, whose keys are fields of its parameters.

    Rows are requested as JSON: the format is named where neither the endpoint nor, in `default_format`, the family
    states that JSON is what it sends anyway.

    Raises:
        KeyError: the endpoint has no such criterion. Without it, the archive would send more than was selected.
    """
    named = {parameter.field: parameter for parameter in endpoint.parameters}
    pairs = [(named[field].name, text) for field, value in criteria.items() for text in _written(named[field], value)]
    if endpoint.has_format and {endpoint.default_format, default_format} != {"JSON"}:
        pairs.append(("format", "json"))
    return pairs


def _written(parameter: Parameter, value: Criterion) -> list[str]:
    """The texts that are sent for a parameter, one for each time that it is sent."""
    if isinstance(value, date):
        return [value.strftime(parameter.date_form or DateForm.ISO)]
    if isinstance(value, str):
        return [value]
    return [parameter.separator.join(value)] if parameter.separator else list(value)

"""The data sets that the catalogue holds, as the services describe them: Collections, and what is derived from them.

Series of third parties that have a DOI beside that of their Collection are an analysis result. Blocking.
"""

# ruff: noqa: S608 - SQL is made from our own names

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from bulkdl.model.dois import doi_of_address
from bulkdl.model.licenses import short_license
from bulkdl.server.catalogue import CatalogueView
from bulkdl.server.catalogue.view import all_of

_FIELDS: Final = ("collection_uri", "third_party", "license_name", "license_uri", "modality")
_COLUMNS: Final = ", ".join(f"json_extract(k.record, '$.{name}')" for name in _FIELDS)
_KINDS: Final = "JOIN kind AS k ON k.number = t.kind"
_DOI_IN_ADDRESS: Final = (
    "substr(lower(json_extract(t.record, '$.collection_uri')), "
    "instr(lower(json_extract(t.record, '$.collection_uri')), 'doi.org/') + 8)"
)
_SUMS: Final = "sum(t.series) AS series, sum(t.images) AS images, sum(t.size_bytes) AS bytes"
_PARTS: Final = "count(DISTINCT t.patient), count(DISTINCT nullif(t.study, 0))"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedDataSet:
    """A data set of the catalogue. `doi` is in lower case; `derived_from` are the DOIs of its Collections.

    `time` is when its newest Series was added. Licences are pairs of name and address.
    """

    name: str
    is_result: bool = False
    doi: str | None = None
    derived_from: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    description: str = ""
    citation: str = ""
    licenses: tuple[tuple[str, str], ...] = ()
    modalities: tuple[str, ...] = ()
    time: datetime
    patients: int = 0
    studies: int = 0
    series: int = 0
    images: int = 0
    size_bytes: int = 0

    @property
    def license(self) -> str:
        """The short names of its licences."""
        return ", ".join(dict.fromkeys(short_license(*each) or "" for each in self.licenses))


@dataclass(slots=True)
class _Group:
    """The Series of one Collection under one DOI."""

    licenses: dict[tuple[str, str], None] = field(default_factory=dict)
    modalities: set[str] = field(default_factory=set)
    is_third_party: bool = True
    sums: Counter[str] = field(default_factory=Counter)

    def add(self, row: Sequence[Any]) -> None:
        third_party, license_name, license_uri, modality, series, images, size_bytes = row
        self.is_third_party &= bool(third_party)
        self.modalities |= {modality} if modality else set()
        if license_name or license_uri:
            self.licenses[license_name or "", license_uri or ""] = None
        self.sums.update(series=series, images=images or 0, size_bytes=size_bytes or 0)


class OfferedDataSets:
    """The data sets of what `view` shows. They are read again when the Series have changed."""

    def __init__(self, view: CatalogueView) -> None:
        self._view = view
        self._lock = threading.Lock()
        self._known: tuple[str, tuple[OfferedDataSet, ...]] = ("", ())

    def all(self) -> tuple[OfferedDataSet, ...]:
        """All data sets: the Collections, and then the analysis results, by name. Blocking."""
        with self._lock:
            stamp = "\0".join([self._view.stamp(), *sorted(self._view.hidden)])
            if self._known[0] != stamp:
                self._known = (stamp, _read(self._view))
            return self._known[1]


def _read(view: CatalogueView) -> tuple[OfferedDataSet, ...]:
    where, values = all_of(view.below("kind"))
    sums = f"SELECT t.kind, {_SUMS} FROM alike AS t {where} GROUP BY t.kind"
    rows = view.select(
        f"SELECT k.collection_key, {_COLUMNS}, series, images, bytes FROM ({sums}) AS t {_KINDS}", values
    )
    groups: dict[str, dict[str | None, _Group]] = {}
    for collection_key, address, *rest in rows:
        groups.setdefault(collection_key, {}).setdefault(doi_of_address(address), _Group()).add(rest)
    patients, studies = (_counts(view, table) for table in ("patient", "study"))
    collections = [
        _collection(view, name, (patients.get(key, 0), studies.get(key, 0)), groups.get(key, {}))
        for name in view.collections()
        for key in [name.upper()]
    ]
    results: dict[str, list[tuple[OfferedDataSet, _Group]]] = {}
    for offered in collections:
        for doi, group in groups.get(offered.name.upper(), {}).items():
            if doi is not None and doi != offered.doi and group.is_third_party:
                results.setdefault(doi, []).append((offered, group))
    parts = _parts_by_doi(view) if results else {}
    return (*collections, *(_result(doi, parts.get(doi, (0, 0)), results[doi]) for doi in sorted(results)))


def _counts(view: CatalogueView, table: str) -> dict[str, int]:
    """The number of Patients, or of Studies, by Collection."""
    where, values = view.where()
    return dict(view.select(f"SELECT collection_key, count(*) FROM {table} AS t {where} GROUP BY 1", values))


def _parts_by_doi(view: CatalogueView) -> dict[str, tuple[int, int]]:
    """The numbers of Patients and Studies that Series of third parties have under each DOI."""
    where, values = view.where(("json_extract(t.record, '$.third_party')", ()))
    of_doi = f"SELECT t.number, {_DOI_IN_ADDRESS} AS doi FROM kind AS t {where}"
    counted = view.select(
        f"WITH k AS MATERIALIZED ({of_doi}) SELECT k.doi, {_PARTS} "
        "FROM tally AS t JOIN k ON k.number = t.kind WHERE k.doi <> '' GROUP BY 1",
        values,
    )
    return {doi: (patients, studies) for doi, patients, studies in counted}


def _collection(
    view: CatalogueView, name: str, parts: tuple[int, int], groups: dict[str | None, _Group]
) -> OfferedDataSet:
    about = view.about(name)
    original = {doi: group for doi, group in groups.items() if doi and not group.is_third_party}
    largest = max(original, key=lambda doi: original[doi].sums["series"], default=None)
    added = view.newest(name) or datetime.now(UTC)
    found = OfferedDataSet(
        name=name,
        doi=doi_of_address(about.collection_uri) or largest,
        description=about.description or "",
        citation=about.citation or "",
        licenses=((about.license_name or "", about.license_uri or ""),) if about.license_name else (),
        time=added if added.tzinfo else added.replace(tzinfo=UTC),
        patients=parts[0],
        studies=parts[1],
    )
    return _with_sums(found, groups.values())


def _result(doi: str, parts: tuple[int, int], derived: Sequence[tuple[OfferedDataSet, _Group]]) -> OfferedDataSet:
    sources = [offered for offered, _ in derived]
    found = OfferedDataSet(
        name=doi.partition("/")[2],
        is_result=True,
        doi=doi,
        derived_from=tuple(each.doi for each in sources if each.doi),
        collections=tuple(each.name for each in sources),
        time=max(each.time for each in sources),
        patients=parts[0],
        studies=parts[1],
    )
    return _with_sums(found, [group for _, group in derived])


def _with_sums(one: OfferedDataSet, groups: Iterable[_Group]) -> OfferedDataSet:
    known = list(groups)
    sums = sum((group.sums for group in known), Counter[str]())
    licenses = tuple(dict.fromkeys(each for group in known for each in group.licenses))
    return replace(
        one,
        licenses=licenses or one.licenses,
        modalities=tuple(sorted({modality for group in known for modality in group.modalities})),
        series=sums["series"],
        images=sums["images"],
        size_bytes=sums["size_bytes"],
    )

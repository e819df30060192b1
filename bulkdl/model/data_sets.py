"""What is known of data sets: Collections and analysis results, and their downloads; pure.

Several sources know parts of it: an archive, its index, DataCite, the Collection Manager of TCIA. Their spellings of a
name differ, so names are compared by letters and digits alone, and DOIs without case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from bulkdl.model.licenses import short_license
from bulkdl.model.records import Series

TEST_PREFIX: Final = "10.5072"
"""The prefix of DOIs that DataCite keeps for tests: no data set has one."""


class DataSetKind(StrEnum):
    """A Collection, or an analysis result: Series that were derived from those of Collections."""

    COLLECTION = "collection"
    ANALYSIS_RESULT = "analysis-result"


class DownloadWay(StrEnum):
    """How the files of a download are obtained. All but `bulkdl` are downloaded elsewhere, from the address."""

    BULKDL = "bulkdl"
    CONTROLLED = "controlled-access"
    ASPERA = "aspera"
    SLIDES = "slides"
    FILE = "file"
    PORTAL = "portal"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetDownload:
    """One download of a data set, as its page offers it.

    `size_bytes` is rounded, because people wrote it. `address` is a link; that of an Aspera package is the key to it.
    `requirements` says what must be done before, with the address of a page.
    """

    title: str
    way: DownloadWay = DownloadWay.UNKNOWN
    kinds: tuple[str, ...] = ()
    address: str | None = None
    license: str | None = None
    requirements: str | None = None
    size_bytes: int | None = None
    patients: int | None = None
    series: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry of a download in `ls --json`."""
        values = {**asdict(self), "way": self.way.value, "kinds": list(self.kinds)}
        return {("bytes" if name == "size_bytes" else name): value for name, value in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A Collection or an analysis result. What no source knows is None, or empty.

    `doi` is the one to cite, `dois` are those of its Series. `collections` are those that an analysis result analyses.
    `size_bytes` is exact where an index gives it. `sources` names who knows of it; `in_archive`: the archive has it, so
    that bulkdl can download it.
    """

    name: str
    kind: DataSetKind = DataSetKind.COLLECTION
    in_archive: bool = False
    title: str | None = None
    doi: str | None = None
    dois: tuple[str, ...] = ()
    patients: int | None = None
    series: int | None = None
    instances: int | None = None
    size_bytes: int | None = None
    modalities: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    species: tuple[str, ...] = ()
    cancer_types: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    version: str | None = None
    updated: str | None = None
    page: str | None = None
    description: str | None = None
    downloads: tuple[DataSetDownload, ...] = ()
    sources: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The entry of `ls --json`: `bytes` are those of the archive, `available` whether it has the data set."""
        values = asdict(self)
        downloads = [each.as_json() for each in self.downloads]
        found = {name: values[name] for name in ("name", "title", "doi", "patients", "series", "instances")}
        found |= {"bytes": self.size_bytes, "available": self.in_archive}
        found |= {name: list(values[name]) for name in _LISTS}
        found |= {name: values[name] for name in ("version", "updated", "page", "description")}
        return {**found, "downloads": downloads}

    def matches(self, text: str) -> bool:
        """Whether each word of a text is somewhere in what is known of it, in any case."""
        known = " ".join(_words_of(self)).casefold()
        return all(word in known for word in text.casefold().split())


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientTotal:
    """What an archive has of one Patient. `instances` and `size_bytes` are None where it does not say."""

    patient_id: str
    collection: str
    studies: int
    series: int
    instances: int | None
    size_bytes: int | None
    modalities: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The entry of a Patient in `ls --json`."""
        return {
            "patient": self.patient_id,
            "collection": self.collection,
            "studies": self.studies,
            "series": self.series,
            "instances": self.instances,
            "bytes": self.size_bytes,
            "modalities": list(self.modalities),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedStudy:
    """A Study with its Series, in the order of their numbers."""

    study_uid: str
    patient_id: str
    collection: str
    date: str | None
    description: str | None
    series: tuple[Series, ...]

    def as_json(self) -> dict[str, Any]:
        """The entry of a Study in `ls --json`, with its Series."""
        return {
            "study": self.study_uid,
            "patient": self.patient_id,
            "collection": self.collection,
            "date": self.date,
            "description": self.description,
            "series": [series_as_json(each) for each in self.series],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What one source contributed: how many `data_sets`, and when it said so.

    `is_current`: it was asked now, or lately. `error` is why not; `time` is None where nothing is known of it then.
    """

    source: str
    address: str
    time: datetime | None
    is_current: bool
    data_sets: int = 0
    release: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry of a source in `ls --json`."""
        return {
            "source": self.source,
            "address": self.address,
            "time": self.time.isoformat() if self.time is not None else None,
            "current": self.is_current,
            "data_sets": self.data_sets,
            "release": self.release,
            "error": self.error,
        }


_LISTS: Final = ("dois", "modalities", "licenses", "species", "cancer_types", "locations", "collections", "sources")
_NAMES: Final = frozenset({"name", "kind", "in_archive", "sources"})


def series_as_json(series: Series) -> dict[str, Any]:
    """The entry of a Series in `ls --json`."""
    return {
        "series": series.series_uid,
        "number": series.series_number,
        "modality": series.modality,
        "body_part": series.body_part,
        "description": series.description,
        "date": series.series_date.isoformat() if series.series_date else None,
        "instances": series.image_count,
        "bytes": series.size_bytes,
        "license": short_license(series.license_name, series.license_uri),
        "collection_uri": series.collection_uri,
    }


def name_key(name: str) -> str:
    """A name by its letters and digits alone, without case: sources differ in all else."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def join(*sources: Iterable[DataSet]) -> tuple[DataSet, ...]:
    """One data set for each name, completed from the sources in their order. Sorted by kind and name.

    Names of one source that differ only in case or in signs are different data sets.
    """
    found: list[DataSet] = []
    places: dict[tuple[DataSetKind, str], int] = {}
    for rows in sources:
        earlier = dict(places)
        for row in rows:
            key = (row.kind, name_key(row.name))
            if key[1] and (place := earlier.pop(key, None)) is not None:
                found[place] = _completed(found[place], row)
            else:
                places.setdefault(key, len(found))
                found.append(row)
    return tuple(sorted(found, key=lambda each: (each.kind != DataSetKind.COLLECTION, each.name.casefold(), each.name)))


def complete(data_sets: Iterable[DataSet], details: Iterable[DataSet]) -> tuple[DataSet, ...]:
    """The data sets with what `details` knows of those of the same DOI, or else of the same name; it adds none."""
    by_doi: dict[str, DataSet] = {}
    by_name: dict[str, DataSet] = {}
    for each in details:
        by_doi.setdefault((each.doi or "").casefold(), each)
        by_name.setdefault(name_key(each.name), each)
    known = {key: each for key, each in by_doi.items() if key}
    named = {key: each for key, each in by_name.items() if key}
    pairs = ((each, known.get((each.doi or "").casefold()) or named.get(name_key(each.name))) for each in data_sets)
    return tuple(each if other is None else _completed(each, other) for each, other in pairs)


def _completed(one: DataSet, other: DataSet) -> DataSet:
    """A data set with what another source knows of it, where it has nothing itself."""
    changes: dict[str, Any] = {"sources": tuple(dict.fromkeys((*one.sources, *other.sources)))}
    for name in (entry.name for entry in fields(DataSet)):
        if name not in _NAMES and getattr(one, name) in (None, ()):
            changes[name] = getattr(other, name)
    return replace(one, **changes)


def find_data_sets(data_sets: Iterable[DataSet], word: str) -> tuple[DataSet, ...]:
    """The one of exactly that name; else those of that name; else those of that DOI; else those with Series of it."""
    known, key, doi = tuple(data_sets), name_key(word), word.casefold()
    return (
        tuple(each for each in known if each.name == word)
        or tuple(each for each in known if key and name_key(each.name) == key)
        or tuple(each for each in known if each.doi and each.doi.casefold() == doi)
        or tuple(each for each in known if doi in map(str.casefold, each.dois))
    )


def sum_of(numbers: Iterable[int | None]) -> int | None:
    """The sum; None where one of the numbers is not known, or there are none."""
    known = tuple(numbers)
    return sum(each for each in known if each is not None) if known and None not in known else None


def _words_of(one: DataSet) -> Iterable[str]:
    yield from filter(None, (one.name, one.title, one.doi, one.description))
    for words in (one.dois, one.modalities, one.licenses, one.species, one.cancer_types, one.locations):
        yield from words
    yield from one.collections

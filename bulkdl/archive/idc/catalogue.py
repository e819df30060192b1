"""The index of IDC as a catalogue: which Series match a selection, which Collections there are, of which release.

Every row of the index is one Series of the current release. Rows of earlier versions are used only for Series that are
requested by UID and that the current release does not have. A Collection has the name that TCIA gives it, which is
`collection_name` beside IDC's `collection_id`; derived Series, which IDC calls analysis results, belong to the
Collection that they analyse. The numbers of instances and bytes are exact (`instanceCount`; `series_size_MB` has all
digits), but for earlier versions, which have no number of instances, and bytes rounded to 10,000.

Everything here blocks: call it in a thread. Sources: the descriptions in the package `idc-index-data` 25.0.5, and its
data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from threading import Lock
from types import MappingProxyType
from typing import Any, Final, Self
from weakref import WeakSet

import duckdb

from bulkdl.archive.base import SeriesQuestion
from bulkdl.archive.idc import index
from bulkdl.archive.idc.index import IndexFiles
from bulkdl.archive.idc.index_descriptions import OF_COLLECTIONS, OF_RESULTS, collection_of, result_of
from bulkdl.archive.idc.index_rows import (
    BYTES,
    COLLECTION,
    EARLIER,
    SERIES,
    IndexedSeries,
    Row,
    earlier_series_of,
    parents_of,
    series_of,
)
from bulkdl.archive.idc.release import Release
from bulkdl.errors import ConfigurationError, SelectionError
from bulkdl.model.descriptions import CollectionDescription, Descriptions
from bulkdl.model.ids import SeriesUid, is_uid
from bulkdl.model.records import References, Series
from bulkdl.model.selection import AnalysisResults, Selection, folder_of
from bulkdl.model.text import folded, one_line, shortened

_MEMORY: Final = "200MB"
_LEAST_MEMORY: Final = "10MB"
_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "threads": 2,
    "memory_limit": _MEMORY,
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_ROWS_AT_ONCE: Final = 2048  # the size of duckdb's own batches
_LONG_LIST: Final = 10_000  # values of a parameter
_NO_VALUES: Final[Mapping[str, Any]] = MappingProxyType({})
_SHOWN_CHARACTERS: Final = 200
_NO_DATES: Final = (
    "the index does not say when its releases were published, so it is not known what is new: "
    f"leave --since out, or use an index with {index.RELEASES}"
)

_VERSION: Final = re.compile(r"\d+(?:\.\d+)*")
_DOI: Final = re.compile(r"10\.\d{4,9}/\S+")

_OPTIONAL_COLUMNS: Final = ("PatientSex", "PatientAge", "SOPClassUID", "TransferSyntaxUID")

# The columns that are compared with the criteria of a selection, by the attributes of `Series`.
_COLUMNS: Final = {
    "patient_id": "lower(PatientID)",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "modality": "lower(Modality)",
    "body_part": "lower(BodyPartExamined)",
    "manufacturer": "lower(Manufacturer)",
    "model": "lower(ManufacturerModelName)",
}
_DIFFERENT: Final = frozenset({"SeriesInstanceUID", "crdc_series_uuid"})
"""Columns with another value in each row."""
_LICENSE: Final = "coalesce(license_short_name, '')"
_IN_COLLECTIONS: Final = (
    "(collection_id IN (SELECT unnest($collections)) OR analysis_result_id IN (SELECT unnest($collections))"
    " OR lower(source_DOI) IN (SELECT unnest($collections)))"
)

# The parts of questions below are constants; what the user gives are parameters.
_LAST_OF_SERIES: Final = """SeriesInstanceUID IN (SELECT unnest($names))
QUALIFY row_number() OVER (PARTITION BY SeriesInstanceUID ORDER BY max_idc_version DESC, crdc_series_uuid) = 1"""
_IN_FOLDERS: Final = """crdc_series_uuid IN (SELECT unnest($names))
QUALIFY row_number() OVER (PARTITION BY crdc_series_uuid ORDER BY max_idc_version DESC, aws_bucket) = 1"""

_TOTALS: Final = f"SELECT {COLLECTION}, count(*), sum(instanceCount)::BIGINT, sum({BYTES})::BIGINT FROM series"

_LICENSED: Final = f"SELECT {COLLECTION}, license_short_name, count(*), sum({BYTES})::BIGINT FROM series"

_IDS: Final = f"SELECT DISTINCT {COLLECTION}, coalesce(analysis_result_id, '') FROM series ORDER BY ALL"
_NAMES: Final = "SELECT collection_id, collection_name FROM collections WHERE collection_name <> ''"
_DESCRIPTIONS: Final = (
    f"SELECT {', '.join(OF_COLLECTIONS)} FROM collections WHERE collection_id IN (SELECT unnest($ids))"
)
_RESULTS: Final = f"""SELECT analysis_result_id, {", ".join(OF_RESULTS)} FROM results
WHERE analysis_result_id IN (SELECT DISTINCT analysis_result_id FROM series
  WHERE collection_id IN (SELECT unnest($ids)) AND analysis_result_id IS NOT NULL) ORDER BY 1"""
_DATES: Final = "SELECT idc_version, TRY_CAST(version_timestamp AS DATE) AS day FROM releases WHERE day IS NOT NULL"


@dataclass(frozen=True, slots=True)
class CollectionTotal:
    """The Series, instances and bytes of one Collection in a selection."""

    collection: str
    series: int
    instances: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class IndexTotals:
    """The sums of a selection by Collection, and the UIDs of its Series.

    `licensed` has Collection, licence, number of Series and bytes, for each pair of Collection and licence.
    """

    collections: tuple[CollectionTotal, ...]
    series_uids: tuple[str, ...]
    licensed: tuple[tuple[str, str | None, int, int], ...] = ()


class IndexCursor:
    """Asks an index in SQL. That its files cannot be read, now or in the middle, is a ConfigurationError."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, files: IndexFiles) -> None:
        self._cursor = cursor
        self._files = files
        self.is_open = True

    def execute(self, question: str, values: Mapping[str, Any] = _NO_VALUES) -> Self:
        """Ask; the rows of the answer are fetched then. Lists among the values stand in `SELECT unnest($name)`."""
        with _index_errors(self._files):
            given = dict(values)
            for name in [name for name, value in given.items() if isinstance(value, list) and len(value) > _LONG_LIST]:
                self._store(name, given.pop(name))
                question = question.replace(f"SELECT unnest(${name})", f"SELECT value FROM given_{name}")
            self._cursor.execute(question, given)
        return self

    def _store(self, name: str, values: Sequence[str]) -> None:
        """Put a long list into a temporary table: as a parameter it takes 800 bytes of memory for each value."""
        self._cursor.execute(f"CREATE OR REPLACE TEMPORARY TABLE given_{name} (value VARCHAR)")
        for at in range(0, len(values), _LONG_LIST):
            some = {"values": values[at : at + _LONG_LIST]}
            self._cursor.execute(f"INSERT INTO given_{name} SELECT unnest($values)", some)

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        with _index_errors(self._files):
            return self._cursor.fetchall()

    def pages(self) -> Iterator[list[Row]]:
        """All rows that are left, page by page: as one list they take three times the memory."""
        while rows := self._page():
            yield rows

    def _page(self) -> list[Row]:
        with _index_errors(self._files):
            return self._cursor.fetchmany(_ROWS_AT_ONCE)

    def columns(self) -> list[str]:
        """The names of the columns of the answer."""
        return [column[0] for column in self._cursor.description or ()]

    def close(self) -> None:
        """Forget the answer, and temporary tables."""
        self.is_open = False
        self._cursor.close()


class IdcCatalogue:
    """One index, opened. It may be used from several threads.

    Raises:
        ConfigurationError: on opening: a file is not an index of IDC.
    """

    def __init__(self, files: IndexFiles) -> None:
        self._database = duckdb.connect(config=_SETTINGS)
        self._files = files
        self._cursors: WeakSet[IndexCursor] = WeakSet()
        self._lock = Lock()  # of the cursors
        try:
            with _index_errors(files):
                self._open("series", files.series, *_OPTIONAL_COLUMNS)
                self._has_earlier = self._open("prior", files.beside(index.PRIOR))
                self._reference_tables = [
                    (name.partition(".")[0], column)
                    for name, column in index.REFERENCES.items()
                    if self._open(name.partition(".")[0], files.beside(name))
                ]
                has_names = self._open("collections", files.beside(index.COLLECTIONS), *OF_COLLECTIONS)
                self._tables = {
                    "collections": has_names,
                    "results": self._open("results", files.beside(index.RESULTS), *OF_RESULTS),
                }
                has_dates = self._open("releases", files.beside(index.RELEASES))
                self._dates: dict[int, date] = dict(self._rows(_DATES)) if has_dates else {}
                self.release = self._release(_version(self._database, files))
                self._names, self._folded = self._known_names(dict(self._rows(_NAMES)) if has_names else {})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._database.close()

    def release_memory(self) -> None:
        """Give back what duckdb keeps for further questions, about 90 MB, unless a question is under way."""
        with self._lock:
            if not any(cursor.is_open for cursor in self._cursors):
                with suppress(duckdb.Error):  # it needs more for itself
                    self._database.execute(f"SET memory_limit = '{_LEAST_MEMORY}'")
                self._database.execute(f"SET memory_limit = '{_MEMORY}'")

    def _open(self, name: str, path: object, *optional: str) -> bool:
        """Open one file as a view; the `optional` columns that it lacks are null."""
        if path is not None:
            table = self._database.read_parquet(str(path))
            missing = [f"NULL AS {column}" for column in optional if column not in table.columns]
            table.project(", ".join(("*", *missing))).create_view(name)
        return path is not None

    def _release(self, version: str) -> Release:
        ((newest,),) = self._rows("SELECT max(series_revised_idc_version) FROM series")
        number = int(version.partition(".")[0]) if version else newest or 0
        return Release(number, version, self._dates.get(number))

    def _known_names(self, given: dict[str, str]) -> tuple[dict[str, str], dict[str, set[str]]]:
        """The name of each collection by its id, and the ids that each name stands for, as `text.folded` writes it."""
        names: dict[str, str] = {}
        ids: dict[str, set[str]] = {}
        for collection, result in self._rows(_IDS):
            names[collection] = name = str(given.get(collection, collection))
            for known, key in ((collection, collection), (name, collection), (result, result)):
                ids.setdefault(folded(known), set()).add(key)
        ids.pop("", None)
        return names, ids

    def _rows(self, question: str, values: Mapping[str, Any] = _NO_VALUES) -> list[Row]:
        return self.cursor().execute(question, values).fetchall()

    # --- answers ------------------------------------------------------------------------------------------------------

    def collections(self) -> tuple[str, ...]:
        """The names of all Collections, sorted."""
        return tuple(sorted(self._names.values(), key=str.casefold))

    def has_doi(self, doi: str) -> bool:
        """Whether Series were published under a DOI, such as `10.7937/k9/tcia.2016.eln8ygle`, in any case."""
        return bool(self._rows("SELECT 1 FROM series WHERE lower(source_DOI) = $doi LIMIT 1", {"doi": doi.lower()}))

    def names_of(self, name: str) -> tuple[str, ...] | None:
        """The names of the Collections that a name stands for, none for a DOI; None if the name is unknown."""
        ids = self._ids_of(name)
        return tuple(self._names[key] for key in ids if key in self._names) if ids else None

    def known(self, series_uids: Sequence[SeriesUid]) -> tuple[SeriesUid, ...]:
        """Those of the UIDs that are Series of the current release."""
        question = "SELECT SeriesInstanceUID FROM series WHERE SeriesInstanceUID IN (SELECT unnest($uids))"
        return tuple(row[0] for row in self._rows(question, {"uids": list(series_uids)}))

    def references(self, series_uids: Sequence[SeriesUid]) -> dict[SeriesUid, References]:
        """The Series that annotations refer to, for those of the UIDs that the tables beside the index have."""
        found: dict[SeriesUid, References] = {}
        for table, column in self._reference_tables:
            question = (
                f"SELECT SeriesInstanceUID, {column} FROM {table} WHERE SeriesInstanceUID IN (SELECT unnest($uids))"
            )
            for uid, referred in self._rows(question, {"uids": list(series_uids)}):
                if is_uid(referred or ""):
                    found[uid] = found.get(uid, References()) | References(frozenset({SeriesUid(referred)}))
        return found

    def search(self, selection: Selection) -> Iterator[IndexedSeries]:
        """The Series of the current release that match, in batches, in the order of the index.

        Raises:
            SelectionError: the selection has criteria that IDC cannot answer.
        """
        condition, values = self._condition(selection)
        objects = _objects_by_folder(selection.locations)
        for rows in self.cursor().execute(SERIES + condition, values).pages():
            valid = [row for row in rows if row[0]]
            series = tuple(_narrowed(series_of(row, self._names, self._dates), objects) for row in valid)
            parents = parents_of(zip(series, (row[21:] for row in valid), strict=True))
            yield IndexedSeries(series, len(rows) - len(series), parents)

    def described(self, collection: str) -> Descriptions:
        """What the index says of a Collection, named as `Series` name it, and of the analysis results on it."""
        ids = [key for key, name in self._names.items() if name == collection]
        values = {"ids": ids}
        found = self._rows(_DESCRIPTIONS, values) if self._tables["collections"] else []
        results = self._rows(_RESULTS, values) if self._tables["results"] else []
        return Descriptions(
            collections=tuple(collection_of(collection, row) for row in found[:1]),
            results=tuple(result_of(row, self._names) for row in results),
        )

    def totals(self, selection: Selection) -> IndexTotals:
        """The sums of what `search` finds.

        Raises:
            SelectionError: as `search`.
        """
        condition, values = self._condition(selection)
        sums = self._rows(f"{_TOTALS}{condition} GROUP BY 1", values)
        found = self.cursor().execute(f"SELECT SeriesInstanceUID FROM series{condition}", values)
        uids = tuple(row[0] for rows in found.pages() for row in rows)
        collections = tuple(CollectionTotal(self._names[key], *(number or 0 for number in rest)) for key, *rest in sums)
        licences = self._rows(f"{_LICENSED}{condition} GROUP BY ALL ORDER BY ALL", values)
        licensed = tuple((self._names[key], name, series, size or 0) for key, name, series, size in licences)
        return IndexTotals(collections, uids, licensed)

    def sums(self, columns: str, selection: Selection, *, by: str) -> list[Row]:
        """Columns in SQL of the current Series that match, one row for each group of `by`, in its order.

        Raises:
            SelectionError: as `search`.
        """
        condition, values = self._condition(selection)
        return self._rows(f"SELECT {columns} FROM series{condition} GROUP BY {by} ORDER BY {by}", values)

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of the descriptions of `collections` or of analysis `results`; none where the index has none."""
        if not self._tables[name]:
            return []
        found = self.cursor().execute(f"SELECT * FROM {name}")
        columns = found.columns()
        return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]

    def name_of(self, collection_id: str) -> str:
        """The name of a Collection."""
        return self._names.get(collection_id, collection_id)

    def date_of(self, release: int | None) -> date | None:
        """The date of a release, None where it is not known."""
        return self._dates.get(release) if release is not None else None

    def cursor(self) -> IndexCursor:
        """Asks further questions, of the views `series` and, where the index has them, `collections`."""
        with self._lock:
            cursor = IndexCursor(self._database.cursor(), self._files)
            self._cursors.add(cursor)
            return cursor

    def collection_descriptions(self) -> tuple[CollectionDescription, ...]:
        """What the index says of its Collections, named as `Series` name them."""
        if not self._tables["collections"]:
            return ()
        found = self._rows(f"SELECT collection_id, {', '.join(OF_COLLECTIONS)} FROM collections")
        return tuple(collection_of(self._names[key], row) for key, *row in found if key in self._names)

    def missing(self, selection: Selection) -> list[SeriesQuestion]:
        """The values of the selection that no Series of the current release has, whatever else is requested."""
        questions = [SeriesQuestion({"collection": name}) for name in selection.collections if not self._ids_of(name)]
        for attribute, values in selection.named().items():
            if (column := _COLUMNS.get(attribute)) is not None:
                is_series = attribute == "series_uid"
                questions += [
                    SeriesQuestion({attribute: value}, SeriesUid(value) if is_series else None)
                    for value in self._absent(column, values)
                ]
        folders = {folder_of(location): location for location in selection.locations}
        absent = self._absent("crdc_series_uuid", list(folders)) if folders else []
        return questions + [SeriesQuestion({"folder": folders[folder]}) for folder in absent]

    def _absent(self, column: str, wanted: Sequence[str]) -> list[str]:
        """Those of the values that no row has in a column."""
        lowered = _lowered(wanted)
        absent = set(lowered)
        distinct = "" if column in _DIFFERENT else "DISTINCT "
        question = f"SELECT {distinct}{column} FROM series WHERE {column} IN (SELECT unnest($values))"
        for rows in self.cursor().execute(question, {"values": lowered}).pages():
            absent.difference_update(row[0] for row in rows)
        return [value for value, each in zip(wanted, lowered, strict=True) if each in absent]

    def earlier(self, selection: Selection, missing: Sequence[SeriesQuestion]) -> IndexedSeries:
        """What earlier releases have for the questions of `missing`: the `remark` of each Series says until which one.

        The last version of a Series, or the one in a folder. Only those that match the other criteria of the selection,
        as far as this version has values for them.
        """
        uids = [question.series_uid for question in missing if question.series_uid is not None]
        folders = [folder_of(question.criteria["folder"]) for question in missing if "folder" in question.criteria]
        rows: list[Row] = []
        for condition, names in ((_LAST_OF_SERIES, uids), (_IN_FOLDERS, folders)):
            if names and self._has_earlier:
                rows += self._rows(EARLIER + condition, {"names": names})
        ids = {key for name in selection.collections for key in self._ids_of(name)}
        others = replace(selection, series=(), collections=())
        objects = _objects_by_folder(selection.locations)
        found = (earlier_series_of(row, self._names) for row in rows if row[0] and (not ids or row[4] in ids))
        chosen = tuple(_narrowed(series, objects) for series in found if others.matches(series))
        return IndexedSeries(chosen, sum(not row[0] for row in rows))

    # --- conditions ---------------------------------------------------------------------------------------------------

    def _condition(self, selection: Selection) -> tuple[str, dict[str, Any]]:
        """The condition of a selection in SQL, and the values of its parameters.

        Raises:
            SelectionError: it has shared lists.
        """
        if selection.shared_lists:
            raise SelectionError("IDC has no shared lists: name an archive that has, such as --archive nbia-v2")
        conditions: list[str] = ["true"]
        values: dict[str, Any] = {}
        for attribute, wanted in selection.named().items():
            if (column := _COLUMNS.get(attribute)) is not None:
                conditions.append(f"{column} IN (SELECT unnest(${attribute}))")
                values[attribute] = _lowered(wanted)
        if selection.collections:
            conditions.append(_IN_COLLECTIONS)
            values["collections"] = [key for name in selection.collections for key in self._ids_of(name)]
        if selection.locations:
            conditions.append("crdc_series_uuid IN (SELECT unnest($folders))")
            values["folders"] = [folder_of(location) for location in selection.locations]
        if selection.licenses or selection.denied_licenses:
            conditions.append(f"{_LICENSE} IN (SELECT unnest($licenses))")
            values["licenses"] = self._licenses(selection)
        if selection.analysis_results in {AnalysisResults.EXCLUDE, AnalysisResults.ONLY}:
            is_only = selection.analysis_results is AnalysisResults.ONLY
            conditions.append(f"analysis_result_id IS {'NOT ' if is_only else ''}NULL")
        if (since := selection.since) is not None:
            if not self._dates:
                raise SelectionError(_NO_DATES)
            conditions.append("series_revised_idc_version IN (SELECT unnest($releases))")
            values["releases"] = [number for number, day in self._dates.items() if day >= since]
        return f" WHERE {' AND '.join(conditions)}", values

    def _ids_of(self, name: str) -> tuple[str, ...]:
        """The ids of collections or analysis results, or the DOI, that a name stands for; empty if it is unknown."""
        if (doi := _DOI.search(name.lower())) is not None:
            return (doi[0],) if self.has_doi(doi[0]) else ()
        return tuple(self._folded.get(folded(name), ()))

    def _licenses(self, selection: Selection) -> list[str]:
        asked = Selection(licenses=selection.licenses, denied_licenses=selection.denied_licenses)
        names = [row[0] for row in self._rows(f"SELECT DISTINCT {_LICENSE} FROM series")]
        return [name for name in names if asked.matches(Series(series_uid=SeriesUid("1"), license_name=name))]


def _lowered(values: Iterable[str]) -> list[str]:
    """The values in lower case; of those that are, no copy."""
    return [value if (lowered := value.lower()) == value else lowered for value in values]


def _objects_by_folder(locations: Sequence[str]) -> dict[str, list[str]]:
    """The objects that are requested of a folder; none for one that is requested whole."""
    objects: dict[str, list[str]] = {}
    whole = {folder_of(location) for location in locations if location.count("/") == 1}
    for location in locations:
        _, folder, *name = location.split("/", 2)
        if folder not in whole:
            objects.setdefault(folder, []).extend(name)
    return objects


def _narrowed(series: Series, objects: Mapping[str, list[str]]) -> Series:
    """The Series with only those objects of its folder that are requested."""
    location = series.location or ""
    if not (names := objects.get(folder_of(location))):
        return series
    return replace(series, location=f"{location}/{','.join(names)}", image_count=len(names), size_bytes=None)


def version_of(files: IndexFiles) -> tuple[int, ...]:
    """The version of an index as numbers, to find the later of two; empty if it does not say.

    Raises:
        ConfigurationError: the file is not a Parquet file.
    """
    with duckdb.connect(config=_SETTINGS) as database, _index_errors(files):
        return tuple(int(part) for part in _version(database, files).split(".") if part)


def _version(database: duckdb.DuckDBPyConnection, files: IndexFiles) -> str:
    question = "SELECT decode(value) FROM parquet_kv_metadata($path) WHERE decode(key) = 'idc_index_data_version'"
    row = database.execute(question, {"path": str(files.series)}).fetchone()
    found = _VERSION.match(row[0]) if row is not None else None
    return found[0] if found is not None else ""


@contextmanager
def _index_errors(files: IndexFiles) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        reason = shortened(one_line(str(error)), _SHOWN_CHARACTERS)
        raise ConfigurationError(f"{files.series} cannot be read as an index of IDC: {reason}") from error

"""Sums over the index of IDC: its Collections, its analysis results, and the Patients of a selection.

The descriptions come from `collections_index.parquet` and `analysis_results_index.parquet` where these lie beside the
index; their columns are those of the package `idc-index-data` 25.0.5, of which any may be missing. Blocking.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from bulkdl.archive.idc.catalogue import IdcCatalogue
from bulkdl.archive.idc.index_rows import BYTES
from bulkdl.model.data_sets import DataSet, DataSetKind, PatientTotal
from bulkdl.model.selection import Selection

SOURCE: Final = "idc"

_Details: TypeAlias = Mapping[str, Any]

_DESCRIPTION_CHARACTERS: Final = 1_500
_COLLECTION: Final = "coalesce(collection_id, '')"
_RESULT: Final = "coalesce(analysis_result_id, '')"
_PATIENT: Final = "coalesce(PatientID, '')"
_GROUP: Final = f"{_COLLECTION}, {_RESULT}, Modality, license_short_name, lower(source_DOI)"
_NUMBERS: Final = f"count(*), sum(instanceCount)::BIGINT, sum({BYTES})::BIGINT"


@dataclass(slots=True)
class _Sums:
    """The sums of one data set, and the values that its Series have."""

    numbers: Counter[str] = field(default_factory=Counter)
    values: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, numbers: Iterable[int | None], **values: str | None) -> None:
        known = (number or 0 for number in numbers)
        self.numbers.update(dict(zip(("series", "instances", "size_bytes"), known, strict=True)))
        for name, value in values.items():
            if value:
                self.values[name].add(value)


def data_sets_of(catalogue: IdcCatalogue) -> tuple[DataSet, ...]:
    """All Collections of the index, and its analysis results, with their sums."""
    everything = Selection()
    collections, results = defaultdict[str, _Sums](_Sums), defaultdict[str, _Sums](_Sums)
    # A row for each group of values, added up here: three quick questions instead of two slow ones.
    for collection, result, modality, license_name, doi, *numbers in catalogue.sums(
        f"{_GROUP}, {_NUMBERS}", everything, by=_GROUP
    ):
        values = {"modalities": modality, "licenses": license_name, "dois": doi}
        collections[collection].add(numbers, **values)
        results[result].add(numbers, **values, collections=catalogue.name_of(collection))
    results.pop("", None)
    for found, by in ((collections, _COLLECTION), (results, _RESULT)):
        for key, patients in catalogue.sums(f"{by}, count(DISTINCT PatientID)", everything, by=by):
            if key in found:
                found[key].numbers["patients"] = patients
    about = {each.get("collection_id"): each for each in catalogue.table("collections")}
    about_results = {each.get("analysis_result_id"): each for each in catalogue.table("results")}
    return (
        *(
            _data_set(catalogue.name_of(key), DataSetKind.COLLECTION, sums, about.get(key, {}))
            for key, sums in collections.items()
        ),
        *(
            _data_set(key, DataSetKind.ANALYSIS_RESULT, sums, about_results.get(key, {}))
            for key, sums in results.items()
        ),
    )


def patients_of(catalogue: IdcCatalogue, selection: Selection) -> list[PatientTotal]:
    """The Patients of a selection, by Collection and Patient ID."""
    by = f"{_COLLECTION}, {_PATIENT}"
    columns = f"{by}, list(DISTINCT Modality), count(DISTINCT StudyInstanceUID), {_NUMBERS}"
    return [
        PatientTotal(
            patient_id=patient,
            collection=catalogue.name_of(collection),
            modalities=_sorted(modalities),
            studies=studies,
            series=series,
            instances=instances,
            size_bytes=size,
        )
        for collection, patient, modalities, studies, series, instances, size in catalogue.sums(
            columns, selection, by=by
        )
    ]


def _data_set(name: str, kind: DataSetKind, sums: _Sums, details: _Details) -> DataSet:
    doi = _doi(details, sums.values["dois"])
    return DataSet(
        name=name,
        kind=kind,
        in_archive=True,
        title=_text(details, "analysis_result_title") or _title(details, doi),
        doi=doi,
        patients=sums.numbers["patients"],
        series=sums.numbers["series"],
        instances=sums.numbers["instances"],
        size_bytes=sums.numbers["size_bytes"],
        dois=_sorted(sums.values["dois"]),
        modalities=_sorted(sums.values["modalities"]),
        licenses=_sorted(sums.values["licenses"]),
        collections=_sorted(sums.values["collections"]),
        species=_several(details, "species"),
        cancer_types=_several(details, "cancer_types"),
        locations=_several(details, "tumor_locations"),
        updated=_text(details, "updated"),
        description=(_text(details, "description") or "")[:_DESCRIPTION_CHARACTERS] or None,
        sources=(SOURCE,),
    )


def _sorted(values: Any) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}, key=str.casefold))


def _text(details: _Details, name: str) -> str | None:
    value = details.get(name)
    return " ".join(value.split()) or None if isinstance(value, str) else None


def _several(details: _Details, name: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in (_text(details, name) or "").split(","))))


def _sources(details: _Details) -> list[_Details]:
    found = details.get("sources")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _doi(details: _Details, dois: Iterable[str]) -> str | None:
    """The DOI of the data set itself: that of its original data; else the only one of its Series."""
    given = _text(details, "source_DOI")
    original = [_text(each, "source_doi") for each in _sources(details) if each.get("source_type") == "original_data"]
    known = [doi for doi in (given, *original) if doi]
    if not known and len(only := list(dois)) == 1:
        known = only
    return known[0].lower() if known else None


def _title(details: _Details, doi: str | None) -> str | None:
    titles = (_text(each, "source_title") for each in _sources(details) if _text(each, "source_doi") == doi)
    return next(filter(None, titles), None)

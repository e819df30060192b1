"""Series as an archive describes them, added up by Collection, by Patient and by Study; pure.

A Series may come more than once, and counts once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from bulkdl.model.data_sets import DataSet, ListedStudy, PatientTotal, sum_of
from bulkdl.model.dois import doi_of_address
from bulkdl.model.licenses import short_license
from bulkdl.model.records import Series


def collections_from(series: Iterable[Series], source: str) -> list[DataSet]:
    """The Collections of some Series, with their sums."""
    return [_collection(name, members, source) for name, members in _groups(series, "collection")]


def _collection(name: str, members: Sequence[Series], source: str) -> DataSet:
    original = [each for each in members if not each.third_party] or members
    own = tuple(dict.fromkeys(filter(None, (doi_of_address(each.collection_uri) for each in original))))
    return DataSet(
        name=name,
        in_archive=True,
        doi=own[0] if len(own) == 1 else None,
        dois=_sorted(doi_of_address(each.collection_uri) for each in members),
        patients=len({each.patient_id for each in members}),
        series=len(members),
        instances=sum_of(each.image_count for each in members),
        size_bytes=sum_of(each.size_bytes for each in members),
        modalities=_sorted(each.modality for each in members),
        licenses=_sorted(short_license(each.license_name, each.license_uri) for each in members),
        sources=(source,),
    )


def patients_from(series: Iterable[Series]) -> list[PatientTotal]:
    """The Patients of some Series, by Collection and Patient ID."""
    return [
        PatientTotal(
            patient_id=patient,
            collection=collection,
            studies=len({each.study_uid for each in members}),
            series=len(members),
            instances=sum_of(each.image_count for each in members),
            size_bytes=sum_of(each.size_bytes for each in members),
            modalities=_sorted(each.modality for each in members),
        )
        for (collection, patient), members in _groups(series, "collection", "patient_id")
    ]


def studies_from(series: Iterable[Series]) -> list[ListedStudy]:
    """The Studies of some Series: by Collection, Patient, date and UID."""
    found = [
        ListedStudy(
            study_uid=study,
            patient_id=patient,
            collection=collection,
            date=next((each.study_date.isoformat() for each in members if each.study_date), None),
            description=next((each.study_description for each in members if each.study_description), None),
            series=tuple(sorted(members, key=lambda each: (each.series_number or 0, each.series_uid))),
        )
        for (collection, patient, study), members in _groups(series, "collection", "patient_id", "study_uid")
    ]
    return sorted(found, key=lambda each: (each.collection, each.patient_id, each.date or "", each.study_uid))


def _groups(series: Iterable[Series], *names: str) -> list[tuple[Any, list[Series]]]:
    """The Series by the values of one or several fields, sorted."""
    groups: defaultdict[Any, dict[str, Series]] = defaultdict(dict)
    for each in series:
        values = tuple(getattr(each, name) or "" for name in names)
        groups[values if len(names) > 1 else values[0]].setdefault(each.series_uid, each)
    return [(key, list(members.values())) for key, members in sorted(groups.items())]


def _sorted(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}, key=str.casefold))

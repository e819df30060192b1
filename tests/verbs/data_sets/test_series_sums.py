"""Series are added up by collection, patient and study; one that comes twice counts once."""

from __future__ import annotations

from datetime import date
from typing import Any

from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series
from bulkdl.verbs.data_sets.series_sums import collections_from, patients_from, studies_from


def series(number: int, **values: Any) -> Series:
    return Series(
        series_uid=SeriesUid(f"1.{number}"),
        **{
            "study_uid": StudyUid("1.9"),
            "collection": "LUNG",
            "patient_id": "P1",
            "modality": "CT",
            "image_count": 2,
            "size_bytes": 10,
            "collection_uri": "https://doi.org/10.7937/LUNG",
            **values,
        },
    )


KNOWN = [
    series(2, series_number=2),
    series(1, series_number=1, study_date=date(2020, 1, 2), study_description="CHEST"),
    series(1),
    series(3, patient_id="P2", study_uid=StudyUid("1.8"), modality="SEG", third_party=True),
    series(4, collection="BRAIN", size_bytes=None, collection_uri="https://example.org/"),
]


def test_collections_have_the_doi_of_their_original_series() -> None:
    derived = series(5, third_party=True, collection_uri="https://doi.org/10.7937/MASKS", modality="SEG")
    brain, lung = collections_from([*KNOWN, derived], "nbia")
    assert (lung.doi, lung.dois) == ("10.7937/lung", ("10.7937/lung", "10.7937/masks"))
    assert (lung.patients, lung.series, lung.instances, lung.size_bytes) == (2, 4, 8, 40)
    assert (lung.modalities, lung.sources) == (("CT", "SEG"), ("nbia",))
    assert (brain.doi, brain.size_bytes, brain.instances) == (None, None, 2)


def test_patients_are_listed_by_collection() -> None:
    found = patients_from(KNOWN)
    assert [(each.collection, each.patient_id, each.series, each.studies) for each in found] == [
        ("BRAIN", "P1", 1, 1),
        ("LUNG", "P1", 2, 1),
        ("LUNG", "P2", 1, 1),
    ]


def test_studies_have_their_series_in_the_order_of_their_numbers() -> None:
    found = studies_from(each for each in KNOWN if each.collection == "LUNG")
    first, second = found
    assert [each.series_uid for each in first.series] == ["1.1", "1.2"]
    assert (first.date, first.description, second.patient_id) == ("2020-01-02", "CHEST", "P2")

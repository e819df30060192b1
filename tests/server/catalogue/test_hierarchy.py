"""Searches by level. `server/dicomweb/test_routes.py` has the criteria, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bulkdl.server.catalogue import Catalogue, CatalogueView, Root
from bulkdl.server.catalogue.hierarchy import Criterion, HierarchySearch, Like, OneOf
from tests.support.dicom_files import MadeUp, instances, write_folder


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """One Study whose two Series are in two Collections, and a second one."""
    one, two, *others = instances(series=4, per_series=1)
    for made, collection in ((one, "A"), (two, "B"), *((other, "B") for other in others)):
        moved = MadeUp(collection, made.patient_id, made.study_uid, made.series_uid, made.sop_uid, made.content)
        write_folder(tmp_path / "served", iter([moved]))
    with Catalogue.open(tmp_path / "catalog.sqlite") as opened:
        opened.scan([Root(tmp_path / "served")])
        yield opened


def found(view: CatalogueView, *criteria: tuple[str, Criterion], **part: int) -> list[tuple[str, str, int, int | None]]:
    return [
        (each.study.collection, each.study.patient_id, each.series_count, each.instance_count)
        for each in HierarchySearch(view, criteria).studies(**part)
    ]


def test_a_study_of_two_collections_is_found_once(catalogue: Catalogue) -> None:
    both = [("PATIENT-00000000", 2, 2), ("PATIENT-00000001", 2, 2)]
    assert sorted(each[1:] for each in found(catalogue)) == both
    for collection in ("A", "B"):
        (one,) = found(catalogue, ("series_uid", OneOf((_series_of(catalogue, collection, 0),))))
        assert one[1:] == both[0]
    assert len(found(catalogue, limit=1)) == len(found(catalogue, skip=1)) == 1


def _series_of(catalogue: Catalogue, collection: str, number: int) -> str:
    of_patient = catalogue.series(collection=collection, patient_id=f"PATIENT-{number:08}")
    return next(of_patient).series_uid


def test_nothing_of_a_hidden_collection_is_found_or_counted(catalogue: Catalogue) -> None:
    hidden = _series_of(catalogue, "A", 0)
    view = catalogue.without(frozenset({"A"}))
    assert sorted(found(view)) == [("B", "PATIENT-00000000", 1, 1), ("B", "PATIENT-00000001", 2, 2)]
    assert found(view, ("series_uid", OneOf((hidden,)))) == []
    for skip in (0, 1):
        search = HierarchySearch(view, [("modality", Like(("c*",)))])
        assert len(list(search.series(skip=skip))) == len(list(search.instances(skip=skip))) == 3 - skip
        assert hidden not in {each.series_uid for each in search.instances(skip=skip)}


def test_a_page_is_read_by_an_index_and_not_with_all_rows(catalogue: Catalogue) -> None:
    asked: list[tuple[str, Sequence[Any]]] = []

    def select(query: str, values: Sequence[Any]) -> list[Any]:
        asked.append((query, values))
        return catalogue.select(query, values)

    view = CatalogueView(select, catalogue.md5)
    for criteria in ((), (("modality", Like(("CT",))),), (("patient_name", Like(("*1",))),)):
        search = HierarchySearch(view, criteria)
        for results in (search.studies(limit=1), search.series(limit=1), search.instances(limit=1)):
            next(results, None)
    paged = [(query, values) for query, values in asked if "ORDER BY t.study_uid" in query or " LIMIT " in query]
    assert len(paged) == 9
    for query, values in paged:
        plan = [row[3] for row in catalogue.select(f"EXPLAIN QUERY PLAN {query}", values)]
        assert not any("TEMP B-TREE" in step for step in plan), plan
        assert query.endswith("LIMIT 1")

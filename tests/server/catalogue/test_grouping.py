"""The Series of a view in groups: together they are what the view says of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bulkdl.archive.idc.catalogue import IdcCatalogue
from bulkdl.archive.idc.index import index_at
from bulkdl.archive.idc.whole_index import WholeIndex
from bulkdl.model.grouped_series import GroupedRow, iso
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series
from bulkdl.server.catalogue import Catalogue, CatalogueView, GroupedView, Root, SeriesDetail
from bulkdl.server.catalogue.holdings import Holdings
from tests.archive.idc.test_whole_index import ROWS
from tests.support.dicom_files import instances, write_folder
from tests.support.idc_index import write_index


def details(view: CatalogueView) -> dict[str, SeriesDetail]:
    return {detail.series.series_uid: detail for detail in view.details()}


def check(view: CatalogueView) -> list[GroupedRow]:
    """Compare the groups of a view with its details, and return the rows."""
    groups = GroupedView(view, lambda uid: f"bucket/{uid}")
    kinds, studies = list(groups.kinds()), list(groups.studies())
    rows = [GroupedRow(*row) for batch in groups.rows() for row in batch]
    expected = details(view)
    assert sorted(row.series_uid for row in rows) == sorted(expected)
    assert [row.study for row in rows] == sorted(row.study for row in rows)
    for row in rows:
        detail, kind, (patient, study) = expected[row.series_uid], kinds[row.kind], studies[row.study]
        series, own = detail.series, (patient.patient_id, iso(study.study_date), study.description)
        assert (patient, study.study_uid or None) == (detail.patient, series.study_uid)
        assert detail.study is None or replace(study, series_count=detail.study.series_count) == detail.study
        assert (row.differing or own) == (series.patient_id, iso(series.study_date), series.study_description)
        assert (kind.shared.collection, kind.shared.license_name) == (series.collection, series.license_name)
        assert (kind.sop_class_uid, kind.transfer_syntax_uid) == (detail.sop_class_uid, detail.transfer_syntax_uid)
        assert (row.description, row.image_count, row.size_bytes, row.series_number, row.series_date) == (
            *(series.description, series.image_count, series.size_bytes, series.series_number),
            iso(series.series_date),
        )
        assert row.location == f"bucket/{row.series_uid}"
    return rows


def test_the_groups_of_an_archive_have_what_its_series_have(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index", ROWS)
    with IdcCatalogue(index_at(index)) as archive, Catalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        with Holdings(catalogue, tmp_path).loading({}) as arrangement:
            arrangement.add_grouped(WholeIndex(archive))
        rows = check(catalogue)
    assert any(row.differing for row in rows)


def test_series_that_name_no_study_come_last(tmp_path: Path) -> None:
    records = [
        Series(series_uid=SeriesUid(f"1.{number}"), study_uid=study, collection="LUNG", patient_id="p")
        for number, study in ((1, None), (2, StudyUid("2.1")), (3, None))
    ]
    with Catalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        with Holdings(catalogue, tmp_path).loading({}) as arrangement:
            arrangement.add_records(records)
        assert [row.series_uid for row in check(catalogue)] == ["1.2", "1.1", "1.3"]


def test_the_groups_of_a_folder_have_what_is_visible(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    made = write_folder(folder, instances(series=3, per_series=1, collection="LUNG"))
    write_folder(folder, instances(series=2, per_series=1, collection="SECRET"))
    with Catalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        catalogue.scan([Root(folder)])
        assert len(check(catalogue)) == 5
        assert {row.series_uid for row in check(catalogue.without(frozenset({"SECRET"})))} == {
            one.series_uid for one in made
        }

"""The whole index in groups: what a server has of it is what `search` finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bulkdl.archive.idc.catalogue import IdcCatalogue
from bulkdl.archive.idc.index import index_at
from bulkdl.archive.idc.whole_index import WholeIndex
from bulkdl.model.selection import Selection
from bulkdl.server.catalogue import Catalogue, SeriesDetail
from bulkdl.server.catalogue.holdings import Holdings
from tests.support.idc_index import Row, series_row, write_index

PERSON = {"PatientSex": "F", "PatientAge": "042Y"}
ROWS = [
    series_row(1, PatientSex="F", PatientAge="042Y", StudyDate="2001-02-03", StudyDescription="CHEST"),
    series_row(
        2, PatientSex="F", PatientAge="042Y", StudyDate="2001-02-03", StudyDescription="CHEST", SeriesNumber="7"
    ),
    series_row(3, PatientSex="F", PatientAge="042Y", StudyDate="2001-02-04", StudyDescription="other", Modality="SEG"),
    series_row(4, StudyInstanceUID="1.2.4", StudyDescription=None, source_DOI=None, license_short_name=None),
    series_row(5, StudyInstanceUID="1.2.5", PatientID="p1", analysis_result_id="result", SeriesDate="1999-12-31"),
    series_row(6, StudyInstanceUID="1.2.6", PatientID=None, Manufacturer="GE", ManufacturerModelName="X"),
    series_row(7, StudyInstanceUID="1.2.6", collection_id="lung_two", series_revised_idc_version=2),
]


def details(index: Path, folder: Path, *, is_grouped: bool) -> list[SeriesDetail]:
    with IdcCatalogue(index_at(index)) as catalogue, Catalogue.open(folder / f"{is_grouped}.sqlite") as served:
        with Holdings(served, folder).loading({}) as arrangement:
            if is_grouped:
                arrangement.add_grouped(WholeIndex(catalogue))
            else:
                for batch in catalogue.search(Selection(everything=True)):
                    arrangement.add_records(batch.series, batch.descriptions)
        return sorted(served.details(), key=lambda detail: detail.series.series_uid)


def test_the_groups_have_what_single_series_have(tmp_path: Path) -> None:
    dates = {1: "2020-06-01", 2: "2021-06-01"}
    index = write_index(tmp_path / "index", ROWS, names={"lung_one": "LUNG-One"}, dates=dates)
    found = details(index, tmp_path, is_grouped=True)
    assert [detail.series.series_uid for detail in found] == [row["SeriesInstanceUID"] for row in ROWS]
    assert found == details(index, tmp_path, is_grouped=False)


def test_has_the_classes_and_syntaxes_of_the_index(tmp_path: Path) -> None:
    rows: list[Row] = [
        series_row(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", TransferSyntaxUID="1.2.840.10008.1.2.1"),
        series_row(2, TransferSyntaxUID="1.2.840.10008.1.2.1,1.2.840.10008.1.2.4.50"),
    ]
    one, other = details(write_index(tmp_path / "index", rows), tmp_path, is_grouped=True)
    assert (one.sop_class_uid, one.transfer_syntax_uid) == ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
    assert (other.sop_class_uid, other.transfer_syntax_uid) == (None, rows[1]["TransferSyntaxUID"])
    assert replace(one, sop_class_uid=None, transfer_syntax_uid=None).series.modality == other.series.modality


def test_rows_that_name_no_series_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [series_row(1), series_row(2, StudyInstanceUID="x"), series_row(3, crdc_series_uuid=None)]
    index = write_index(tmp_path / "index", rows)
    with IdcCatalogue(index_at(index)) as catalogue:
        whole = WholeIndex(catalogue)
        assert (whole.invalid_rows(), [row[0] for batch in whole.rows() for row in batch]) == (2, ["1.2.3.1"])
        whole.close()

"""The index in sums: each Collection and analysis result once, with the totals of its Series."""

from __future__ import annotations

from pathlib import Path

from bulkdl.archive.idc.catalogue import IdcCatalogue
from bulkdl.archive.idc.index import index_at, installed_index
from bulkdl.archive.idc.overview import data_sets_of, patients_of
from bulkdl.model.data_sets import DataSetKind
from bulkdl.model.selection import Selection
from tests.support.idc_index import series_row, write_index


def test_collections_and_analysis_results_are_summed_up(tmp_path: Path) -> None:
    rows = [
        series_row(1),
        series_row(2, PatientID="P2", Modality="MR", license_short_name="CC BY-NC 3.0"),
        series_row(3, collection_id="brain_two", source_DOI=None),
        series_row(4, analysis_result_id="seg_all", Modality="SEG", source_DOI="10.5281/ZENODO.1"),
    ]
    folder = write_index(tmp_path, rows, names={"lung_one": "Lung-One"})
    with IdcCatalogue(index_at(folder)) as catalogue:
        brain, lung, seg = data_sets_of(catalogue)
        patients = patients_of(catalogue, Selection(collections=("lung one",)))
    assert (lung.name, lung.series, lung.patients, lung.instances, lung.size_bytes) == (
        "Lung-One",
        3,
        2,
        30,
        15_000_003,
    )
    assert (lung.modalities, lung.licenses) == (("CT", "MR", "SEG"), ("CC BY 4.0", "CC BY-NC 3.0"))
    assert (lung.dois, lung.doi) == (("10.5281/zenodo.1", "10.7937/k9/tcia.2099.one"), None)
    assert (brain.name, brain.doi, brain.in_archive) == ("brain_two", None, True)
    assert (seg.kind, seg.name, seg.series, seg.collections) == (
        DataSetKind.ANALYSIS_RESULT,
        "seg_all",
        1,
        ("Lung-One",),
    )
    assert seg.doi == "10.5281/zenodo.1"
    assert [(each.patient_id, each.series, each.studies) for each in patients] == [("P1", 2, 1), ("P2", 1, 1)]


def test_the_installed_index_has_every_collection_once_with_its_doi_and_exact_totals() -> None:
    files = installed_index()
    assert files is not None
    with IdcCatalogue(files) as catalogue:
        found = data_sets_of(catalogue)
        totals = catalogue.totals(Selection(modalities=("XC",)))
    collections = [each for each in found if each.kind is DataSetKind.COLLECTION]
    assert len(collections) == len({each.name for each in collections}) == 179
    assert all(each.doi for each in found)
    assert sum(each.series or 0 for each in collections) == 1_044_191
    assert sum(each.instances or 0 for each in collections) == 58_784_975
    assert {each.collection for each in totals.collections} <= {each.name for each in collections}
    (nlst,) = (each for each in collections if each.name == "NLST")
    assert (nlst.patients, nlst.series, nlst.doi) == (26_410, 592_600, "10.7937/tcia.hmq8-j677")

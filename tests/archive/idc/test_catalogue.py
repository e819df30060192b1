from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Event
from typing import Any

import duckdb
import pytest

from bulkdl.archive.base import SeriesQuestion
from bulkdl.archive.idc.catalogue import IdcCatalogue, version_of
from bulkdl.archive.idc.index import IndexFiles, index_at, installed_index
from bulkdl.archive.idc.index_rows import IndexedSeries
from bulkdl.archive.idc.release import Release
from bulkdl.archive.idc.whole_index import WholeIndex
from bulkdl.errors import ConfigurationError, SelectionError
from bulkdl.manifest import read_manifest
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.selection import AnalysisResults, Selection
from tests.support.idc_index import prior_row, series_row, uuid, write_index

EVERYTHING = Selection(everything=True)
MANIFESTS = Path(__file__).parents[2] / "data" / "manifests"
DATES = {1: "2020-06-01", 2: "2021-01-01", 3: "2021-09-01"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdcCatalogue]:
    """Six Series of two collections, one of them an analysis result; two earlier versions of a withdrawn one."""
    rows = [
        series_row(1, BodyPartExamined="CHEST", Manufacturer="MAKER", ManufacturerModelName="Model 1"),
        series_row(2, PatientID="P2", StudyInstanceUID="1.2.4", Modality="MR", series_revised_idc_version=3),
        series_row(3, license_short_name="CC BY-NC 3.0", series_revised_idc_version=2),
        series_row(4, analysis_result_id="seg_all", Modality="SEG", source_DOI="10.5281/zenodo.1"),
        series_row(5, collection_id="brain_two", PatientID="p2", license_short_name=None, source_DOI=None),
        series_row(6, collection_id="brain_two", SeriesDate="1999-12-31", SeriesNumber="7", StudyDate="not a date"),
    ]
    folder = write_index(
        tmp_path_factory.mktemp("index"),
        rows,
        prior=[prior_row(9, 1), prior_row(9, 2), prior_row(1, 1)],
        names={"lung_one": "Lung-One", "another": "Another"},
        dates=DATES,
        version="3.0.1-0-gabc",
    )
    with IdcCatalogue(index_at(folder)) as opened:
        yield opened


def found(catalogue: IdcCatalogue, selection: Selection) -> list[int]:
    """The last number of the UID of each Series that matches."""
    series = [series for batch in catalogue.search(selection) for series in batch.series]
    return [int(one.series_uid.rpartition(".")[2]) for one in series]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({"everything": True}, [1, 2, 3, 4, 5, 6]),
        ({"collection": "Lung-One"}, [1, 2, 3, 4]),
        ({"collection": "lung one"}, [1, 2, 3, 4]),
        ({"collection": "LUNG_ONE"}, [1, 2, 3, 4]),
        ({"collection": ["brain-two", "lung-one"]}, [1, 2, 3, 4, 5, 6]),
        ({"collection": "seg-all"}, [4]),
        ({"collection": "10.7937/k9/tcia.2099.one"}, [1, 2, 3, 6]),
        ({"collection": "https://doi.org/10.5281/ZENODO.1"}, [4]),
        ({"collection": "unknown"}, []),
        ({"patient": "P2"}, [2, 5]),
        ({"patient": "P2", "collection": "Lung-One"}, [2]),
        ({"study": "1.2.4"}, [2]),
        ({"series": ["1.2.3.6", "1.2.3.1", "1.2.3.99"]}, [1, 6]),
        ({"modality": ["mr", "SEG"]}, [2, 4]),
        ({"body_part": "chest"}, [1]),
        ({"manufacturer": "Maker"}, [1]),
        ({"model": "MODEL 1"}, [1]),
        ({"everything": True, "license": "CC BY *"}, [1, 2, 4, 6]),
        ({"everything": True, "license": ["cc by-nc*", "CC BY 3*"]}, [3]),
        ({"everything": True, "deny_license": "*NC*"}, [1, 2, 4, 5, 6]),
        ({"everything": True, "license": "CC*", "deny_license": "*NC*"}, [1, 2, 4, 6]),
        ({"everything": True, "analysis_results": "exclude"}, [1, 2, 3, 5, 6]),
        ({"everything": True, "analysis_results": "only"}, [4]),
        ({"everything": True, "analysis_results": "include"}, [1, 2, 3, 4, 5, 6]),
        ({"everything": True, "since": "2021-01-01"}, [2, 3]),
        ({"everything": True, "since": "2021-01-02"}, [2]),
        ({"everything": True, "since": "2030-01-01"}, []),
    ],
)
def test_finds_by_every_criterion(small: IdcCatalogue, criteria: dict[str, Any], expected: list[int]) -> None:
    selection = Selection.from_keywords(criteria)
    assert found(small, selection) == expected
    totals = small.totals(selection)
    assert len(totals.series_uids) == sum(total.series for total in totals.collections) == len(expected)


@pytest.mark.parametrize(
    "question",
    [
        lambda index: list(index.search(EVERYTHING)),
        lambda index: index.totals(EVERYTHING),
        lambda index: index.known([SeriesUid("1.2.3.1")]),
        lambda index: list(WholeIndex(index).rows()),
    ],
    ids=["search", "totals", "known", "whole"],
)
def test_an_index_that_is_damaged_in_the_middle_is_named(
    tmp_path: Path, question: Callable[[IdcCatalogue], object]
) -> None:
    file = write_index(tmp_path, map(series_row, range(500))) / "idc_index.parquet"
    damage(file, "SeriesInstanceUID")
    with (
        IdcCatalogue(index_at(tmp_path)) as opened,
        pytest.raises(ConfigurationError, match="cannot be read as an index of IDC") as raised,
    ):
        question(opened)
    assert str(file) in str(raised.value)


def damage(file: Path, column: str) -> None:
    """Overwrite the values of a column of a Parquet file."""
    question = "SELECT * FROM parquet_metadata(?) WHERE path_in_schema = ?"
    with duckdb.connect() as database:
        (row,) = database.execute(question, (str(file), column)).fetchall()
        at = dict(zip((each[0] for each in database.description), row, strict=True))
    begin = at["dictionary_page_offset"] or at["data_page_offset"]
    content = bytearray(file.read_bytes())
    content[begin : begin + at["total_compressed_size"]] = b"\xff" * at["total_compressed_size"]
    file.write_bytes(content)


@pytest.mark.parametrize("question", [IdcCatalogue.totals, lambda *asked: list(IdcCatalogue.search(*asked))])
def test_without_the_dates_of_releases_what_is_new_is_not_known(
    tmp_path: Path, question: Callable[[IdcCatalogue, Selection], object]
) -> None:
    with (
        IdcCatalogue(index_at(write_index(tmp_path, [series_row(1)]))) as opened,
        pytest.raises(SelectionError, match="when its releases were published"),
    ):
        question(opened, Selection.from_keywords({"everything": True, "since": "2020-01-01"}))


def test_gives_what_the_index_says_of_a_series(small: IdcCatalogue) -> None:
    (batch,) = small.search(Selection(series=(SeriesUid("1.2.3.1"),)))
    assert batch.series == (
        Series(
            series_uid=SeriesUid("1.2.3.1"),
            study_uid=batch.series[0].study_uid,
            patient_id="P1",
            collection="Lung-One",
            modality="CT",
            image_count=10,
            size_bytes=5_000_001,
            body_part="CHEST",
            manufacturer="MAKER",
            model="Model 1",
            released=date(2020, 6, 1),
            license_name="CC BY 4.0",
            license_uri="https://creativecommons.org/licenses/by/4.0/",
            collection_uri="https://doi.org/10.7937/k9/tcia.2099.one",
            third_party=False,
            location=f"idc-open-data/{uuid(1)}",
        ),
    )


def test_leaves_out_values_that_are_not_dates_or_numbers(small: IdcCatalogue) -> None:
    (batch,) = small.search(Selection(series=(SeriesUid("1.2.3.6"),)))
    (series,) = batch.series
    assert (series.series_date, series.series_number, series.study_date) == (date(1999, 12, 31), 7, None)
    assert series.collection == "brain_two"  # of which the index has no other name


def test_names_what_the_release_does_not_have(small: IdcCatalogue) -> None:
    wanted = {"collection": ["lung one", "nope"], "patient": ["p1", "P9"], "modality": ["CT", "XX"]}
    assert small.missing(Selection.from_keywords(wanted)) == [
        SeriesQuestion({"collection": "nope"}),
        SeriesQuestion({"patient_id": "P9"}),
        SeriesQuestion({"modality": "XX"}),
    ]
    named = Selection.from_keywords({"series": ["1.2.3.1", "1.2.3.9"], "modality": "MR"})
    assert small.missing(named) == [SeriesQuestion({"series_uid": "1.2.3.9"}, SeriesUid("1.2.3.9"))]


@pytest.mark.parametrize("beside", [3, 10_001, 20_000])
def test_a_list_of_any_length_finds_the_same(small: IdcCatalogue, beside: int) -> None:
    """A long list is stored in a table first, in parts."""
    absent = [f"9.{number}" for number in range(beside)]
    middle = beside // 2
    uids = ["1.2.3.1", *absent[:middle], "1.2.3.2", *absent[middle:], "1.2.3.9"]
    selection = Selection.from_keywords({"series": uids})
    assert {series.series_uid for batch in small.search(selection) for series in batch.series} == {"1.2.3.1", "1.2.3.2"}
    assert set(small.known(selection.series)) == {"1.2.3.1", "1.2.3.2"}
    missing = small.missing(selection)
    assert [question.series_uid for question in missing] == [*absent, "1.2.3.9"]
    assert [series.series_uid for series in small.earlier(selection, missing).series] == ["1.2.3.9"]


def test_finds_the_last_version_of_a_withdrawn_series(small: IdcCatalogue) -> None:
    uid = SeriesUid("1.2.3.9")
    asked = [SeriesQuestion({"series_uid": uid}, uid)]
    (series,) = small.earlier(Selection(series=(uid,)), asked).series
    assert series.location == f"idc-open-data/{uuid(2009)}"
    assert series.remark == "withdrawn since release 3 of IDC"
    assert (series.image_count, series.size_bytes, series.collection) == (None, 5_000_000, "Lung-One")
    assert small.earlier(Selection(series=(uid,), modalities=("MR",)), asked) == IndexedSeries()
    assert small.earlier(Selection(series=(uid,), collections=("brain two",)), asked) == IndexedSeries()
    assert len(small.earlier(Selection(series=(uid,), collections=("lung one",)), asked).series) == 1


@pytest.mark.parametrize(
    ("locations", "expected"),
    [
        ([f"idc-open-data/{uuid(2)}", f"other/{uuid(5)}"], [2, 5]),
        ([f"idc-open-data/{uuid(77)}"], []),
    ],
)
def test_finds_the_series_of_a_folder_in_any_bucket(
    small: IdcCatalogue, locations: list[str], expected: list[int]
) -> None:
    selection = Selection(locations=tuple(locations))
    assert found(small, selection) == expected
    assert [str(question) for question in small.missing(selection)] == [
        f"folder {location}" for location in locations if uuid(77) in location
    ]


def test_narrows_a_series_to_the_objects_that_are_requested_of_its_folder(small: IdcCatalogue) -> None:
    folder, names = f"idc-open-data/{uuid(2)}", [f"{uuid(20)}.dcm", f"{uuid(21)}.dcm"]
    selection = Selection(locations=tuple(f"{folder}/{name}" for name in names))
    (batch,) = small.search(selection)
    (series,) = batch.series
    assert (series.location, series.image_count, series.size_bytes) == (f"{folder}/{','.join(names)}", 2, None)
    assert selection.matches(series)
    (whole,) = small.search(Selection(locations=(f"{folder}/{names[0]}", folder)))
    assert (whole.series[0].location, whole.series[0].image_count) == (folder, 10)


def test_finds_the_version_in_a_folder_of_an_earlier_release(small: IdcCatalogue) -> None:
    locations = [f"idc-open-data/{uuid(1000 + 9)}", f"idc-open-data/{uuid(1000 + 1)}"]
    selection = Selection(locations=tuple(locations))
    earlier = small.earlier(selection, small.missing(selection)).series
    assert {series.location: series.remark for series in earlier} == {
        locations[0]: "withdrawn since release 2 of IDC",
        locations[1]: "superseded since release 2 of IDC",
    }


def test_refuses_shared_lists(small: IdcCatalogue) -> None:
    with pytest.raises(SelectionError, match="no shared lists"):
        list(small.search(Selection(shared_lists=("mine",))))


@pytest.mark.parametrize(
    "change",
    [
        {"SeriesInstanceUID": "1.2/3"},
        {"SeriesInstanceUID": None},
        {"StudyInstanceUID": "none"},
        {"crdc_series_uuid": "../../elsewhere"},
        {"aws_bucket": "bucket/with"},
        {"aws_bucket": None},
    ],
)
def test_counts_rows_that_cannot_be_used(tmp_path: Path, change: dict[str, str | None]) -> None:
    rows = [series_row(1), series_row(2, **change)]
    with IdcCatalogue(index_at(write_index(tmp_path, rows))) as catalogue:
        (batch,) = catalogue.search(Selection(everything=True))
    assert [series.series_uid for series in batch.series] == ["1.2.3.1"]
    assert batch.invalid_rows == 1


def test_works_with_the_file_of_the_series_alone(tmp_path: Path) -> None:
    write_index(tmp_path, [series_row(1, series_revised_idc_version=4), series_row(2, collection_id=None)], version="")
    with IdcCatalogue(index_at(tmp_path / "idc_index.parquet")) as catalogue:
        assert catalogue.release == Release(4)
        assert catalogue.collections() == ("", "lung_one")
        (batch,) = catalogue.search(Selection(collections=("lung-one",)))
        assert [(series.collection, series.released) for series in batch.series] == [("lung_one", None)]
        assert (
            catalogue.earlier(Selection(everything=True), [SeriesQuestion({}, SeriesUid("1.2.3.9"))]) == IndexedSeries()
        )


def test_refuses_what_is_not_an_index(tmp_path: Path) -> None:
    text = tmp_path / "text.parquet"
    text.write_text("SeriesInstanceUID\n1.2.3\n")
    with pytest.raises(ConfigurationError, match=r"text\.parquet cannot be read as an index of IDC"):
        IdcCatalogue(IndexFiles(text))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        version_of(IndexFiles(text))


def test_compares_versions_by_their_numbers(tmp_path: Path) -> None:
    write_index(tmp_path / "old", [series_row(1)], version="9.10.0-0-gabc")
    write_index(tmp_path / "new", [series_row(1)], version="10.0.0-0-gabc")
    write_index(tmp_path / "none", [series_row(1)], version="")
    versions = [version_of(index_at(tmp_path / name)) for name in ("none", "old", "new")]
    assert versions == sorted(versions) == [(), (9, 10, 0), (10, 0, 0)]


# --- the real index ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Iterator[IdcCatalogue]:
    """The index of release 25, from the package `idc-index-data`."""
    files = installed_index()
    assert files is not None
    with IdcCatalogue(files) as opened:
        if opened.release.number != 25:
            pytest.skip(f"the figures are of release 25, not of {opened.release}")
        yield opened


def test_has_the_collections_by_the_names_of_tcia(real: IdcCatalogue) -> None:
    names = real.collections()
    assert len(names) == 179
    assert {"LIDC-IDRI", "RIDER Lung CT", "NSCLC Radiogenomics", "NLST"} <= set(names)


def test_sums_a_million_series(real: IdcCatalogue) -> None:
    totals = real.totals(Selection(everything=True))
    assert len(totals.series_uids) == sum(each.series for each in totals.collections) == 1_044_191
    assert sum(each.instances for each in totals.collections) == 58_784_975
    (nlst,) = real.totals(Selection(collections=("nlst",))).collections
    assert (nlst.series, nlst.instances) == (592_600, 21_480_654)


@pytest.mark.parametrize(
    ("criteria", "series"),
    [
        ({"analysis_results": "only"}, 474_083),
        ({"license": "CC BY 3.0"}, 132_303),
        ({"deny_license": ["*NC*", "CC*"]}, 39),
        ({"license": "CC BY-NC*"}, 28_783 + 5_851),
        ({"since": "2026-09-26"}, 11_346 + 12_043),
    ],
)
def test_counts_as_the_reference_does(real: IdcCatalogue, criteria: dict[str, Any], series: int) -> None:
    selection = Selection.from_keywords({"everything": True, **criteria})
    assert len(real.totals(selection).series_uids) == series


def test_names_the_collection_of_a_doi(real: IdcCatalogue) -> None:
    by_doi = real.totals(Selection(collections=("https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX",)))
    assert [total.collection for total in by_doi.collections] == ["LIDC-IDRI"]
    without = Selection(collections=("LIDC-IDRI",), analysis_results=AnalysisResults.EXCLUDE)
    assert real.totals(without).collections == by_doi.collections


def test_streams_every_row_as_a_record(real: IdcCatalogue) -> None:
    batches = list(real.search(Selection(collections=("acrin-6698",))))
    assert sum(len(batch.series) for batch in batches) == 18_747
    assert not any(batch.invalid_rows for batch in batches)
    assert all(series.image_count and series.size_bytes for batch in batches for series in batch.series)


@pytest.mark.parametrize(
    ("name", "current", "earlier"),
    [
        ("idc-s3-aws-manifest-test", 10, 0),
        ("study_manifest_aws", 3, 0),
        ("study_manifest_gcs", 3, 0),
        ("study_manifest_bogus", 3, 0),
        ("prior_version_manifest", 0, 5),
        ("study_manifest_gcs-public-datasets-idc", 0, 3),
    ],
)
def test_finds_the_folders_of_real_manifests(real: IdcCatalogue, name: str, current: int, earlier: int) -> None:
    content = (MANIFESTS / f"{name}.s5cmd").read_bytes()
    selection = Selection(locations=read_manifest(content, source=name).locations)
    assert sum(len(batch.series) for batch in real.search(selection)) == current
    before = real.earlier(selection, real.missing(selection))
    assert len(before.series) == earlier
    assert all(selection.matches(series) for series in before.series)


def test_gives_memory_back_and_goes_on_answering(small: IdcCatalogue) -> None:
    batches = small.search(Selection(everything=True))
    small.release_memory()
    assert sum(len(batch.series) for batch in batches) == 6
    small.release_memory()
    assert found(small, Selection(modalities=("MR",))) == [2]


def test_memory_is_not_taken_from_a_question_that_is_under_way(real: IdcCatalogue) -> None:
    """While one thread asks, another gives memory back again and again."""
    uids = tuple(row[0] for row in real.cursor().execute("SELECT SeriesInstanceUID FROM series LIMIT 20000").fetchall())
    is_done = Event()

    def give_back() -> None:
        while not is_done.is_set():
            real.release_memory()

    with ThreadPoolExecutor(1) as threads:
        giving = threads.submit(give_back)
        try:
            for _ in range(5):
                assert len(real.known(tuple(map(SeriesUid, uids)))) == len(uids)
        finally:
            is_done.set()
        giving.result()


def test_what_the_index_says_of_patients_comes_with_the_series(tmp_path: Path) -> None:
    rows = [series_row(1, PatientSex="F", PatientAge="061Y", StudyDescription="Thorax"), series_row(2)]
    with IdcCatalogue(index_at(write_index(tmp_path, rows))) as catalogue:
        (batch,) = catalogue.search(Selection(everything=True))
    (patient,), (study,) = batch.descriptions.patients, batch.descriptions.studies
    assert (patient.patient_id, patient.collection, patient.sex) == ("P1", "lung_one", "F")
    assert (study.study_uid, study.patient_age, study.description) == ("1.2.3", "061Y", "Thorax")


def test_an_index_of_names_alone_describes_nothing(small: IdcCatalogue) -> None:
    described = small.described("Lung-One")
    assert [each.description for each in described.collections] == [None]
    assert described.results == ()


@pytest.mark.skipif(installed_index() is None, reason="needs the package idc-index-data")
def test_the_real_index_describes_every_collection() -> None:
    files = installed_index()
    assert files is not None
    with IdcCatalogue(files) as catalogue:
        described = [catalogue.described(name) for name in catalogue.collections()]
    collections = [each for found in described for each in found.collections]
    results = {each.result: each for found in described for each in found.results}
    assert len(collections) == len(described) == 179
    assert all(each.description and each.publications and each.uri for each in collections)
    assert all(each.citation and "<" not in each.citation and each.collections for each in results.values())
    assert len(results) == 26

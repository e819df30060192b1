"""The public Python client tcia_utils 3.3.5, unmodified but for its base address, against `bulkdl serve --demo`.

It speaks NBIA v4, and v1 for shared lists; pointed at v1, it searches and downloads there too. It runs in a
separate environment (`make test-clients`).
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
from plotly.graph_objects import Figure
from tcia_utils import datacite, nbia, pathdb, wordpress

COLLECTION = "BULKDL-PHANTOM"
DOI = "10.5072/bulkdl.demo.bulkdl-phantom"
REAL_ADDRESS = "https://nbia.cancerimagingarchive.net/nbia-api/services"
REAL_SERVICES = (
    *("https://api.datacite.org", "https://cancerimagingarchive.net", "https://pathdb.cancerimagingarchive.net"),
)


IN_BOTH = pytest.mark.parametrize("family", ["v4", "v1"])


@pytest.fixture
def family() -> str:
    """The NBIA family that the client is pointed at; `IN_BOTH` says otherwise."""
    return "v4"


@pytest.fixture(autouse=True)
def _pointed_here(archive: str, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = nbia.setApiUrl

    def here(*words: str) -> str:
        address: str = choose(*words)
        return address.replace(REAL_ADDRESS, archive).replace("/v4/", f"/{family}/")

    monkeypatch.setattr(nbia, "setApiUrl", here)
    get, origin = requests.get, archive.partition("/nbia-api")[0]

    def get_here(url: str, *given: Any, **named: Any) -> requests.Response:
        for address in REAL_SERVICES:
            url = url.replace(address, origin)
        return get(url, *given, **named)

    monkeypatch.setattr(requests, "get", get_here)


def smallest_series() -> dict[str, Any]:
    series: list[dict[str, Any]] = nbia.getSeries(collection=COLLECTION)
    return min(series, key=lambda row: row["ImageCount"])


def several_slices() -> dict[str, Any]:
    series: list[dict[str, Any]] = nbia.getSeries(collection=COLLECTION, modality="CT")
    return min(series, key=lambda row: row["ImageCount"])


# --- search -----------------------------------------------------------------------------------------------------------


@IN_BOTH
def test_collections_are_listed() -> None:
    assert {"Collection": COLLECTION} in nbia.getCollections()


@IN_BOTH
def test_modalities_body_parts_and_manufacturers_are_listed() -> None:
    assert {"Modality": "CT"} in nbia.getModality(collection=COLLECTION)
    assert nbia.getBodyPart(collection=COLLECTION, modality="CT")
    assert {"Manufacturer": "bulkdl"} in nbia.getManufacturer(collection=COLLECTION)


@IN_BOTH
def test_patients_of_a_collection_are_listed() -> None:
    patients = nbia.getPatient(collection=COLLECTION)
    assert len(patients) >= 3
    assert {patient["Collection"] for patient in patients} == {COLLECTION}


def test_patients_with_a_modality_are_listed() -> None:
    found = nbia.getPatientByCollectionAndModality(COLLECTION, "CT")
    everybody = {patient["PatientId"] for patient in nbia.getPatient(collection=COLLECTION)}
    assert {patient["PatientId"] for patient in found} <= everybody


def test_what_is_new_since_a_day_is_listed() -> None:
    patients = nbia.getPatient(collection=COLLECTION)
    assert len(nbia.getNewPatientsInCollection(COLLECTION, "1999/12/31")) == len(patients)
    patient = patients[0]["PatientId"]
    assert nbia.getNewStudiesInPatient(COLLECTION, patient, "1999/12/31")
    assert len(nbia.getUpdatedSeries("1999/12/31")) >= len(nbia.getSeries(collection=COLLECTION))


@IN_BOTH
def test_studies_of_a_patient_are_listed() -> None:
    patient = nbia.getPatient(collection=COLLECTION)[0]["PatientId"]
    studies = nbia.getStudy(collection=COLLECTION, patientId=patient)
    assert {study["PatientID"] for study in studies} == {patient}
    assert all(study["SeriesCount"] > 0 for study in studies)


@IN_BOTH
def test_series_come_as_a_data_frame_with_their_sizes() -> None:
    frame = nbia.getSeries(collection=COLLECTION, format="df")
    assert frame["SeriesInstanceUID"].is_unique
    assert (frame["FileSize"] > 0).all()


@IN_BOTH
def test_an_unknown_collection_has_no_series() -> None:
    assert nbia.getSeries(collection="NO-SUCH-COLLECTION") is None


@IN_BOTH
def test_the_size_of_a_series_agrees_with_its_record() -> None:
    series = smallest_series()
    (size,) = nbia.getSeriesSize(series["SeriesInstanceUID"])
    assert (size["ObjectCount"], size["TotalSizeInBytes"]) == (series["ImageCount"], series["FileSize"])


@IN_BOTH
def test_as_many_instances_are_listed_as_are_counted() -> None:
    series = several_slices()
    assert len(nbia.getSopInstanceUids(series["SeriesInstanceUID"])) == series["ImageCount"]


def test_patients_are_counted() -> None:
    (counted,) = (row for row in nbia.getCollectionPatientCounts() if row["Collection"] == COLLECTION)
    assert int(counted["Count"]) == len(nbia.getPatient(collection=COLLECTION))
    for counts in (nbia.getModalityCounts, nbia.getBodyPartCounts, nbia.getManufacturerCounts):
        assert all(int(row["Count"]) > 0 for row in counts(collection=COLLECTION))


def test_collections_are_described() -> None:
    assert COLLECTION in {row["collectionName"] for row in nbia.getCollectionDescriptions()}


def test_metadata_of_many_series_come_in_one_answer() -> None:
    series = nbia.getSeries(collection=COLLECTION)
    frame = nbia.getSeriesList([row["SeriesInstanceUID"] for row in series])
    assert set(frame["SeriesInstanceUID"]) == {row["SeriesInstanceUID"] for row in series}
    assert frame["ImageCount"].sum() == sum(row["ImageCount"] for row in series)


def test_the_elements_of_a_series_are_shown() -> None:
    series = smallest_series()
    frame = nbia.getDicomTags(series["SeriesInstanceUID"])
    (modality,) = frame.loc[frame["element"] == "(0008,0060)", "data"]
    assert modality == series["Modality"]


@pytest.mark.parametrize("modality", ["SEG", "RTSTRUCT"])
def test_a_segmentation_leads_to_the_series_it_was_drawn_on(modality: str) -> None:
    segmentation = nbia.getSeries(collection=COLLECTION, modality=modality)[0]
    referred = nbia.getSegRefSeries(segmentation["SeriesInstanceUID"])
    (original,) = nbia.getSeries(seriesUid=referred)
    assert original["PatientID"] == segmentation["PatientID"]


# --- simple search ----------------------------------------------------------------------------------------------------


def test_simple_search_finds_patients() -> None:
    found = nbia.getSimpleSearch(collections=[COLLECTION], modalities=["CT"], size=100)
    wanted = nbia.getPatientByCollectionAndModality(COLLECTION, "CT")
    assert {row["subjectId"] for row in found["resultSet"]} == {row["PatientId"] for row in wanted}
    assert found["totalPatients"] == len(wanted)


def test_simple_search_gives_pages() -> None:
    pages = [
        nbia.getSimpleSearch(collections=[COLLECTION], start=start, size=1)["resultSet"][0]["subjectId"]
        for start in range(2)
    ]
    assert len(set(pages)) == 2


def test_simple_search_gives_series_uids() -> None:
    uids = nbia.getSimpleSearch(collections=[COLLECTION], modalities=["CT"], format="uids")
    assert {row["SeriesInstanceUID"] for row in nbia.getSeries(collection=COLLECTION, modality="CT")} <= set(uids)


def test_simple_search_saves_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nbia.getSimpleSearch(collections=[COLLECTION], format="manifest")
    (manifest,) = tmp_path.glob("manifest-*.tcia")
    listed = nbia.manifestToList(str(manifest))
    assert {uid for uid in listed if uid} == {row["SeriesInstanceUID"] for row in nbia.getSeries(collection=COLLECTION)}


# --- downloads --------------------------------------------------------------------------------------------------------


@IN_BOTH
def test_a_single_instance_is_downloaded(tmp_path: Path) -> None:
    series_uid = smallest_series()["SeriesInstanceUID"]
    sop_uid = nbia.getSopInstanceUids(series_uid)[0]["SOPInstanceUID"]
    nbia.downloadImage(series_uid, sop_uid, path=str(tmp_path))
    content = (tmp_path / series_uid / f"{sop_uid}.dcm").read_bytes()
    assert content[128:132] == b"DICM"
    assert sop_uid.encode() in content


@IN_BOTH
def test_a_series_is_downloaded_with_checksums_that_hold(tmp_path: Path) -> None:
    series = several_slices()
    series_uid = series["SeriesInstanceUID"]
    nbia.downloadSeries([series_uid], input_type="list", path=str(tmp_path), hash="y")
    folder = tmp_path / series_uid
    with (folder / "md5hashes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == series["ImageCount"]
    for row in rows:
        content = (folder / row["Filename"]).read_bytes()
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == row["MD5Hash"]


@IN_BOTH
def test_a_series_is_downloaded_with_its_licence(tmp_path: Path) -> None:
    series = several_slices()
    nbia.downloadSeries([series], path=str(tmp_path))
    names = {path.name for path in (tmp_path / series["SeriesInstanceUID"]).iterdir()}
    assert "LICENSE" in names
    assert len(names) == series["ImageCount"] + 1
    assert all(name.startswith("1-") for name in names - {"LICENSE"})


def test_the_series_of_a_manifest_are_downloaded_and_described(tmp_path: Path) -> None:
    manifest = Path(__file__).parents[2] / "manifests" / "sample.tcia"
    frame = nbia.downloadSeries(str(manifest), input_type="manifest", path=str(tmp_path), format="df")
    wanted = set(manifest.read_text().split("ListOfSeriesToDownload=")[1].split())
    assert {path.name for path in tmp_path.iterdir()} == wanted
    assert set(frame["SeriesInstanceUID"]) == wanted


def test_a_converted_manifest_is_read(tmp_path: Path) -> None:
    samples, saved = Path(__file__).parents[2] / "manifests", tmp_path / "digest.tcia"
    words = ["manifest", "convert", str(samples / "digest.xlsx"), "--format", "tcia", "--output", str(saved)]
    subprocess.run([os.environ["BULKDL"], *words], check=True)
    listed = nbia.manifestToList(str(saved))
    assert listed == [row["SeriesInstanceUID"] for row in json.loads((samples / "getseries.json").read_text())]


# --- DataCite ---------------------------------------------------------------------------------------------------------


def test_all_dois_come_as_a_data_frame() -> None:
    frame = datacite.getDoi()
    assert frame["DOI"].is_unique
    (row,) = frame.loc[frame["Identifier"] == COLLECTION].to_dict("records")
    assert (row["DOI"], row["Version"], row["CitationCount"]) == (DOI, "1", 0)
    assert row["Rights"] == "CC0 1.0 Universal"
    assert datacite.searchDf("pancreas", frame)["Identifier"].tolist() == ["Pancreas-CT"]


def test_dois_come_as_json_and_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = datacite.getDoi(format="json")
    assert document["meta"]["total"] == len(document["data"])
    monkeypatch.chdir(tmp_path)
    datacite.getDoi(format="csv")
    (saved,) = tmp_path.glob("datacite_*.csv")
    assert DOI in saved.read_text()


def test_relations_and_derived_dois_are_answered() -> None:
    assert datacite.getDerivedDois([DOI, "10.7937/none"], format="json") == []
    relations, summary, duplicates = datacite.analyze_doi_relations(datacite.getDoi())
    assert (len(relations), len(summary), len(duplicates)) == (0, 0, 0)


def test_charts_by_doi_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Figure] = []

    def show(figure: Figure) -> None:
        shown.append(figure)

    monkeypatch.setattr(Figure, "show", show)
    report = nbia.reportDoiSummary(nbia.getSeries(collection=COLLECTION), format="chart")
    assert report["Identifier"].tolist() == [COLLECTION]
    assert [figure.layout.title.text.split(" Distribution")[0] for figure in shown] == [
        *("Subjects", "Studies", "Series", "Images", "File Size (Bytes)"),
    ]
    assert list(shown[0].data[0].labels) == [COLLECTION]


# --- Collection Manager -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api_version", ["v2", "v1"])
def test_collections_are_listed_page_by_page(api_version: str) -> None:
    found = wordpress.getCollections(per_page=2, api_version=api_version)
    names = [each["collection_short_title"] for each in found]
    assert len(names) == len(set(names)) > 4
    assert COLLECTION in names
    (one,) = wordpress.getCollections(query="phantom", api_version=api_version)
    assert (one["collection_short_title"], one["collection_doi"]) == (COLLECTION, DOI)


@pytest.mark.parametrize("api_version", ["v2", "v1"])
def test_fields_and_numbers_narrow_the_answer(api_version: str) -> None:
    (one,) = wordpress.getCollections(query="phantom", api_version=api_version)
    (same,) = wordpress.getCollections(ids=[one["id"]], fields=["slug"], api_version=api_version)
    assert (same["slug"], "collection_doi" in same) == (one["slug"], False)


def test_long_texts_come_without_markup_as_a_data_frame() -> None:
    frame = wordpress.getCollections(format="df", removeHtml="yes", verbose=True, orderby="slug", order="asc")
    assert frame["slug"].is_monotonic_increasing
    assert not frame["detailed_description"].str.contains("<p>").any()


def test_the_manifest_of_a_download_names_all_series(tmp_path: Path) -> None:
    (one,) = wordpress.getDownloads(query=COLLECTION)
    saved = tmp_path / "download.tcia"
    saved.write_bytes(requests.get(one["download_url"], timeout=60).content)
    series = {row["SeriesInstanceUID"] for row in nbia.getSeries(collection=COLLECTION)}
    assert set(filter(None, nbia.manifestToList(str(saved)))) == series
    assert int(one["series_count"]) == len(series)


def test_every_other_list_of_the_collection_manager_is_answered() -> None:
    assert COLLECTION in {name for each in wordpress.getVersions() for name in each["related_collections"]}
    assert "CT" in {each["name"] for each in wordpress.getDataTypes()}
    assert wordpress.getLicenses()
    for ask in (
        *(wordpress.getAnalyses, wordpress.getCitations, wordpress.getPrograms, wordpress.getDownloadRequirements),
        *(wordpress.getCancerTypes, wordpress.getCancerLocations, wordpress.getSpecies, wordpress.getSupportingData),
        *(wordpress.getFileTypes, wordpress.getVersionDownloads),
    ):
        assert isinstance(ask(), list)


# --- PathDB -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _has_slides(request: pytest.FixtureRequest) -> None:
    """A cache of a bucket has no slides."""
    if request.node.callspec.params["archive"] == "cache":
        pytest.skip("a cache of a bucket")


OF_SLIDES = pytest.mark.usefixtures("_has_slides")


@OF_SLIDES
def test_collections_of_slides_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = pathdb.getCollections()
    assert (one["collectionName"], len(one["updated"])) == (COLLECTION, len("2026-01-01"))
    assert pathdb.getCollections(query="phantom", format="df")["collectionId"].tolist() == [one["collectionId"]]
    assert pathdb.getCollections(query="none") == []
    monkeypatch.chdir(tmp_path)
    pathdb.getCollections(format="csv")
    assert len(list(tmp_path.glob("pathologyCollections-*.csv"))) == 1


@OF_SLIDES
def test_slides_of_a_collection_are_listed_by_name_and_by_number() -> None:
    by_name = pathdb.getImages(COLLECTION)
    assert [each["imageId"] for each in by_name] == ["PHANTOM-001-DX1", "PHANTOM-002-DX1"]
    assert pathdb.getImages(by_name[0]["collectionId"]) == by_name
    assert (by_name[0]["imagedWidth"], by_name[0]["imageHeight"]) == (640, 480)
    assert by_name[0]["physicalPixelSizeX"] == ""


@OF_SLIDES
def test_slides_are_downloaded_once(tmp_path: Path) -> None:
    frame = pathdb.getImages(COLLECTION, format="df")
    pathdb.downloadImages(frame, path=str(tmp_path))
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found.keys() == {"PHANTOM-001-DX1.svs", "PHANTOM-002-DX1.tif"}
    assert all(content.startswith(b"II*") for content in found.values())
    pathdb.downloadImages(frame, path=str(tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == found


@OF_SLIDES
def test_reports_count_slides_and_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pathdb.getImages(COLLECTION, format="df")
    report = pathdb.reportCollections(frame)
    assert report[["subjectCount", "imageCount"]].to_numpy().tolist() == [[2, 2]]
    shown: list[Figure] = []

    def show(figure: Figure) -> None:
        shown.append(figure)

    monkeypatch.setattr(Figure, "show", show)
    pathdb.reportCollections(frame, format="chart")
    frame["created"] = frame["changed"] = "2026-01-01"  # its format of dates is not one that pandas reads
    assert pathdb.reportSubmissions(frame)["imageCount"].tolist() == [2]
    pathdb.reportSubmissions(frame, format="chart")
    assert len(shown) == 2

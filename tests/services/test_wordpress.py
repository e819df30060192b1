"""The Collection Manager's records are read in every form that they have; a missing page is an error, not an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bulkdl.errors import NotFound, RequestRejected, UnexpectedAnswer
from bulkdl.model.data_sets import DataSetDownload, DataSetKind, DownloadWay
from bulkdl.services.wordpress import CollectionManager, read_download, way_of
from tests.support.made_up_service import MadeUpService

ANSWERS = Path(__file__).parents[1] / "data" / "answers"


def documented(name: str) -> Any:
    return json.loads((ANSWERS / f"wordpress_{name}.json").read_text())


def answering(**by_path: Any) -> MadeUpService:
    """A service with these answers by the name of the endpoint; an empty list for any other."""

    def answer(path: str, _: Mapping[str, str]) -> Any:
        version, endpoint = path.rstrip("/").split("/")
        empty = {"results": [], "page": 1, "total_pages": 1} if version == "v2" else []
        return by_path.get(f"{version}_{endpoint.replace('-', '_')}", empty)

    return MadeUpService(answer)


async def test_collections_of_v2_are_read_as_documented_without_the_hidden_one() -> None:
    (found,) = await CollectionManager(answering(v2_collections=documented("v2_collections"))).data_sets()
    assert (found.name, found.kind, found.doi) == (
        "DEMO-LUNG",
        DataSetKind.COLLECTION,
        "10.7937/k9/tcia.2099.example1",
    )
    assert (found.title, found.description) == ("Demo lung CT & segmentations", "Made-up collection.")
    assert (found.patients, found.modalities, found.species) == (12, ("CT", "SEG"), ("Human",))
    assert (found.version, found.updated, found.in_archive) == ("2", "2026-02-03", False)
    images, faces = found.downloads
    assert (images.way, images.license, images.size_bytes, images.series) == (
        DownloadWay.BULKDL,
        "CC BY 4.0",
        5_400_000_000,
        24,
    )
    assert (faces.way, faces.size_bytes, faces.patients) == (DownloadWay.CONTROLLED, None, 3)
    assert faces.requirements == "dbGaP: ask first: https://archive.example.org/policy/"


async def test_collections_of_v1_name_their_downloads_by_number() -> None:
    service = answering(v1_collections=documented("v1_collections"), v1_downloads=documented("v1_downloads"))
    (found,) = await CollectionManager(service, version=1).data_sets()
    assert (found.title, found.name) == ("Demo lung CT & segmentations", "DEMO-LUNG")
    (images,) = found.downloads  # the other number is of no download
    assert (images.title, images.kinds) == ("CT images", ("Radiology Images", "CT", "DICOM"))


@pytest.mark.parametrize("error", [NotFound("gone", status=404), RequestRejected("no route", status=400)])
async def test_v1_is_asked_where_v2_is_gone(error: Exception) -> None:
    def answer(path: str, _: Mapping[str, str]) -> Any:
        if path.startswith("v2/"):
            raise error
        return documented("v1_collections") if path == "v1/collections/" else []

    service = MadeUpService(answer)
    (found,) = await CollectionManager(service).data_sets()
    assert found.name == "DEMO-LUNG"
    assert [path for path, _ in service.asked if path.startswith("v2")] == ["v2/collections/"]


async def test_versions_are_read_as_documented() -> None:
    first, second = await CollectionManager(answering(v2_versions=documented("v2_versions"))).versions()
    assert (first.version, first.updated, first.title, first.text) == (
        "1",
        "2024-05-06",
        "DEMO-LUNG v1",
        "First release.",
    )
    assert (second.downloads, second.data_sets) == (("CT images", "Faces kept"), ("DEMO-LUNG",))


async def test_analysis_results_have_their_sources() -> None:
    record = {"result_short_title": "R", "collections": ["A", {"title": "B"}], "result_downloads": False}
    service = answering(v2_analysis_results={"results": [record], "page": 1, "total_pages": 1})
    (found,) = await CollectionManager(service).data_sets()
    assert (found.kind, found.collections, found.downloads) == (DataSetKind.ANALYSIS_RESULT, ("A", "B"), ())


async def test_all_pages_of_v2_are_asked_for() -> None:
    def answer(_: str, query: Mapping[str, str]) -> Any:
        number = int(query["page"])
        return {"results": [{"id": number, "slug": f"d{number}"}], "page": number, "total_pages": 3}

    found = await CollectionManager(MadeUpService(answer)).downloads()
    assert [each.title for each in found] == ["d1", "d2", "d3"]


async def test_all_pages_of_v1_are_asked_for_by_header_by_link_or_until_an_error_says_the_end() -> None:
    def by(headers: Mapping[str, str], last: int) -> MadeUpService:
        def answer(_: str, query: Mapping[str, str]) -> Any:
            if (number := int(query["page"])) > last:
                raise RequestRejected("rest_post_invalid_page_number", status=400)
            link = {"Link": '<https://x/?page=2>; rel="next"'} if headers == {"Link": ""} and number < last else headers
            return [{"id": number}] * (100 if not headers else 1), link

        return MadeUpService(answer)

    for headers in ({"X-WP-TotalPages": "3"}, {"Link": ""}, {}):
        service = by(headers, 3)
        await CollectionManager(service, version=1).downloads()
        assert len(service.asked) == (3 if headers else 4)


@pytest.mark.parametrize(
    "document",
    [
        {"results": [], "page": 1, "total_pages": 2},
        {"results": None},
        {"results": ["x"]},
        {"results": [{}], "page": 1, "total_pages": 10**6},
        documented("error"),
        [],
        b"<html>Maintenance</html>",
    ],
    ids=["empty page", "no list", "no object", "endless", "error", "bare list", "page"],
)
async def test_what_is_not_a_whole_answer_is_an_error(document: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        await CollectionManager(answering(v2_collections=document)).data_sets()


@pytest.mark.parametrize(
    ("license_name", "address", "way"),
    [
        ("CC BY 4.0", "https://a.example.org/x/y.tcia", DownloadWay.BULKDL),
        ("Creative Commons, restricted to research", "https://a.example.org/y.s5cmd", DownloadWay.BULKDL),
        ("NIH Controlled Data Access Policy", "https://a.example.org/y.tcia", DownloadWay.CONTROLLED),
        ("TCIA Restricted", "https://a.example.org/y.tcia", DownloadWay.CONTROLLED),
        ("CC BY 4.0", "https://faspex.example.org/aspera/faspex/public/package?context=x", DownloadWay.ASPERA),
        ("CC BY 4.0", "https://pathdb.example.org/cohort", DownloadWay.SLIDES),
        ("CC BY 4.0", "https://a.example.org/CLINICAL.XLSX", DownloadWay.FILE),
        ("CC BY 4.0", "https://a.example.org/masks.nii.gz", DownloadWay.FILE),
        ("CC BY 4.0", "https://portal.example.org/search?x=1", DownloadWay.PORTAL),
        ("CC BY 4.0", None, DownloadWay.UNKNOWN),
    ],
)
def test_the_licence_and_then_the_address_tell_how_a_download_is_obtained(
    license_name: str, address: str | None, way: DownloadWay
) -> None:
    assert way_of(DataSetDownload(title="x", license=license_name, address=address)) is way


@pytest.mark.parametrize(
    ("size", "unit", "count"),
    [("5.4", "gb", 5_400_000_000), ("812", "MB", 812_000_000), ("2", "TB", 2 * 10**12), ("", False, None)],
)
def test_sizes_of_people_are_decimal(size: str, unit: Any, count: int | None) -> None:
    assert read_download({"download size": size, "download_size_unit": unit}).size_bytes == count


def test_a_download_with_nothing_in_it_is_still_one() -> None:
    assert read_download({}) == DataSetDownload(title="download")

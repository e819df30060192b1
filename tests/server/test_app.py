"""The archive over real sockets: what NBIA's server answers, byte for byte where the reference tells the bytes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from bulkdl.archive.nbia.endpoints import NBIA_V1
from bulkdl.errors import ConfigurationError
from bulkdl.server.app import AccessRecord, make_app, serving
from bulkdl.server.catalogue import About, Catalogue, Root
from tests.support.dicom_files import MadeUp, instances, write_folder

ABOUT = About(
    description="<b>bold</b>",
    citation="Doe & Co.",
    license_name="CC BY 4.0",
    license_uri="https://creativecommons.org/licenses/by/4.0/",
    released=date(2021, 7, 15),
)
FAILED = b"Server was not able to process your request\nnull"


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def rows(self) -> list[dict[str, object]]:
        return json.loads(self.body)


@dataclass
class Archive:
    base: str
    session: aiohttp.ClientSession
    folder: Path
    catalogue: Catalogue
    made: list[MadeUp]
    log: list[AccessRecord] = field(default_factory=list)

    async def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        async with self.session.request(method, f"{self.base}/v1/{path}", headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def image(self, made: MadeUp, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        query = f"SeriesInstanceUID={made.series_uid}&SOPInstanceUID={made.sop_uid}"
        return await self.get(f"getSingleImage?{query}", headers, method)


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    folder = tmp_path / "served"
    made = write_folder(folder, instances(series=3, per_series=2, collection="LUNG"))
    made += write_folder(folder, instances(series=1, per_series=1, collection="LARGE", rows=256))
    log: list[AccessRecord] = []
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(folder, about=ABOUT)])
        async with serving(make_app(catalogue), access_log=log.append) as base, aiohttp.ClientSession() as session:
            yield Archive(base, session, folder, catalogue, made, log)


# --- search -----------------------------------------------------------------------------------------------------------


async def test_collections(archive: Archive) -> None:
    answer = await archive.get("getCollectionValues")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body == b'[{"Collection":"LARGE"},{"Collection":"LUNG"}]'


async def test_patients_are_taken_for_humans_and_no_phantoms(archive: Archive) -> None:
    (row,) = (await archive.get("getPatient?Collection=lung&PatientId=patient-00000000")).rows
    assert row == {
        "PatientId": "PATIENT-00000000",
        "PatientName": "PATIENT^00000000",
        "Collection": "LUNG",
        "Phantom": "NO",
        "SpeciesCode": "337915000",
        "SpeciesDescription": "Homo sapiens",
    }


async def test_studies(archive: Archive) -> None:
    (row,) = (await archive.get(f"getPatientStudy?StudyInstanceUID={archive.made[0].study_uid}")).rows
    assert row["StudyDate"] == "2020-01-02 00:00:00.0"
    assert row["SeriesCount"] == 2
    assert "StudyDescription" not in row


async def test_series(archive: Archive) -> None:
    made = archive.made[0]
    (row,) = (await archive.get(f"getSeries?SeriesInstanceUID={made.series_uid}")).rows
    assert row.pop("TimeStamp")
    assert row == {
        "SeriesInstanceUID": made.series_uid,
        "StudyInstanceUID": made.study_uid,
        "Modality": "CT",
        "SeriesDate": "2020-01-02 00:00:00.0",
        "BodyPartExamined": "CHEST",
        "SeriesNumber": 1,
        "AnnotationsFlag": False,
        "Collection": "LUNG",
        "PatientID": made.patient_id,
        "Manufacturer": "EXAMPLE",
        "ImageCount": 2,
        "LicenseName": "CC BY 4.0",
        "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
        "FileSize": 2 * len(made.content),
        "DateReleased": "2021-07-15 00:00:00.0",
        "StudyDate": "2020-01-02 00:00:00.0",
    }


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 4),
        ("Collection=lung", 3),
        ("Collection=LUNG&Collection=LARGE", 3),
        ("PatientId=nobody", 4),
        ("collection=LARGE", 4),
        ("Modality=ct&BodyPartExamined=chest", 4),
    ],
    ids=["all", "any-case", "first-of-two", "unknown-name", "names-have-case", "two-criteria"],
)
async def test_criteria_as_nbia_takes_them(archive: Archive, query: str, count: int) -> None:
    assert len((await archive.get(f"getSeries?{query}")).rows) == count


async def test_size_and_instances_of_a_series(archive: Archive) -> None:
    made = archive.made[0]
    size = await archive.get(f"getSeriesSize?SeriesInstanceUID={made.series_uid}")
    assert size.rows == [{"TotalSizeInBytes": 2 * len(made.content), "ObjectCount": 2}]
    listed = await archive.get(f"getSOPInstanceUIDs?SeriesInstanceUID={made.series_uid}")
    wanted = {one.sop_uid for one in archive.made if one.series_uid == made.series_uid}
    assert {row["SOPInstanceUID"] for row in listed.rows} == wanted


@pytest.mark.parametrize(
    "path",
    [
        "getPatient?Collection=NONE",
        "getSeries?PatientID=",
        "getSeries?Collection=NONE&format=CSV",
        "getSeries?Collection=NONE&format=nonsense",
        "getSOPInstanceUIDs?SeriesInstanceUID=1.2",
        "getM5HashForImage?SOPInstanceUid=1.2",
        "getContentsByName?name=list",
    ],
)
async def test_nothing_found_is_an_empty_200(archive: Archive, path: str) -> None:
    answer = await archive.get(path)
    assert (answer.status, answer.body) == (200, b"")


async def test_the_size_of_an_unknown_series_is_a_row_of_nothing(archive: Archive) -> None:
    assert (await archive.get("getSeriesSize?SeriesInstanceUID=1.2")).body == b"[{}]"


@pytest.mark.parametrize(
    ("word", "content_type", "start"),
    [
        ("json", "application/json", b"["),
        ("CSV", "text/csv", b'"PatientId","PatientName"'),
        ("csvQuoted", "text/csv", b'"PatientId","PatientName"'),
        ("CSV-DOWNLOAD", "text/csv", b'"PatientId","PatientName"'),
        ("xml", "application/xml", b"<?xml version="),
        ("HTML", "text/html", b"<P ALIGN="),
    ],
)
async def test_formats(archive: Archive, word: str, content_type: str, start: bytes) -> None:
    answer = await archive.get(f"getPatient?format={word}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.body.startswith(start)


@pytest.mark.parametrize("word", ["", "yaml"])
async def test_an_unknown_format_is_a_server_error(archive: Archive, word: str) -> None:
    answer = await archive.get(f"getPatient?format={word}")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (500, "text/plain", FAILED)


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("getSeriesSize", "A parameter, SeriesInstanceUID is required for this API call."),
        ("getSOPInstanceUIDs", "A parameter, SeriesInstanceUID is required for this API call."),
        ("getImage", "A parameter, SeriesInstanceUID, is required for this API call."),
        ("getImageWithMD5Hash", "A parameter, SeriesInstanceUID, is required for this API call."),
        (
            "getSingleImage?SeriesInstanceUID=1.2",
            "A parameter, SeriesInstanceUID and SOPInstanceUID, are required for this API call.",
        ),
        ("getContentsByName", "A parameter, name is required for this API call."),
    ],
)
async def test_a_missing_parameter_is_a_sentence_labelled_json(archive: Archive, endpoint: str, sentence: str) -> None:
    answer = await archive.get(endpoint)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    assert answer.body.decode() == sentence


@pytest.mark.parametrize("path", ["getNothing", "../v9/getSeries", "getSeries/more", "%2e%2e/%2e%2e/etc/passwd"])
async def test_an_unknown_endpoint_is_a_page(archive: Archive, path: str) -> None:
    answer = await archive.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html")


async def test_a_wrong_verb_is_refused(archive: Archive) -> None:
    assert (await archive.get("getSeries", method="POST")).status == 405


async def test_a_long_list_is_streamed(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    made = write_folder(folder, instances(series=1, per_series=1500, collection="MANY"))
    archive.catalogue.scan([Root(folder)])
    answer = await archive.get(f"getSOPInstanceUIDs?SeriesInstanceUID={made[0].series_uid}")
    assert answer.headers.get("Transfer-Encoding") == "chunked"
    assert {row["SOPInstanceUID"] for row in answer.rows} == {one.sop_uid for one in made}


# --- instances --------------------------------------------------------------------------------------------------------


async def test_instances_come_as_they_lie_on_disk(archive: Archive) -> None:
    for made in archive.made:
        answer = await archive.image(made)
        assert (answer.status, answer.body) == (200, made.content)
        assert answer.headers["Content-Type"] == "application/dicom"
        assert answer.headers["Content-Disposition"] == f"attachment; filename={made.sop_uid}.dcm"
        assert answer.headers["Content-Length"] == str(len(made.content))


@pytest.mark.parametrize("place", [0, -1], ids=["small", "large"])
@pytest.mark.parametrize(
    ("wanted", "part"),
    [("bytes=10-19", slice(10, 20)), ("bytes=100-", slice(100, None)), ("bytes=-7", slice(-7, None))],
)
async def test_a_range_is_honoured(archive: Archive, place: int, wanted: str, part: slice) -> None:
    made = archive.made[place]
    answer = await archive.image(made, {"Range": wanted})
    start, stop, _ = part.indices(len(made.content))
    assert (answer.status, answer.body) == (206, made.content[part])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(made.content)}"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=9-3", "lines=1-2", "bytes=-", "bytes=x-1"])
async def test_what_is_no_single_range_gives_the_whole(archive: Archive, wanted: str) -> None:
    answer = await archive.image(archive.made[0], {"Range": wanted})
    assert (answer.status, answer.body) == (200, archive.made[0].content)


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused(archive: Archive, wanted: str) -> None:
    answer = await archive.image(archive.made[0], {"Range": wanted})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(archive.made[0].content)}")


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
async def test_a_resumed_download_goes_on_while_the_file_is_the_same(archive: Archive, header: str) -> None:
    made = archive.made[0]
    validator = (await archive.image(made)).headers[header]
    assert (await archive.image(made, {"Range": "bytes=5-", "If-Range": validator})).status == 206
    stale = '"another"' if header == "ETag" else "Mon, 01 Jan 2001 00:00:00 GMT"
    answer = await archive.image(made, {"Range": "bytes=5-", "If-Range": stale})
    assert (answer.status, answer.body) == (200, made.content)


async def test_the_etag_changes_with_the_file(archive: Archive) -> None:
    """Bytes of two versions must never be put together, even when nobody has scanned again."""
    made = archive.made[0]
    before = (await archive.image(made)).headers["ETag"]
    (archive.folder / made.path).write_bytes(bytes(len(made.content)))
    assert (await archive.image(made)).headers["ETag"] != before


async def test_head_tells_the_length_and_sends_nothing(archive: Archive) -> None:
    for made in (archive.made[0], archive.made[-1]):
        answer = await archive.image(made, method="HEAD")
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", str(len(made.content)))


@pytest.mark.parametrize(
    ("series_uid", "sop_uid"),
    [("1.2", "1.2.3"), ("..", "/etc/passwd"), ("", ""), ("1.2'--", "%00")],
    ids=["unknown", "path", "empty", "odd"],
)
async def test_an_unknown_instance_is_a_server_error(archive: Archive, series_uid: str, sop_uid: str) -> None:
    answer = await archive.get(f"getSingleImage?SeriesInstanceUID={series_uid}&SOPInstanceUID={sop_uid}")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (500, "text/plain", FAILED)


async def test_an_instance_is_only_in_its_own_series(archive: Archive) -> None:
    query = f"SeriesInstanceUID={archive.made[0].series_uid}&SOPInstanceUID={archive.made[-1].sop_uid}"
    assert (await archive.get(f"getSingleImage?{query}")).status == 500


@pytest.mark.parametrize("change", ["gone", "cut"])
async def test_a_file_that_changed_since_the_scan_is_a_server_error_and_logged(archive: Archive, change: str) -> None:
    path = archive.folder / archive.made[0].path
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(archive.made[0].content[:-2])
    answer = await archive.image(archive.made[0])
    assert (answer.status, answer.body) == (500, FAILED)
    assert archive.log[-1].status == 500
    assert path.name in (archive.log[-1].note or "")


async def test_a_new_scan_is_seen_by_a_server_that_runs(archive: Archive, tmp_path: Path) -> None:
    assert (await archive.image(archive.made[0])).status == 200
    made = write_folder(tmp_path / "other", instances(series=1, per_series=1, seed="other"))
    archive.catalogue.scan([Root(tmp_path / "other")])
    assert (await archive.image(made[0])).body == made[0].content
    assert (await archive.image(archive.made[0])).status == 500


async def test_the_md5_of_an_instance(archive: Archive) -> None:
    made = archive.made[0]
    answer = await archive.get(f"getM5HashForImage?SOPInstanceUid={made.sop_uid}")
    assert answer.body.decode() == hashlib.md5(made.content, usedforsecurity=False).hexdigest()
    assert answer.headers["Content-Type"] == "text/plain"


# --- bundles ----------------------------------------------------------------------------------------------------------


async def test_a_bundle_begins_with_the_licence(archive: Archive) -> None:
    made = [one for one in archive.made if one.series_uid == archive.made[0].series_uid]
    answer = await archive.get(f"getImage?SeriesInstanceUID={made[0].series_uid}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{made[0].series_uid}.zip"'
    assert "Content-Length" not in answer.headers
    with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
        assert bundle.namelist() == ["LICENSE", "00000001.dcm", "00000002.dcm"]
        assert {bundle.read(name) for name in bundle.namelist()[1:]} == {one.content for one in made}
        text = bundle.read("LICENSE").decode()
    assert "LUNG" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text


async def test_a_bundle_with_new_names(archive: Archive) -> None:
    answer = await archive.get(f"getImage?SeriesInstanceUID={archive.made[0].series_uid}&NewFileNames=yES")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
        assert bundle.namelist() == ["LICENSE", "1-1.dcm", "1-2.dcm"]


async def test_a_bundle_with_checksums_ends_with_them(archive: Archive) -> None:
    answer = await archive.get(f"getImageWithMD5Hash?SeriesInstanceUID={archive.made[-1].series_uid}")
    digest = hashlib.md5(archive.made[-1].content, usedforsecurity=False).hexdigest()
    with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
        assert bundle.namelist() == ["00000001.dcm", "md5hashes.csv"]
        assert bundle.read("md5hashes.csv").decode() == f"Filename,MD5Hash\n00000001.dcm,{digest}\n"


@pytest.mark.parametrize("endpoint", ["getImage", "getImageWithMD5Hash"])
async def test_the_bundle_of_an_unknown_series_is_not_public(archive: Archive, endpoint: str) -> None:
    answer = await archive.get(f"{endpoint}?SeriesInstanceUID=1.2")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    assert answer.body == b"Image with given SeriesInstanceUID,1.2, is not in public domain."


async def test_a_bundle_ends_before_a_file_that_is_gone_and_the_log_says_so(archive: Archive) -> None:
    (archive.folder / archive.made[-1].path).unlink()
    answer = await archive.get(f"getImage?SeriesInstanceUID={archive.made[-1].series_uid}")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
        assert bundle.namelist() == ["LICENSE"]
    assert "No such file" in (archive.log[-1].note or "")


async def test_a_client_that_leaves_does_not_harm_the_others(archive: Archive) -> None:
    """Half a bundle is read and the connection dropped; the threads must come back."""
    for _ in range(8):
        address = urlsplit(archive.base)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        path = f"{address.path}/v1/getImage?SeriesInstanceUID={archive.made[-1].series_uid}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.read(100)
        writer.transport.abort()
    assert (await archive.image(archive.made[0])).status == 200
    assert (await archive.get("getSeries")).status == 200


# --- all around -------------------------------------------------------------------------------------------------------


async def test_the_log_has_one_record_for_each_request(archive: Archive) -> None:
    large = archive.made[-1]
    for made in (archive.made[0], large):
        await archive.image(made)
    await archive.get("getSeries?Collection=NONE")
    assert [(r.method, r.status, r.bytes_sent) for r in archive.log] == [
        ("GET", 200, len(archive.made[0].content)),
        ("GET", 200, len(large.content)),
        ("GET", 200, 0),
    ]
    assert archive.log[2].path_qs == "/nbia-api/services/v1/getSeries?Collection=NONE"


async def test_the_front_page_lists_every_endpoint_and_escapes(archive: Archive) -> None:
    async with archive.session.get(archive.base.removesuffix("/nbia-api/services")) as response:
        page = await response.text()
    assert all(name in page for name in NBIA_V1)
    assert "&lt;b&gt;bold" in page
    assert "<b>bold" not in page
    assert "Doe &amp; Co." in page


async def test_an_address_that_is_taken_is_the_users_to_change(archive: Archive) -> None:
    port = urlsplit(archive.base).port
    with pytest.raises(ConfigurationError, match=f"port {port}"):
        async with serving(make_app(archive.catalogue), port=port or 0):
            pass

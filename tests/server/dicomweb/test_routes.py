"""DICOMweb over real sockets: searches, retrieval, metadata, frames and pictures."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bulkdl.model.ids import StudyUid
from bulkdl.server.catalogue import Root
from tests.server.dicomweb.conftest import UMLAUT, Web, parts_of, path_of
from tests.support.catalogue_files import one, put
from tests.support.dicom_files import instances, write_folder
from tests.support.dicom_samples import encapsulated, jpeg
from tests.support.served import served

OHIF_STUDIES = "?limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060"


async def found(web: Web, path: str, **more: Any) -> list[dict[str, Any]]:
    answer = await web.server.ask(f"/dicom-web{path}", **more)
    if answer.status == 204:
        assert answer.body == b""
        return []
    assert (answer.status, answer.kind) == (200, "application/dicom+json")
    document: list[dict[str, Any]] = answer.document
    return document


def values(data_sets: list[dict[str, Any]], tag: str) -> list[Any]:
    return [one.get(tag, {}).get("Value", [None])[0] for one in data_sets]


# --- searches ---------------------------------------------------------------------------------------------------------


async def test_studies_have_what_the_standard_requires_and_true_counts(web: Web) -> None:
    studies = await found(web, f"/studies{OHIF_STUDIES}")
    assert values(studies, "0020000D") == sorted({UMLAUT, *(made.study_uid for made in web.made)})
    by_uid = dict(zip(values(studies, "0020000D"), studies, strict=True))
    lung = by_uid[web.made[0].study_uid]
    assert lung["00201206"] == {"vr": "IS", "Value": [2]}
    assert lung["00201208"] == {"vr": "IS", "Value": [6]}
    assert lung["00080061"] == {"vr": "CS", "Value": ["CT"]}
    assert lung["00080020"] == {"vr": "DA", "Value": ["20200102"]}
    assert lung["00080050"] == {"vr": "SH"}
    assert lung["00081190"]["Value"] == [f"{web.server.origin}/dicom-web/studies/{web.made[0].study_uid}"]
    assert "00081030" not in lung
    umlaut = by_uid[StudyUid(UMLAUT)]
    assert umlaut["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]}
    assert umlaut["00081030"] == {"vr": "LO", "Value": ["Abdomen, with contrast"]}
    assert umlaut["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


STUDIES = {
    "": 3,
    "?PatientName=m%C3%BCLLER*": 1,
    "?PatientName=*j%C3%B6rg": 1,
    "?00100010=*nobody*": 0,
    "?PatientID=X%251": 1,
    "?PatientID=x_1": 0,
    "?PatientID=x*": 1,
    "?PatientID=patient-0000000%3F": 2,
    "?PatientBirthDate=19700301": 1,
    "?PatientSex=o": 1,
    "?StudyDate=20040101-20041231": 1,
    "?StudyDate=20050101-": 2,
    "?StudyDescription=*contrast*": 1,
    "?StudyID=S1": 1,
    "?ModalitiesInStudy=mr": 1,
    "?ModalitiesInStudy=CT%5CMR": 3,
    "?ModalitiesInStudy=CT&ModalitiesInStudy=MR": 0,
    "?Modality=MR&SeriesDescription=axial": 1,
    "?Modality=CT&SeriesDescription=axial": 0,
    "?AccessionNumber=1": 0,
    "?AccessionNumber=*&Bogus=1": 3,
    f"?StudyInstanceUID={UMLAUT}%5C1.2.3": 1,
    f"?StudyInstanceUID={UMLAUT},1.2.3": 1,
    "?limit=0": 0,
    "?limit=2": 2,
    "?offset=2": 1,
    "?offset=3": 0,
    "?limit=999999999999999999&offset=999999999999999999": 0,
}


async def test_studies_are_found_by_their_values(web: Web) -> None:
    assert {query: len(await found(web, f"/studies{query}")) for query in STUDIES} == STUDIES


async def test_series_and_instances_are_found_below_a_study(web: Web) -> None:
    made = web.made[0]
    study = f"/studies/{made.study_uid}"
    series = await found(web, f"{study}/series?includefield=0008103E%2C00080021")
    assert values(series, "0020000E") == sorted(
        {each.series_uid for each in web.made if each.study_uid == made.study_uid}
    )
    assert values(series, "00201209") == [3, 3]
    assert values(series, "00100020") == [made.patient_id] * 2
    assert values(series, "00080021") == ["20200102"] * 2
    assert len(await found(web, f"{study}/instances")) == 6
    instances = await found(web, f"{study}/series/{made.series_uid}/instances")
    assert values(instances, "00080018") == sorted(each.sop_uid for each in web.of(made.series_uid))
    assert values(instances, "00080016") == ["1.2.840.10008.5.1.4.1.1.2"] * 3
    assert values(instances, "00200013") == [1] * 3
    sop_uid = instances[0]["00080018"]["Value"][0]
    assert instances[0]["00081190"]["Value"][0].endswith(f"/series/{made.series_uid}/instances/{sop_uid}")
    assert await found(web, f"{study}/series/1.2.3/instances") == await found(web, "/studies/1.2.3/series") == []
    assert await found(web, f"/studies/{UMLAUT}/series/{made.series_uid}/instances") == []


BELOW = {
    "/series": 5,
    "/series?Modality=CT,MR": 5,
    "/series?ModalitiesInStudy=MR": 1,
    "/series?PatientID=PATIENT-00000001&SeriesNumber=1": 2,
    "/series?StudyDate=-20041231": 1,
    "/series?BodyPartExamined=chest&Manufacturer=EX*&limit=3": 3,
    "/series?offset=4": 1,
    "/instances": 13,
    "/instances?PatientName=m%C3%BCller*": 1,
    "/instances?Modality=CT&offset=10": 2,
    "/instances?SOPInstanceUID=1.2.3": 0,
    f"/instances?SOPInstanceUID={UMLAUT}&SOPClassUID=1.2.840.10008.5.1.4.1.1.2&InstanceNumber=1": 1,
    "/instances?InstanceNumber=2": 0,
}


async def test_series_and_instances_are_found_everywhere(web: Web) -> None:
    assert {path: len(await found(web, path)) for path in BELOW} == BELOW


async def test_pages_together_have_each_result_once(web: Web) -> None:
    for path, tag in (("/studies", "0020000D"), ("/series", "0020000E"), ("/instances", "00080018")):
        pages = [await found(web, f"{path}?limit=2&offset={offset}") for offset in range(0, 14, 2)]
        assert values([one for page in pages for one in page], tag) == values(await found(web, path), tag)


async def test_fields_that_are_asked_for_are_added(web: Web) -> None:
    query = "?PatientID=PATIENT-00000000&limit=1"
    (few,), (one,), (every,) = [
        await found(web, f"/instances{query}{more}") for more in ("", "&includefield=Manufacturer", "&includefield=all")
    ]
    assert one.keys() - few.keys() == {"00080070"}
    assert every["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}
    assert list(every) == sorted(every)


async def test_restricted_collections_are_hidden_from_others(web: Web) -> None:
    basic = {"Authorization": f"Basic {base64.b64encode(b'alice:pass: word').decode()}"}
    token = await web.server.log_in("alice", "pass: word")
    for path in ("/studies", "/series", "/instances"):
        hidden = await found(web, path)
        assert web.secret.study_uid not in values(hidden, "0020000D")
        for headers in (basic, basic, {"Authorization": f"Bearer {token}"}):
            assert web.secret.study_uid in values(await found(web, path, headers=headers), "0020000D")


@pytest.mark.parametrize("sent", ["Bearer wrong", "Basic YWxpY2U6eA==", "Basic !", "Digest x"])
async def test_wrong_credentials_are_refused(web: Web, sent: str) -> None:
    answer = await web.server.ask("/dicom-web/studies", headers={"Authorization": sent})
    assert (answer.status, answer.document["error"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


async def test_errors_and_warnings_are_said(web: Web) -> None:
    for query, status in (("?limit=-1", 400), ("?limit=abc", 400), ("?accept=application/dicom%2Bxml", 406)):
        answer = await web.server.ask(f"/dicom-web/studies{query}")
        assert (answer.status, answer.kind) == (status, "application/json")
    answer = await web.server.ask(
        "/dicom-web/studies?fuzzymatching=true&Bogus=1", headers={"Accept": "application/json"}
    )
    assert answer.kind == "application/json"
    assert "Only literal matching has been performed." in answer.headers["Warning"]
    assert "Bogus" in answer.headers["Warning"]


async def test_addresses_have_the_port_where_the_client_leaves_it_out(web: Web) -> None:
    for host, url in (
        ("localhost", web.server.origin.replace("127.0.0.1", "localhost")),
        ("127.0.0.1", web.server.origin),
    ):
        (one,) = await found(web, "/studies?limit=1", headers={"Host": host})
        assert one["00081190"]["Value"][0].startswith(f"{url}/dicom-web/studies/")
    assert (await web.server.ask("/dicom-web/studies", headers={"Host": "evil.example"})).status == 421


# --- retrieval --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept",
    [
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        'multipart/related; type="application/dicom"',
        "multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
        "*/*",
        "",
    ],
)
async def test_objects_come_as_parts_byte_by_byte(web: Web, accept: str) -> None:
    made = web.made[0]
    of_level = {
        "studies": [each for each in web.made if each.study_uid == made.study_uid],
        "series": web.of(made.series_uid),
        "instances": [made],
    }
    boundaries = set()
    for level, wanted in of_level.items():
        answer = await web.server.ask(path_of(made, level), headers={"Accept": accept})
        assert answer.status == 200
        parts = {headers["Content-Location"]: (headers["Content-Type"], body) for headers, body in parts_of(answer)}
        kind = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
        assert parts == {web.server.origin + path_of(each): (kind, each.content) for each in wanted}
        assert answer.headers.keys() & {"Transfer-Encoding", "Content-Length"}
        boundaries.add(answer.kind)
    assert len(boundaries) == 3


async def test_a_single_instance_can_be_continued_and_is_not_sent_twice(web: Web) -> None:
    made = web.made[0]
    accept = {"Accept": "application/dicom"}
    whole = await web.server.ask(path_of(made), headers=accept)
    assert (whole.status, whole.kind, whole.body) == (200, "application/dicom", made.content)
    assert whole.headers["Content-Length"] == str(len(made.content))
    rest = await web.server.ask(
        path_of(made), headers={**accept, "Range": "bytes=100-", "If-Range": whole.headers["ETag"]}
    )
    assert (rest.status, rest.body) == (206, made.content[100:])
    same = await web.server.ask(path_of(made), headers={**accept, "If-None-Match": whole.headers["ETag"]})
    assert (same.status, same.body) == (304, b"")
    head = await web.server.ask(path_of(made), method="HEAD", headers=accept)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(made.content)), b"")


async def test_what_cannot_be_sent_as_it_is_stored_is_refused(web: Web) -> None:
    made = web.made[0]
    for accept, level in (
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.90', "studies"),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2", "instances"),
        ("application/dicom", "series"),
        ("image/jpeg", "instances"),
        ("application/zip", "studies"),
    ):
        answer = await web.server.ask(path_of(made, level), headers={"Accept": accept})
        assert (answer.status, answer.document["error"]) == (406, "not-acceptable"), accept


async def test_what_does_not_exist_or_is_hidden_is_not_found(web: Web) -> None:
    made, other = web.made[0], web.made[-1]
    study = f"/dicom-web/studies/{made.study_uid}"
    for path in (
        "/dicom-web/studies/1.2.3",
        f"{study}/series/{other.series_uid}",
        f"{study}/series/{made.series_uid}/instances/{other.sop_uid}",
        f"{study}/series/{made.series_uid}/instances/..%2F..%2Fetc",
        *(path_of(web.secret, level) for level in ("studies", "series", "instances")),
    ):
        answer = await web.server.ask(path)
        assert (answer.status, answer.kind, answer.document["error"]) == (404, "application/json", "not-found"), path
    token = await web.server.log_in("alice", "pass: word")
    assert (await web.server.ask(path_of(web.secret), token=token)).status == 200


async def test_a_file_that_has_changed_is_never_a_part_of_an_answer(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "served", instances(series=1, per_series=2, rows=512))
    first, last = sorted(made, key=lambda each: each.path)
    async with served(Root(tmp_path / "served"), catalogue=tmp_path / "catalog.sqlite") as server:
        (tmp_path / "served" / last.path).write_bytes(b"changed")
        with pytest.raises(aiohttp.ClientPayloadError):
            await server.ask(path_of(last, "series"))
        assert "has changed since the scan" in (server.log[-1].note or "")
        (tmp_path / "served" / first.path).write_bytes(b"changed")
        for accept in ("*/*", "application/dicom"):
            answer = await server.ask(path_of(first), headers={"Accept": accept})
            assert (answer.status, answer.document["error"]) == (500, "internal-server-error")
            assert str(tmp_path) not in answer.body.decode()


# --- metadata, frames, pictures ---------------------------------------------------------------------------------------


async def test_metadata_has_all_attributes_and_addresses_of_pixels(web: Web) -> None:
    made = web.made[0]
    for level, count in (("studies", 6), ("series", 3), ("instances", 1)):
        assert len(await found(web, path_of(made, level).removeprefix("/dicom-web") + "/metadata")) == count
    (one,) = await found(web, path_of(made).removeprefix("/dicom-web") + "/metadata")
    assert one["00280010"] == {"vr": "US", "Value": [8]}
    assert one["00100010"]["Value"] == [{"Alphabetic": f"PATIENT^{made.patient_id[-8:]}"}]
    assert one["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    address = one["7FE00010"]["BulkDataURI"]
    assert address == f"{web.server.origin}{path_of(made)}/bulkdata/7FE00010"
    ((headers, pixels),) = parts_of(await web.server.ask(address.removeprefix(web.server.origin)))
    assert headers["Content-Type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert len(pixels) == 128
    assert made.content.endswith(pixels)
    (umlaut,) = await found(web, f"/studies/{UMLAUT}/metadata")
    assert umlaut["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
    assert umlaut["00080005"]["Value"] == ["ISO_IR 192"]


async def test_metadata_of_a_file_that_cannot_be_read_are_its_uids(web: Web, tmp_path: Path) -> None:
    made = web.of(web.made[0].series_uid)
    broken = made[1]
    path = tmp_path / "served" / broken.path
    path.write_bytes(broken.content[:-64])
    web.server.catalogue.scan([Root(tmp_path / "served")])
    series = await found(web, path_of(broken, "series").removeprefix("/dicom-web") + "/metadata")
    (short,) = (one for one in series if one["00080018"]["Value"] == [broken.sop_uid])
    assert set(short) == {"00080005", "00080018", "0020000D", "0020000E"}
    assert len(series) == 3
    assert broken.sop_uid in (web.server.log[-1].note or "")
    answer = await web.server.ask(f"{path_of(broken)}/metadata")
    assert (answer.status, answer.document["error"]) == (500, "internal-server-error")


async def test_frames_are_the_bytes_of_the_file(web: Web) -> None:
    made, kind = web.made[0], "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    for accept in (
        "multipart/related; type=application/octet-stream; transfer-syntax=*",  # OHIF
        'multipart/related; type="*/*"',  # dicomweb-client
        'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1',
        "*/*",
    ):
        answer = await web.server.ask(f"{path_of(made)}/frames/1", headers={"Accept": accept})
        ((headers, frame),) = parts_of(answer)
        assert (headers["Content-Type"], len(frame), made.content.endswith(frame)) == (kind, 128, True), accept
    single = await web.server.ask(f"{path_of(made)}/frames/1", headers={"Accept": "application/octet-stream"})
    assert (single.kind, len(single.body), made.content.endswith(single.body)) == (kind, 128, True)


async def test_compressed_frames_are_sent_as_they_are_stored(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    frames = [jpeg(bytes(index) + b"x") for index in range(3)]
    (tmp_path / "served" / "file.dcm").write_bytes(encapsulated(frames, NumberOfFrames=3))
    instance = "/dicom-web/studies/1.2.3.2/series/1.2.3.3/instances/1.2.3.4"
    async with served(Root(tmp_path / "served"), catalogue=tmp_path / "catalog.sqlite") as server:
        for accept in (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            'multipart/related; type="image/jls"',
            "multipart/related; type=image/*; transfer-syntax=1.2.840.10008.1.2.4.80",
        ):
            answer = await server.ask(f"{instance}/frames/3,1", headers={"Accept": accept})
            (third, first) = parts_of(answer)
            assert third[0]["Content-Type"] == "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"
            assert third[0]["Content-Location"] == f"{server.origin}{instance}/frames/3"
            assert [first[1].rstrip(b"\0"), third[1].rstrip(b"\0")] == [frames[0], frames[2]]
        whole = parts_of(await server.ask(f"{instance}/bulkdata/7FE00010"))
        assert [frame.rstrip(b"\0") for _, frame in whole] == frames
        for path, accept, status in (
            ("frames/4", "*/*", 404),
            ("frames/0", "*/*", 404),
            ("frames/1,x", "*/*", 404),
            ("frames/4/rendered", "*/*", 404),
            ("bulkdata/00280010", "*/*", 404),
            ("bulkdata/a/b", "*/*", 404),
            ("frames/1", "application/octet-stream", 406),
            ("frames/1", 'multipart/related; type="image/jpeg"', 406),
            ("frames/1", "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", 406),
            ("rendered", "*/*", 406),
            ("rendered", "image/gif", 406),
        ):
            refused = await server.ask(f"{instance}/{path}", headers={"Accept": accept})
            assert (refused.status, refused.kind) == (status, "application/json"), (path, accept)


async def test_pictures_are_jpeg_or_what_the_client_takes(web: Web) -> None:
    made = web.made[0]
    jpeg_, png = (b"\xff\xd8", "image/jpeg"), (b"\x89P", "image/png")
    for path, accept, wanted in (
        (f"{path_of(made)}/rendered", "*/*", jpeg_),
        (f"{path_of(made)}/rendered", "image/png", png),
        (f"{path_of(made)}/rendered", "image/gif, image/*;q=0.5", jpeg_),
        (f"{path_of(made)}/rendered?window=40,400,linear&viewport=4,4", "*/*", jpeg_),
        (f"{path_of(made, 'series')}/rendered", "image/png;q=0.5, image/jpeg;q=0.1", png),
        (f"{path_of(made)}/frames/1/rendered", "image/jpeg", jpeg_),
        (f"{path_of(made)}/thumbnail", "*/*", jpeg_),
        (f"{path_of(made, 'series')}/thumbnail", "*/*", jpeg_),
    ):
        answer = await web.server.ask(path, headers={"Accept": accept})
        assert (answer.status, answer.body[:2], answer.kind) == (200, *wanted), path
    both = await web.server.ask(f"{path_of(made)}/frames/1,1/rendered")
    assert [content[:2] for _, content in parts_of(both)] == [b"\xff\xd8"] * 2
    for query in ("window=1", "window=1,0", "window=a,b,linear", "window=nan,1", "viewport=x"):
        answer = await web.server.ask(f"{path_of(made)}/rendered?{query}")
        assert answer.status == 400, query


# --- WADO-URI ---------------------------------------------------------------------------------------------------------


async def test_wado_uri_finds_an_instance_of_two_studies_in_each(web: Web, tmp_path: Path) -> None:
    made = [one(SOPInstanceUID="1.2.3", SeriesInstanceUID=f"1.4.{n}", StudyInstanceUID=f"1.5.{n}") for n in (1, 2)]
    for number, content in enumerate(made, start=1):
        put(tmp_path / "served", f"LUNG/{number}.dcm", content)
    web.server.catalogue.scan([Root(tmp_path / "served")])
    for number, content in enumerate(made, start=1):
        query = f"requestType=WADO&contentType=application/dicom&studyUID=1.5.{number}&objectUID=1.2.3"
        answer = await web.server.ask(f"/wado?{query}")
        assert (answer.status, answer.body) == (200, content)


async def test_wado_uri_sends_the_file_or_a_picture(web: Web) -> None:
    made = web.made[0]
    uids = f"&studyUID={made.study_uid}&seriesUID={made.series_uid}&objectUID={made.sop_uid}"
    for content_type in ("application/dicom", "application%2Fdicom", "application%2Fdicom&transferSyntax=*"):
        answer = await web.server.ask(f"/wado?requestType=WADO{uids}&contentType={content_type}")
        assert (answer.status, answer.kind, answer.body) == (200, "application/dicom", made.content), content_type
    only = await web.server.ask(f"/wado?requestType=WADO&objectUID={made.sop_uid}&contentType=application/dicom")
    assert only.body == made.content
    for more, begin, kind in (
        ("", b"\xff\xd8", "image/jpeg"),
        ("&contentType=image/png,image/jpeg;q=0.5", b"\x89P", "image/png"),
        ("&frameNumber=1&rows=4&columns=4&windowCenter=40&windowWidth=400", b"\xff\xd8", "image/jpeg"),
    ):
        answer = await web.server.ask(f"/wado?requestType=WADO{uids}{more}")
        assert (answer.status, answer.body[:2], answer.kind) == (200, begin, kind), more
    secret = f"&studyUID={web.secret.study_uid}&seriesUID={web.secret.series_uid}&objectUID={web.secret.sop_uid}"
    for query, status in (
        (uids, 400),
        ("&requestType=WADO", 400),
        (f"&requestType=WADO{uids}&windowCenter=1", 400),
        (f"&requestType=WADO{uids}&frameNumber=0", 400),
        (f"&requestType=WADO{secret}", 404),
        (f"&requestType=WADO&objectUID={web.secret.sop_uid}", 404),
        (f"&requestType=WADO{uids.replace(made.study_uid, UMLAUT)}", 404),
        (f"&requestType=WADO{uids}&contentType=video/mpeg", 406),
        (f"&requestType=WADO{uids}&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2", 406),
    ):
        assert (await web.server.ask(f"/wado?a=b{query}")).status == status, query

"""DICOMweb over real sockets: searches, retrieval, metadata, frames and pictures."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from bulkdl.model.ids import StudyUid
from tests.server.dicomweb.conftest import UMLAUT, Web

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

"""The documented answers of every API, over real sockets, from files with the same values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio

from bulkdl.archive.nbia.endpoints import Answer
from bulkdl.server.access import AccessRules
from bulkdl.server.nbia.apis import APIS, Api
from bulkdl.server.nbia.renderings import RENDERINGS, TCIA_RENDERINGS
from tests.support.documented import CT_SERIES, FIRST_STUDY, SEG_SERIES, write_documented
from tests.support.served import Answer as Received
from tests.support.served import Served, served

DATA = Path(__file__).parents[2] / "data" / "answers"
V3 = "/services/v3/TCIA/query"
OF_FIRST_STUDY = {"StudyInstanceUID": FIRST_STUDY}
OF_CT = {"SeriesInstanceUID": CT_SERIES}


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Served]:
    root = write_documented(tmp_path / "files")
    async with served(
        root, catalogue=tmp_path / "catalog.sqlite", rules=AccessRules(keys=frozenset({"key"}))
    ) as running:
        yield running


def untold(document: Any) -> Any:
    """An answer without third-party analysis, which no file contains."""
    return [
        {name: value for name, value in row.items() if not name.replace(" ", "").endswith("PartyAnalysis")}
        for row in document
    ]


async def asked(archive: Served, path: str, query: dict[str, str]) -> Received:
    is_v2 = path.startswith("v2") or "/" not in path
    if path.startswith("/"):
        return await archive.ask(path, params=query, headers={"api_key": "key"})
    return await archive.nbia(path, params=query, token=await archive.log_in() if is_v2 else None)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("endpoint", "query"),
    [
        ("getPatient", {}),
        ("getPatientStudy", {"PatientID": "demo-lung-001"}),
        ("getSeries", OF_FIRST_STUDY),
        ("getSeriesSize", OF_CT),
        ("getSOPInstanceUIDs", OF_CT),
        ("getModalityValues", {}),
        ("getPatientByCollectionAndModality", {"Collection": "DEMO-LUNG", "Modality": "CT"}),
        ("getSeriesMetaData", OF_CT),
    ],
)
async def test_search(archive: Served, version: str, endpoint: str, query: dict[str, str]) -> None:
    wanted = json.loads((DATA / f"nbia_v1_{endpoint}.json").read_text())
    if endpoint == "getPatientByCollectionAndModality":
        wanted = wanted[:1]  # the second has no CT here
    answer = await asked(archive, f"{version}/{endpoint}", query)
    assert (answer.status, answer.kind) == (200, "application/json")
    # NBIA promises no order.
    assert sorted(untold(answer.document), key=str) == sorted(untold(wanted), key=str)
    assert [list(row) for row in answer.document] or not wanted


async def test_updated_series_begin_with_their_first_attribute(archive: Served) -> None:
    wanted = json.loads((DATA / "nbia_v1_getUpdatedSeries.json").read_text())
    answer = await archive.nbia("v1/getUpdatedSeries", params={"fromDate": "14/07/2021"})
    found = [row for row in answer.document if row.get("StudyInstanceUID") == FIRST_STUDY]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert (await archive.nbia("v1/getUpdatedSeries", params={"fromDate": "15/07/2021"})).body == b""
    assert (await archive.nbia("v1/getUpdatedSeries", params={"fromDate": "07/15/2021"})).body == b""


@pytest.mark.parametrize(
    ("endpoint", "query", "form"),
    [("getPatient", {}, "json"), ("getSeries", OF_FIRST_STUDY, "json"), ("getSeries", OF_FIRST_STUDY, "csv")],
)
async def test_v4_search(archive: Served, endpoint: str, query: dict[str, str], form: str) -> None:
    sample = (DATA / f"nbia_v4_{endpoint}.{form}").read_text()
    answer = await archive.nbia(f"v4/{endpoint}", params={**query, "format": form})
    if form == "json":
        assert untold(answer.document) == untold(json.loads(sample))
        assert [list(row) for row in untold(answer.document)] == [list(row) for row in untold(json.loads(sample))]
    else:
        assert answer.kind == "text/csv"
        assert answer.body.decode() == sample.replace('"NO","1"', '"","1"').replace('"YES","1"', '"","1"')


async def test_v4_metadata_of_many_series_is_an_attachment(archive: Served) -> None:
    sample = (DATA / "nbia_v4_getSeriesMetadata.csv").read_text()
    form = {"list": f"{CT_SERIES}, {SEG_SERIES},1.2.3"}
    answer = await archive.nbia("v4/getSeriesMetadata", method="POST", data=form)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="SeriesMetaData.csv"'
    told = sample.replace('"NO","1"', '"","1"').replace('"YES","1"', '"","1"').replace('"0.703","2.5"', '"",""')
    assert answer.body.decode() == told
    assert answer.kind == "text/csv"


@pytest.mark.parametrize("repeated", [True, False])
async def test_v4_metadata_takes_ten_thousand_uids(archive: Served, repeated: bool) -> None:  # noqa: FBT001 - a parameter
    uids = [f"1.2.3.{number}.{'4' * 40}" for number in range(9_999)] + [CT_SERIES]
    form = [("list", uid) for uid in uids] if repeated else [("list", ",".join(uids))]
    answer = await archive.nbia("v4/getSeriesMetadata", method="POST", data=[*form, ("format", "json")])
    assert [row["SeriesInstanceUID"] for row in answer.document] == [CT_SERIES]


async def test_v4_rejects_an_unknown_parameter(archive: Served) -> None:
    answer = await archive.nbia("v4/getPatientStudy", params={"PatientId": "x"})
    sample = (DATA / "nbia_v4_error_400_unknown_param.txt").read_text()
    start, _, names = sample.strip().removesuffix("]").partition("[")
    assert answer.status == 400
    assert answer.body.decode().startswith(start)
    assert set(answer.body.decode().removesuffix("]").partition("[")[2].split(", ")) == set(names.split(", "))


@pytest.mark.parametrize("resource", ["v3", "v4"])
@pytest.mark.parametrize(
    ("endpoint", "query", "form"),
    [
        ("getSeries", OF_FIRST_STUDY, "json"),
        ("getSeries", OF_FIRST_STUDY, "xml"),
        ("getSeriesSize", OF_CT, "json"),
        ("getPatientStudy", OF_FIRST_STUDY, "json"),
    ],
)
async def test_tcia_search(archive: Served, resource: str, endpoint: str, query: dict[str, str], form: str) -> None:
    sample = (DATA / f"v3_{endpoint}.{form}").read_bytes()
    answer = await asked(archive, f"/services/{resource}/TCIA/query/{endpoint}", {**query, "format": form})
    assert (answer.status, answer.kind) == (200, f"application/{form}")
    assert answer.body == sample
    assert {"Bindaas-version", "Vendor", "responseTime"} <= set(answer.headers)


async def test_tcia_patients(archive: Served) -> None:
    (sample,) = json.loads((DATA / "v3_getPatient.json").read_text())
    assert sample in (await asked(archive, f"{V3}/getPatient", {"Collection": "demo-lung"})).document


async def test_tcia_writes_csv_whose_rows_begin_with_a_line_break(archive: Served) -> None:
    answer = await asked(archive, f"{V3}/getCollectionValues", {"format": "CSV"})
    assert (answer.kind, answer.body) == ("application/csv", b"Collection\nDEMO-LUNG")
    assert (DATA / "v3_getCollectionValues.csv").read_bytes().startswith(answer.body)


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("json", b"[]"),
        ("csv", b"TotalSizeInBytes,ObjectCount"),
        ("xml", b"<Results>\n</Results>"),
    ],
)
async def test_tcia_sends_a_heading_without_rows(archive: Served, form: str, body: bytes) -> None:
    answer = await asked(archive, f"{V3}/getSeriesSize", {"SeriesInstanceUID": "1.2", "format": form})
    assert (answer.status, answer.body) == (200, body)


async def test_tcia_writes_a_page(archive: Served) -> None:
    answer = await asked(archive, f"{V3}/getPatient", {"format": "html"})
    assert answer.kind == "text/html"
    assert answer.body.startswith(b"<HTML>")
    assert b"<TABLE id='data' BORDER=1><thead><TR><TH>PatientID</TH>" in answer.body


@pytest.mark.parametrize(
    ("path", "query", "status", "sample"),
    [
        (f"{V3}/getNothing", {}, 500, "v3_error_500.json"),
        (f"{V3}/getNothing/metadata", {}, 500, "v3_error_500.json"),
        (f"{V3}/getSeriesSize", {}, 471, "v3_error_471_missing_param.json"),
    ],
)
async def test_tcia_errors(archive: Served, path: str, query: dict[str, str], status: int, sample: str) -> None:
    answer = await asked(archive, path, query)
    assert (answer.status, answer.kind) == (status, "application/json")
    assert answer.body == (DATA / sample).read_bytes()


async def test_tcia_sends_errors_for_an_instance_as_json(archive: Served) -> None:
    answer = await asked(archive, f"{V3}/getSingleImage", {**OF_CT, "SOPInstanceUID": "1.2"})
    said = {"errorMessage": "java.lang.IndexOutOfBoundsException: Index: 0, Size: 0"}
    assert (answer.status, answer.document) == (500, said)


async def test_tcia_describes_an_endpoint(archive: Served) -> None:
    told = (await asked(archive, f"{V3}/getPatientStudy/metadata", {})).document
    sample = json.loads((DATA / "v3_metadata_getPatientStudy.json").read_text())
    assert set(told) == set(sample)
    for part in ("name", "queryParameters", "returnTypes"):
        assert told[part] == sample[part]
    tags = {attribute["name"]: attribute["dicomTag"] for attribute in told["attributes"]}
    assert {attribute["name"]: attribute["dicomTag"] for attribute in sample["attributes"]}.items() <= tags.items()


async def test_counts(archive: Served) -> None:
    answer = await archive.nbia("getCollectionValuesAndCounts", token=await archive.log_in())
    assert answer.body == b'[{"criteria":"DEMO-LUNG","count":"2"}]'
    assert json.loads((DATA / "advanced_getCollectionValuesAndCounts.json").read_text())[0] == answer.document[0]
    answer = await archive.nbia("v4/getCollectionValuesAndCounts")
    assert answer.body == b'[{"Collection":"DEMO-LUNG","Count":2,"Authorized":1}]'
    assert json.loads((DATA / "nbia_v4_getCollectionValuesAndCounts.json").read_text())[0] == answer.document[0]


async def test_what_a_doi_names(archive: Served) -> None:
    form = {"DOI": "10.7937/K9/TCIA.2099.EXAMPLE1", "CollectionOrSeries": ""}
    answer = await archive.nbia("getCollectionOrSeriesForDOI", method="POST", data=form, token=await archive.log_in())
    assert answer.body == (DATA / "advanced_getCollectionOrSeriesForDOI.json").read_bytes()


async def test_dicom_tags(archive: Served) -> None:
    told = (await archive.nbia("v4/getDicomTags", params={"SeriesUID": CT_SERIES})).document
    for row in json.loads((DATA / "nbia_v4_getDicomTags.json").read_text()):
        assert row in told
    assert (await archive.nbia("v4/getDicomTags", params={"SeriesUID": "1.2"})).body == b""


async def test_simple_search(archive: Served) -> None:
    form = {"criteriaType0": "PatientCriteria", "value0": "demo-lung-001", "start": "0", "size": "10"}
    told = (await archive.nbia("v4/getSimpleSearch", method="POST", data=form)).document
    sample = json.loads((DATA / "nbia_v4_getSimpleSearch.json").read_text())
    (patient,), (wanted,) = told.pop("resultSet"), sample.pop("resultSet")
    assert set(patient) == set(wanted)
    for part in ("subjectId", "project", "totalNumberOfStudies", "totalNumberOfSeries", "modalities", "bodyParts"):
        assert patient[part] == wanted[part]
    assert [len(study["seriesIdentifiers"]) for study in patient["studyIdentifiers"]] in ([2, 1], [1, 2])
    assert sample.items() <= told.items()


async def test_refuses_hidden_images_as_documented(archive: Served) -> None:
    uid = "1.3.6.1.4.1.14519.5.2.1.9999.1001.999"
    sample = {
        version: (DATA / name).read_text().strip().replace(f"{uid[:-3]}701129954820337561104488297315", uid)
        for version, name in (("v1", "nbia_v1_error_400_not_public.txt"), ("v2", "nbia_v2_error_400_no_access.txt"))
    }
    for version, wanted in (("v1", sample["v1"]), ("v2", sample["v2"]), ("v4", sample["v2"])):
        answer = await asked(archive, f"{version}/getImage", {"SeriesInstanceUID": uid})
        assert (answer.status, answer.body.decode()) == (400, wanted)
    answer = await asked(archive, "v2/getDCMImage", {"SeriesInstanceUID": uid})
    assert answer.body.decode() == sample["v1"]


async def test_answers_a_login_as_documented(archive: Served) -> None:
    form = {"username": "nbia_guest", "password": "", "grant_type": "password", "client_id": "nbia"}
    for path in ("/nbia-api/oauth/token", "/nbia-api/services/oauth/token"):
        answer = await archive.ask(path, method="POST", data=form)
        assert list(answer.document) == list(json.loads((DATA / "token_200.json").read_text()))
        assert (answer.document["expires_in"], answer.headers["Cache-Control"]) == (7200, "no-store")
    answer = await archive.ask(path, method="POST", data={**form, "username": "nobody"})
    assert (answer.status, answer.body) == (401, (DATA / "token_401.json").read_bytes().strip())


# --- every format of every endpoint -----------------------------------------------------------------------------------

FORMATTED = [
    (api, endpoint)
    for api in APIS
    for endpoint in api.endpoints.values()
    if endpoint.has_format and endpoint.answer is Answer.ROWS
]
VALUES = {
    "collection": "DEMO-LUNG",
    "modality": "CT",
    "series_uid": CT_SERIES,
    "user": "nobody",
    "series_uids": f"{CT_SERIES},1.2",
}


def count_of(form: str, body: bytes) -> int:
    """How many rows an answer of that format has."""
    if form == "xml":
        return len(ET.fromstring(body))  # noqa: S314 - our own
    if form == "html":
        return body.count(b"<TR>") - 1
    if form == "json":
        return len(json.loads(body))
    return sum(1 for _ in csv.reader(io.StringIO(body.decode(), newline=""))) - 1


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
async def test_every_format_of_every_endpoint_tells_the_same_rows(archive: Served, api: Api) -> None:
    token = await archive.log_in()
    for endpoint in (endpoint for of, endpoint in FORMATTED if of is api):
        values = [
            (p.name, VALUES.get(p.field, "")) for p in endpoint.parameters if p.required or p.field == "series_uids"
        ]
        if (since := next((p for p in endpoint.parameters if p.date_form is not None), None)) is not None:
            values = [*((name, value) for name, value in values if name != since.name)]
            values.append((since.name, date(1990, 1, 1).strftime(since.date_form or "")))
        counts = {}
        for form in ("json", "csv", "xml", "html"):
            headers = {"api_key": "key"} if api.is_tcia else {"Authorization": f"Bearer {token}"}
            answer = await archive.endpoint(api, endpoint, [*values, ("format", form)], headers=headers)
            assert answer.status == 200, (endpoint.name, answer.body)
            wanted = (TCIA_RENDERINGS if api.is_tcia else RENDERINGS)[form.upper()].content_type
            assert answer.kind == wanted, endpoint.name
            counts[form] = count_of(form, answer.body)
        assert len(set(counts.values())) == 1, (endpoint.name, counts)
        assert counts["json"] > 0, endpoint.name


async def test_the_metadata_of_one_series_as_csv(archive: Served) -> None:
    sample = (DATA / "nbia_v1_getSeriesMetaData.csv").read_text().replace('"DEMO-LUNG","NO",', '"DEMO-LUNG","",')
    assert (await archive.nbia("v1/getSeriesMetaData", params={**OF_CT, "format": "csv"})).body.decode() == sample

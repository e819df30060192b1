"""Hostile input: no request crashes the server, injects markup, or becomes a path."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from bulkdl.server.catalogue import About, Root
from bulkdl.server.nbia.apis import APIS, Credential
from tests.support.dicom_files import instances, write_folder
from tests.support.served import Served, served

HOSTILE = '<script>alert("1")</script>&\'%s" OR 1=1 --'
EVERY = [(api, endpoint) for api in APIS for endpoint in api.endpoints.values()]
WILD = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "../../../etc/passwd",
            "/etc/passwd",
            "\0",
            "%00",
            "' OR '1'='1",
            "<b>&",
            "9" * 5_000,
            "-1",
            "1e999",
            "²",
            "99-99-9999",
            "12-31-2020",
            "31/12/2020",
            "CSV",
            "all",
            "CollectionCriteria",
            "PatientAgeRangeCriteria",
            "DateRangeCriteria",
            "",
        ]
    ),
)


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Served]:
    (made,) = write_folder(tmp_path / "files", instances(series=1, per_series=1))
    path = tmp_path / "files" / made.path
    dataset = dcmread(path)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SeriesDescription = dataset.StudyDescription = HOSTILE
    dataset.PatientID = '<i>,"'
    dataset.save_as(path)
    path.write_bytes(path.read_bytes().replace(b"CHEST ", b"C\x0bH\x01E\x85"))
    about = About(description=HOSTILE, citation=HOSTILE, license_name=HOSTILE, collection_uri=HOSTILE)
    async with served(Root(tmp_path / "files", HOSTILE, about), catalogue=tmp_path / "catalog.sqlite") as running:
        yield running


def test_no_parameter_breaks_the_server(tmp_path: Path) -> None:
    """A 500 is the documented answer to an unknown instance or format, with the documented text."""
    known = (b"Server was not able to process your request\nnull", b'{"errorMessage":"')

    async def ask(values: list[tuple[str, str]], place: int, numbered: list[str]) -> None:
        api, endpoint = EVERY[place % len(EVERY)]
        names = [parameter.name + ("0" if parameter.is_numbered else "") for parameter in endpoint.parameters]
        sent = [*zip(names, numbered, strict=False), *values]
        headers = (
            {"Authorization": f"Bearer {token}"}
            if api.credential in {Credential.TOKEN, Credential.OPTIONAL_TOKEN}
            else {}
        )
        answer = await running.endpoint(api, endpoint, sent, headers=headers)
        assert answer.status in {200, 204, 400, 404, 471, 500}
        if answer.status == 500:
            assert answer.body.startswith(known)
            notes = running.log[-1].note or ""
            assert notes.startswith(("no such", "unknown format", "the instance does not exist")), notes

    write_folder(tmp_path / "files", instances(series=1, per_series=1))
    with asyncio.Runner() as runner:
        context = served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite")
        running = runner.run(context.__aenter__())
        token = runner.run(running.log_in())

        @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.lists(st.tuples(st.sampled_from(["format", "Collection", "criteriaType0", "x", ""]), WILD), max_size=2),
            st.integers(0, len(EVERY) - 1),
            st.lists(WILD, max_size=8),
        )
        def check(values: list[tuple[str, str]], place: int, numbered: list[str]) -> None:
            runner.run(ask(values, place, numbered))

        try:
            check()
        finally:
            runner.run(context.__aexit__(None, None, None))


async def test_pages_escape_markup_in_files(archive: Served) -> None:
    for path in (
        *("/", "/nbia-api/services/v1/getSeries?format=HTML", "/nbia-api/services/v4/getPatient?format=html"),
        *("/services/v3/TCIA/query/getSeries?format=HTML", "/services/v3/TCIA/query/getCollectionValues?format=HTML"),
    ):
        answer = await archive.ask(path)
        assert answer.kind.startswith("text/html")
        assert b"<script>" not in answer.body
        assert b"<i>" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/nbia-api/services/v1/getSeries?format=xml",
        "/nbia-api/services/v4/getPatientStudy?format=xml",
        "/services/v3/TCIA/query/getSeries?format=xml",
        "/services/v3/TCIA/query/getBodyPartValues?format=xml",
    ],
)
async def test_xml_can_be_parsed_for_any_values_of_a_file(archive: Served, path: str) -> None:
    answer = await archive.ask(path)
    assert len(ET.fromstring(answer.body)) == 1  # noqa: S314 - our own


@pytest.mark.parametrize("name", ["getSeriesMetaData", "getSeriesMetadata"])
async def test_xml_of_names_with_blanks_can_be_parsed(archive: Served, name: str) -> None:
    uid = (await archive.nbia("v1/getSeries")).document[0]["SeriesInstanceUID"]
    answer = (
        await archive.nbia(f"v1/{name}?SeriesInstanceUID={uid}&format=xml")
        if name == "getSeriesMetaData"
        else await archive.nbia("v4/getSeriesMetadata", method="POST", data={"list": uid, "format": "xml"})
    )
    assert len(ET.fromstring(answer.body)) == 1  # noqa: S314 - our own


async def test_an_error_is_never_sent_as_html(archive: Served) -> None:
    for path in (
        f"/nbia-api/services/v1/getImage?SeriesInstanceUID={HOSTILE}",
        f"/nbia-api/services/v4/getSeries?{HOSTILE.replace('=', '')}=1",
        "/services/v3/TCIA/query/<script>alert(1)</script>",
    ):
        answer = await archive.ask(path)
        assert answer.status in {400, 500}
        assert "html" not in answer.kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xfe=%ff&list=%zz", "application/x-www-form-urlencoded"),
        (b"list=1", "application/x-www-form-urlencoded; charset=nonsense"),
        (b"list=1", "multipart/form-data; boundary=x"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"{}", "application/json"),
        (b"&".join([b"a=1"] * 100_001), "application/x-www-form-urlencoded"),
        (os.urandom(1000), "multipart/form-data"),
    ],
    ids=["bytes", "charset", "no-parts", "broken-parts", "json", "too-many", "no-boundary"],
)
@pytest.mark.parametrize("path", ["v4/getSeriesMetadata", "oauth/token"])
async def test_rejects_a_form_that_cannot_be_read(archive: Served, path: str, body: bytes, kind: str) -> None:
    answer = await archive.nbia(path, method="POST", data=body, headers={"Content-Type": kind})
    assert answer.status in {200, 400}


async def test_rejects_an_endless_form(archive: Served) -> None:
    form = b"list=" + b"1" * (1 << 24)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (
        await archive.nbia("v4/getSeriesMetadata", method="POST", data=io.BytesIO(form), headers=kind)
    ).status == 413

"""An archive as an object, against an embedded one."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio

import bulkdl
from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, NBIA_V1, NBIA_V2, NBIA_V4, TCIA_V3
from bulkdl.errors import ConfigurationError, UnexpectedAnswer
from bulkdl.model.events import Event, Noted
from bulkdl.verbs.connections.connected_archive import ConnectedArchive, python_name
from tests.support.commands import RunningArchive, serve
from tests.support.dicom_files import instances, write_folder
from tests.support.faults import FaultyServer, in_turn, json

MADE_UP = list(instances(series=1, per_series=2))
SERIES = MADE_UP[0].series_uid


@pytest.fixture(scope="module")
def running(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    folder = tmp_path_factory.mktemp("archive")
    write_folder(folder, instances(series=3, per_series=2, collection="FIRST"))
    with serve(folder, cache=cache, log=tmp_path_factory.mktemp("log") / "access.jsonl") as running:
        yield running


@pytest_asyncio.fixture
async def archive(running: RunningArchive) -> AsyncIterator[ConnectedArchive]:
    async with bulkdl.connect(f"nbia-v1+{running.url}") as connected:
        yield connected


async def test_a_list_of_records_has_our_words_and_types(archive: ConnectedArchive) -> None:
    found = await archive.get_series(collection="FIRST")
    assert isinstance(found, bulkdl.Records)
    assert len(found) == 3
    first = found[0]
    assert first.series_uid == first["series_uid"] == first.raw["SeriesInstanceUID"]
    assert isinstance(first.image_count, int)
    assert isinstance(first.study_date, date)
    assert first.license_name is None


async def test_records_come_one_by_one(archive: ConnectedArchive) -> None:
    assert [record.collection async for record in archive.get_collection_values()] == ["FIRST"]


async def test_criteria_may_be_named_as_they_go_over_the_wire(
    archive: ConnectedArchive, running: RunningArchive
) -> None:
    ours = await archive.get_patient(patient_id="PATIENT-00000001")
    assert await archive.get_patient(PatientId="PATIENT-00000001") == ours
    assert running.requests()[-1].query["PatientId"] == ["PATIENT-00000001"]


async def test_a_file_comes_whole_or_in_pieces(archive: ConnectedArchive) -> None:
    series_uid = (await archive.get_series())[0].series_uid
    sop_uid = (await archive.get_sop_instance_uids(series_uid=series_uid))[0].sop_uid
    question = archive.get_single_image(series_uid=series_uid, sop_uid=sop_uid)
    content = await question
    assert content[128:132] == b"DICM"
    assert b"".join([chunk async for chunk in question]) == content


async def test_a_text_comes_as_text(archive: ConnectedArchive) -> None:
    series_uid = (await archive.get_series())[0].series_uid
    sop_uid = (await archive.get_sop_instance_uids(series_uid=series_uid))[0].sop_uid
    assert len(await archive.get_m5_hash_for_image(sop_uid=sop_uid)) == 32


@pytest.mark.parametrize(
    ("endpoint", "criteria", "message"),
    [
        ("getSerie", {}, "did you mean getSeries"),
        ("getSeries", {"colection": "FIRST"}, "did you mean collection"),
        ("getSeriesSize", {}, "requires SeriesInstanceUID"),
        ("getSeries", {"collection": ["A", "B"]}, "accepts Collection only once"),
        ("getSeries", {"collection": date(2024, 1, 31)}, "is not a date"),
    ],
    ids=["endpoint", "criterion", "required", "several", "kind"],
)
async def test_asks_nothing_that_is_wrong(
    archive: ConnectedArchive, endpoint: str, criteria: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        archive.ask(endpoint, **criteria)


async def test_an_endpoint_of_another_api_is_not_a_method(archive: ConnectedArchive) -> None:
    assert "get_series" in dir(archive)
    assert not hasattr(archive, "patients_by_modality")


async def test_methods_say_what_they_take_and_return(archive: ConnectedArchive) -> None:
    assert "collection" in inspect.signature(archive.get_series).parameters
    assert "series_uid: Series Instance UID" in (archive.get_series.__doc__ or "")


async def test_dates_are_written_as_each_endpoint_wants_them() -> None:
    async with FaultyServer(in_turn(json("[]"))) as server:
        for kind, expected in (("nbia-v1", "2024/01/31"), ("nbia-v4", "01-31-2024")):
            async with bulkdl.connect(f"{kind}+{server.url}nbia-api/services") as archive:
                await archive.new_patients_in_collection(collection="A", since=date(2024, 1, 31))
            assert expected in server.requests[-1].query.values()


async def test_an_invalid_row_is_announced_and_skipped() -> None:
    notes: list[Event] = []
    rows = '[{"SeriesInstanceUID": "1.2.3", "ImageCount": "many"}, {"SeriesInstanceUID": "../../etc"}]'
    async with (
        FaultyServer(in_turn(json(rows))) as server,
        bulkdl.connect(f"nbia-v1+{server.url}nbia-api/services", sink=notes.append) as archive,
    ):
        (record,) = await archive.get_series()
    assert (record.series_uid, record.image_count, record.raw["ImageCount"]) == ("1.2.3", None, "many")
    assert [note for note in notes if isinstance(note, Noted)]


async def test_a_response_that_is_not_a_list_is_an_error() -> None:
    async with (
        FaultyServer(in_turn(json("<html>maintenance</html>"))) as server,
        bulkdl.connect(f"nbia-v1+{server.url}nbia-api/services") as archive,
    ):
        with pytest.raises(UnexpectedAnswer, match="getSeries"):
            await archive.get_series()


@pytest.mark.parametrize("family", [NBIA_V1, NBIA_V2, NBIA_V4, NBIA_ADVANCED, TCIA_V3])
def test_every_endpoint_has_a_unique_method_name(family: dict[str, object]) -> None:
    names = [python_name(name) for name in family]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name == name.lower() for name in names)


@pytest.mark.parametrize(
    ("endpoint", "method"),
    [
        ("getSOPInstanceUIDs", "get_sop_instance_uids"),
        ("getM5HashForImage", "get_m5_hash_for_image"),
        ("getImageWithMD5Hash", "get_image_with_md5_hash"),
        ("NewPatientsInCollection", "new_patients_in_collection"),
    ],
)
def test_methods_are_named_after_endpoints(endpoint: str, method: str) -> None:
    assert python_name(endpoint) == method

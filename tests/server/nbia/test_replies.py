"""Replies over real sockets: thumbnails and checksums."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from PIL import Image

from bulkdl.server.access import AccessRules
from bulkdl.server.catalogue import Root
from tests.support.dicom_files import instances, write_folder
from tests.support.dicom_samples import SERIES_UID, SOP_UID, encapsulated, encoded, image
from tests.support.served import Answer, Served, served
from tests.support.waiting import is_waiting, until

HASHES = {
    "v4/getMD5Hierarchy": {"Collection": "MADE-UP"},
    "getMD5Hierarchy": {"Collection": "MADE-UP", "PatientID": "PATIENT-00000000"},
}
NO_PICTURE = (400, b"The thumbnail could not be made.")
BROKEN = "1.2.3.5"
RULES = AccessRules(restricted=frozenset({"SECRET"}))


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Served]:
    for name, content in {
        "OPEN/a.dcm": encoded(image(SliceThickness="2.5", PixelSpacing=["0.75", "0.5"])),
        "OPEN/b.dcm": encapsulated([b"no JPEG"], SOPInstanceUID="1.2.3.5", SeriesInstanceUID=BROKEN),
        "SECRET/a.dcm": encoded(image(SOPInstanceUID="1.2.3.6", SeriesInstanceUID="1.2.3.6", PatientID="S")),
    }.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", rules=RULES) as running:
        yield running


async def picture(archive: Served, series_uid: str, sop_uid: str) -> Answer:
    form = {"seriesUID": series_uid, "objectUID": sop_uid}
    return await archive.nbia("v4/getThumbnail", method="POST", data=form)


async def test_a_thumbnail_is_a_jpeg(archive: Served) -> None:
    answer = await picture(archive, SERIES_UID, SOP_UID)
    assert (answer.status, answer.kind) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.body)) as shown:
        assert (shown.format, shown.size) == ("JPEG", (4, 4))


@pytest.mark.parametrize(
    ("series_uid", "sop_uid"),
    [(SERIES_UID, "1.2.9"), ("1.2.9", SOP_UID), (BROKEN, "1.2.3.5"), ("1.2.3.6", "1.2.3.6"), ("", "")],
    ids=["no such instance", "no such Series", "not decodable", "restricted", "nothing"],
)
async def test_says_the_same_for_everything_without_a_thumbnail(archive: Served, series_uid: str, sop_uid: str) -> None:
    answer = await picture(archive, series_uid, sop_uid)
    assert (answer.status, answer.body) == NO_PICTURE


async def test_a_file_that_changed_since_the_scan_has_no_thumbnail(archive: Served, tmp_path: Path) -> None:
    with (tmp_path / "files/OPEN/a.dcm").open("ab") as file:
        file.write(b"more")
    answer = await picture(archive, SERIES_UID, SOP_UID)
    assert (answer.status, answer.body) == NO_PICTURE


async def test_other_requests_do_not_wait_for_md5s(tmp_path: Path) -> None:
    """Those of all files of a Collection take hours."""
    made = write_folder(tmp_path / "files", instances(series=4, per_series=5))
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite") as archive:
        token = await archive.log_in()
        with archive.catalogue.writing():  # they wait for it when they are to be stored
            asked = [
                asyncio.create_task(archive.nbia(path, method="POST", data=form, token=token))
                for path, form in HASHES.items()
                for _ in range(4)
            ]
            asked += [asyncio.create_task(archive.nbia(f"v1/getM5HashForImage?SOPInstanceUid={made[0].sop_uid}"))]
            async with asyncio.timeout(30):
                for _ in range(50):
                    assert (await archive.nbia("v1/getSeries")).status == 200
            assert not any(task.done() for task in asked)
        answers = await asyncio.gather(*asked)
        assert {(answer.status, len(answer.body)) for answer in answers} == {(200, 32)}


async def test_the_md5_of_a_collection_is_given_up_when_its_client_leaves(tmp_path: Path) -> None:
    write_folder(tmp_path / "files", instances(series=1, per_series=50))
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite") as archive:
        form = b"Collection=MADE-UP"
        head = f"POST /nbia-api/services/v4/getMD5Hierarchy HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(form)}"
        kind = b"\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
        address = urlsplit(archive.origin)
        with archive.catalogue.writing():
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(head.encode() + kind + form)
            await until(lambda: is_waiting("_send_pieces"))
            writer.transport.abort()
            for _ in range(20):  # meanwhile the server sees that it has left
                assert (await archive.ask("/metrics")).status == 200
        await until(lambda: archive.log[-1].path_qs != "/metrics")
        assert (archive.log[-1].status, archive.log[-1].note) == (499, "the client has left")
        ((count,),) = archive.catalogue.select("SELECT count(*) FROM file WHERE md5 IS NOT NULL", ())
        assert count < 25

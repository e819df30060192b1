"""Replies over real sockets: thumbnails and checksums."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from bulkdl.server.access import AccessRules
from bulkdl.server.catalogue import Root
from tests.support.dicom_samples import SERIES_UID, SOP_UID, encapsulated, encoded, image
from tests.support.served import Answer, Served, served

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

"""Thumbnails, and searches by lengths, over real sockets."""

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
async def test_what_has_no_picture_is_refused_in_the_same_words(archive: Served, series_uid: str, sop_uid: str) -> None:
    answer = await picture(archive, series_uid, sop_uid)
    assert (answer.status, answer.body) == NO_PICTURE


async def test_a_file_that_changed_since_the_scan_has_no_picture(archive: Served, tmp_path: Path) -> None:
    with (tmp_path / "files/OPEN/a.dcm").open("ab") as file:
        file.write(b"more")
    answer = await picture(archive, SERIES_UID, SOP_UID)
    assert (answer.status, answer.body) == NO_PICTURE


async def test_metadata_tell_lengths(archive: Served) -> None:
    answer = await archive.nbia("v4/getSeriesMetadata", method="POST", data={"list": SERIES_UID, "format": "json"})
    (row,) = answer.document
    assert (row["PixelSpacing(mm)-Row"], row["SliceThickness(mm)"]) == (0.75, 2.5)


@pytest.mark.parametrize(
    ("kind", "least", "most", "found"),
    [
        ("PixelSpacingRangeCriteria", "0.7", "0.8", 1),
        ("PixelSpacingRangeCriteria", "0.75 mm", "", 1),
        ("PixelSpacingRangeCriteria", "0.4", "0.6", 0),
        ("SliceThicknessRangeCriteria", "", "2.5mm", 1),
        ("SliceThicknessRangeCriteria", "2.6", "", 0),
        ("SliceThicknessRangeCriteria", "0", "0", 0),
        ("SliceThicknessRangeCriteria", "", "", 1),
    ],
)
async def test_a_range_of_lengths_finds_what_lies_in_it(
    archive: Served, kind: str, least: str, most: str, found: int
) -> None:
    form = {"criteriaType0": kind, "from0": least, "to0": most}
    answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=form)
    assert answer.status == 200
    assert sum(patient["totalNumberOfSeries"] for patient in answer.document["resultSet"]) == found


@pytest.mark.parametrize("text", ["wide", "nan", "-1", "inf", "1e400"])
async def test_rejects_an_invalid_length(archive: Served, text: str) -> None:
    form = {"criteriaType0": "SliceThicknessRangeCriteria", "from0": text}
    answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=form)
    assert (answer.status, answer.body) == (400, b"a length is invalid")

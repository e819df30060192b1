"""Searches by lengths, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bulkdl.server.catalogue import Root
from tests.support.dicom_samples import SERIES_UID, encoded, image
from tests.support.served import Served, served


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Served]:
    path = tmp_path / "files" / "OPEN" / "a.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded(image(SliceThickness="2.5", PixelSpacing=["0.75", "0.5"])))
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite") as running:
        yield running


async def test_metadata_contain_lengths(archive: Served) -> None:
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
async def test_finds_lengths_within_a_range(archive: Served, kind: str, least: str, most: str, found: int) -> None:
    form = {"criteriaType0": kind, "from0": least, "to0": most}
    answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=form)
    assert answer.status == 200
    assert sum(patient["totalNumberOfSeries"] for patient in answer.document["resultSet"]) == found


@pytest.mark.parametrize("text", ["wide", "nan", "-1", "inf", "1e400"])
async def test_rejects_an_invalid_length(archive: Served, text: str) -> None:
    form = {"criteriaType0": "SliceThicknessRangeCriteria", "from0": text}
    answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=form)
    assert (answer.status, answer.body) == (400, b"a length is invalid")


@pytest.mark.parametrize("kind", ["Foo", "Criteria.DateRange", ""])
async def test_skips_a_criterion_that_it_does_not_know(archive: Served, kind: str) -> None:
    """As NBIA does. tcia_utils sends `Criteria.DateRange` on Python 3.11 and later."""
    form = {"criteriaType0": kind, "value0": "0", "criteriaType1": "SliceThicknessRangeCriteria", "from1": "2.6"}
    for last, found in ((form, 0), ({"criteriaType0": kind, "value0": "0"}, 1)):
        answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=last)
        assert (answer.status, answer.document["totalPatients"]) == (200, found)

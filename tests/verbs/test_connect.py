"""`query`: one call of an endpoint, by the library and by the command."""

from __future__ import annotations

from json import loads
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ConfigurationError
from bulkdl.verbs.connect import query_async, query_body
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances

MADE_UP = list(instances(series=1, per_series=2))
SERIES = MADE_UP[0].series_uid


async def test_a_query_of_the_library_gets_records(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        found = await query_async("GETSERIES", archive=archive.choice(tmp_path), series_uid=SERIES)
    assert isinstance(found, bulkdl.Records)
    assert [(record.series_uid, record.image_count) for record in found] == [(SERIES, 2)]


async def test_a_query_of_the_command_gets_the_body(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        parameters = [("SeriesInstanceUID", SERIES)]
        body = await query_body("getSeries", parameters, archive=archive.choice(tmp_path))
    assert loads(body)[0]["SeriesInstanceUID"] == SERIES


async def test_a_parameter_that_the_archive_would_ignore_is_an_error(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        with pytest.raises(ConfigurationError, match="did you mean Collection"):
            await query_body("getSeries", [("Colection", "A")], archive=archive.choice(tmp_path))
        assert archive.asked("getSeries") == []

"""The chosen archive is opened, the demonstration archive started; a selection that found nothing is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ConfigurationError, SelectionError
from bulkdl.model.context import RunContext
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.open_archive import open_archive, worker_settings
from bulkdl.verbs.reach import reach
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances

MADE_UP = list(instances(series=1, per_series=1))


async def test_the_archive_is_open_within_the_block(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as bad, open_archive(bad.choice(tmp_path), RunContext()) as source:
        assert source.archive.url == source.profile.url == bad.server.url


async def test_a_worker_gets_the_limits_of_the_settings(tmp_path: Path) -> None:
    settings = FetchSettings(concurrency=3, rate_limit_bytes=5.0)
    async with BadArchive(MADE_UP) as bad, open_archive(bad.choice(tmp_path), RunContext(settings)) as source:
        found = worker_settings(source.profile, source.access, settings, tmp_path)
    assert (found.ceiling, found.rate_limit_bytes, found.root) == (3, 5.0, tmp_path)


async def test_an_unknown_archive_is_an_error_on_entering() -> None:
    with pytest.raises(ConfigurationError, match="did you mean tcia"):
        async with open_archive(reach("tcai"), RunContext()):
            pass


async def test_a_selection_that_found_nothing_is_explained() -> None:
    async with BadArchive(MADE_UP) as bad:
        with pytest.raises(SelectionError, match="the archive has no series for collection NONE"):
            await bulkdl.plan_async(collection="NONE", archive=bad.address)

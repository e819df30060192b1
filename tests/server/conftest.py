"""A server of two Collections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio

from bulkdl.server.app import AccessRecord, make_app, serving
from bulkdl.server.catalogue import Catalogue, Root
from tests.support.dicom_files import instances, write_folder
from tests.support.served_archive import ABOUT, Archive


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    folder = tmp_path / "served"
    made = write_folder(folder, instances(series=3, per_series=2, collection="LUNG"))
    made += write_folder(folder, instances(series=1, per_series=1, collection="LARGE", rows=256))
    log: list[AccessRecord] = []
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(folder, about=ABOUT)])
        async with serving(make_app(catalogue), access_log=log.append) as base, aiohttp.ClientSession() as session:
            yield Archive(base, session, folder, catalogue, made, log)

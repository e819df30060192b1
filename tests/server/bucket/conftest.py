"""A served folder, and requests to its bucket."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio

from bulkdl.model.ids import stable_uuid
from bulkdl.server.access import AccessRules
from bulkdl.server.catalogue import Root
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.served import Answer, Served, served


def key_of(made: MadeUp) -> str:
    """The key of an instance in the bucket."""
    return f"{stable_uuid(made.series_uid)}/{stable_uuid(made.sop_uid)}.dcm"


def texts(document: bytes, name: str) -> list[str]:
    """The texts of all elements of a name, in order."""
    found = ET.fromstring(document)  # noqa: S314 - made by our own server
    return [element.text or "" for element in found.iter() if element.tag.rpartition("}")[2] == name]


@dataclass
class ServedBucket:
    """A running server, and what it serves."""

    server: Served
    made: list[MadeUp]
    folder: Path

    async def ask(self, key: str = "", **more: Any) -> Answer:
        return await self.server.ask(f"/bulkdl/{key}", **more)

    async def page(self, **parameters: str) -> Answer:
        names = {name.replace("_", "-"): value for name, value in parameters.items()}
        return await self.ask(params={"list-type": "2", **names})

    @property
    def keys(self) -> list[str]:
        return sorted(map(key_of, self.made))


@pytest_asyncio.fixture
async def bucket(tmp_path: Path) -> AsyncIterator[ServedBucket]:
    folder = tmp_path / "served"
    made = write_folder(folder, instances(series=3, per_series=4, collection="LUNG"))
    made += write_folder(folder, instances(series=1, per_series=1, collection="LARGE", rows=256))
    hidden = write_folder(folder, instances(series=1, per_series=2, collection="SECRET"))
    rules = AccessRules(restricted=frozenset({"SECRET"}))
    async with served(Root(folder), catalogue=tmp_path / "catalogue.sqlite", rules=rules) as running:
        assert len(hidden) == 2
        yield ServedBucket(running, made, folder)

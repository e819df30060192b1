"""A served folder of two Collections, and requests to its NBIA v1 API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import aiohttp

from bulkdl.server.app import AccessRecord
from bulkdl.server.catalogue import About, Catalogue
from tests.support.dicom_files import MadeUp

ABOUT = About(
    description="<b>bold</b>",
    citation="Doe & Co.",
    license_name="CC BY 4.0",
    license_uri="https://creativecommons.org/licenses/by/4.0/",
    released=date(2021, 7, 15),
)
FAILED = b"Server was not able to process your request\nnull"


@dataclass
class Answer:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def rows(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.body)
        return found


@dataclass
class Archive:
    """A running archive, and what it serves."""

    base: str
    session: aiohttp.ClientSession
    folder: Path
    catalogue: Catalogue
    made: list[MadeUp]
    log: list[AccessRecord] = field(default_factory=list)

    async def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        async with self.session.request(method, f"{self.base}/v1/{path}", headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def image(self, made: MadeUp, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        query = f"SeriesInstanceUID={made.series_uid}&SOPInstanceUID={made.sop_uid}"
        return await self.get(f"getSingleImage?{query}", headers, method)

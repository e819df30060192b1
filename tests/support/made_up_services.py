"""DataCite and the Collection Manager on one small server, with the data sets that a test names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.faults import Action, FaultyServer, Seen, answer
from tests.support.faults import json as json_answer


def doi(name: str, short_name: str, **attributes: Any) -> dict[str, Any]:
    """A record of DataCite."""
    identifiers = [{"identifier": short_name, "identifierType": "TCIA Short Name"}]
    return {"id": name, "attributes": {"doi": name, "identifiers": identifiers, **attributes}}


def collection(short_title: str, **values: Any) -> dict[str, Any]:
    """A record of a Collection at the Collection Manager."""
    return {"collection_short_title": short_title, **values}


@dataclass
class MadeUpServices:
    """The running server. While `is_away`, it answers everything with 404."""

    server: FaultyServer
    dois: list[dict[str, Any]] = field(default_factory=list)
    collections: list[dict[str, Any]] = field(default_factory=list)
    is_away: bool = False

    @property
    def profiles(self) -> dict[str, str]:
        """The profiles that lead to it."""
        return {"datacite": self.server.url, "collection-manager": f"{self.server.url}api/"}

    def answer(self, seen: Seen) -> Action:
        if self.is_away:
            return answer(b"", status=404)
        if seen.path == "/dois":
            return json_answer(json.dumps({"data": self.dois, "meta": {"total": len(self.dois)}}))
        records = self.collections if seen.path == "/api/v2/collections/" else []
        return json_answer(json.dumps({"results": records, "page": 1, "total_pages": 1}))


@asynccontextmanager
async def made_up_services(**records: Any) -> AsyncIterator[MadeUpServices]:
    """Run both services for the length of the block."""
    services = MadeUpServices(FaultyServer(lambda _: answer(b"")), **records)
    services.server.script = services.answer
    async with services.server:
        yield services

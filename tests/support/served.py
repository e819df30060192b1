"""A folder that is served for a test, and a client for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.server.access import AccessRules
from bulkdl.server.app import AccessRecord, make_app, serving
from bulkdl.server.catalogue import Catalogue, Root
from bulkdl.server.nbia.apis import SERVICES_PATH, Api
from bulkdl.server.nbia.quirks import Quirk


@dataclass
class Answer:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        return self.headers.get("Content-Type", "")


@dataclass
class Served:
    """A running archive."""

    origin: str
    session: aiohttp.ClientSession
    catalogue: Catalogue
    log: list[AccessRecord] = field(default_factory=list)

    async def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Any = None,
        data: Any = None,
    ) -> Answer:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        url = self.origin + path
        async with self.session.request(
            method, url, headers=sent, params=params, data=data, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def nbia(self, path: str, **more: Any) -> Answer:
        """Send a request below `/nbia-api/services/`."""
        return await self.ask(f"{SERVICES_PATH}/{path}", **more)

    async def endpoint(self, api: Api, endpoint: Endpoint, values: Any = (), **more: Any) -> Answer:
        """Send a request to an endpoint, with its values in the query or the form."""
        pairs = list(values.items() if isinstance(values, dict) else values)
        path = api.base + endpoint.path
        if endpoint.method == "POST":
            return await self.ask(path, method="POST", data=aiohttp.FormData(pairs), **more)
        return await self.ask(path, method=endpoint.method, params=pairs, **more)

    async def log_in(self, name: str = "nbia_guest", password: str = "") -> str:
        """Log in and return a token."""
        form = {"username": name, "password": password, "grant_type": "password", "client_id": "nbia"}
        answer = await self.ask("/nbia-api/oauth/token", method="POST", data=form)
        assert answer.status == 200, answer.body
        token: str = answer.document["access_token"]
        return token


@asynccontextmanager
async def served(
    *roots: Root,
    catalogue: Path,
    rules: AccessRules | None = None,
    quirks: frozenset[Quirk] = frozenset(),
) -> AsyncIterator[Served]:
    """Serve folders for the length of the block, with a catalogue at that path."""
    log: list[AccessRecord] = []
    with Catalogue.open(catalogue) as opened:
        opened.scan(roots)
        async with (
            serving(make_app(opened, rules=rules, quirks=quirks), access_log=log.append) as base,
            aiohttp.ClientSession() as session,
        ):
            yield Served(base.removesuffix(SERVICES_PATH), session, opened, log)

"""Two small archives that only the tests have, to check the program against the interface alone.

`KeysArchive` lists keys without SOP Instance UIDs; a UID is known once the header of its entry was read.
`MultipartArchive` sends a whole Series as `multipart/related`. Both ask `PlainServer`, a real server on loopback:
`/series`, `/series/UID`, `/file/KEY` and `/bundle/UID`.
"""

from __future__ import annotations

import hashlib
import json as jsons
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bulkdl.archive.base import Archive, Body, BundleForm, Capabilities, FoundSeries, Listing, Rest, Take
from bulkdl.archive.http import IDENTITY, HttpClient
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Request
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.records import Entry, References, Series, SeriesSize
from bulkdl.model.selection import Selection
from tests.support.dicom_files import MadeUp
from tests.support.faults import Action, FaultyServer, Seen, answer, json


class KeysArchive:
    """See `Archive`. It lists keys and sizes, and no UIDs."""

    capabilities = Capabilities(ranges=True, lists_sop_uids=False)

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = profile.url
        self.retrier = http.retrier
        self._http = http

    @property
    def requests(self) -> int:
        return self._http.requests

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        del doi
        return None

    async def collections(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(series.collection for series in await self._series()))

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        yield FoundSeries(tuple(series for series in await self._series() if selection.matches(series)))

    async def describe(self, collection: str, take: Take, *, patient_id: str | None = None) -> None:
        del collection, take, patient_id

    async def list(self, series: Series) -> Listing:
        rows = await self._rows(f"series/{series.series_uid}")
        return Listing(tuple(self._entry(row) for row in rows))

    def open(
        self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None
    ) -> AbstractAsyncContextManager[Body]:
        del series_uid
        return self._http.open(Request("file", f"file/{entry.key}"), headers=IDENTITY, rest=rest)

    def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AbstractAsyncContextManager[Body]:
        del study_uid
        return self._http.open(Request("bundle", f"bundle/{series_uid}"), headers=IDENTITY)

    async def references(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        del series_uids
        return {}

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        found = [series for series in await self._series() if series.series_uid == series_uid]
        return SeriesSize(found[0].size_bytes, found[0].image_count) if found else SeriesSize()

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        del series_uid
        return entry.md5

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        del series_uid
        return None

    def _entry(self, row: Mapping[str, Any]) -> Entry:
        return Entry(str(row["key"]), size_bytes=int(row["size"]))

    async def _series(self) -> Sequence[Series]:
        return [
            Series(
                series_uid=SeriesUid(row["series"]),
                study_uid=StudyUid(row["study"]),
                patient_id=row["patient"],
                collection=row["collection"],
                modality="CT",
                image_count=row["count"],
                size_bytes=row["size"],
            )
            for row in await self._rows("series")
        ]

    async def _rows(self, path: str) -> Sequence[dict[str, Any]]:
        async def once(_: int) -> Sequence[dict[str, Any]]:
            return [row async for rows in self._http.rows(Request(path, path)) for row in rows]

        rows, _ = await self.retrier.attempt(path, once)
        return rows


class MultipartArchive(KeysArchive):
    """See `Archive`. It lists UIDs, and sends bundles as `multipart/related`."""

    capabilities = Capabilities(bundle=BundleForm.MULTIPART, ranges=True)

    def _entry(self, row: Mapping[str, Any]) -> Entry:
        return replace(super()._entry(row), sop_uid=SopInstanceUid(row["sop"]))


FORMS: Final[Mapping[str, Callable[[Profile, HttpClient], Archive]]] = {
    "keys": KeysArchive,
    "multipart": MultipartArchive,
}


def choice(kind: str, url: str, cache: Path) -> ArchiveChoice:
    """The choice of a test archive at `url`, as a verb takes it. An index of IDC is beside the cache."""
    index = str(cache.with_name("index")) if kind == "idc" else None
    return ArchiveChoice(cache=cache, name=f"{kind}+{url}", forms=FORMS, idc_index=index)


class PlainServer:
    """Serves made-up instances. What `fault` returns for a request is done instead of the right answer."""

    def __init__(self, made_up: Sequence[MadeUp], fault: Callable[[Seen], Action | None] = lambda _: None) -> None:
        self.made_up = list(made_up)
        self.server = FaultyServer(lambda seen: fault(seen) or self._right(seen))

    @property
    def url(self) -> str:
        """The base address."""
        return self.server.url

    def requested(self, kind: str) -> list[Seen]:
        """The requests so far below `/kind/`."""
        return [seen for seen in self.server.requests if seen.path.startswith(f"/{kind}/")]

    def _right(self, seen: Seen) -> Action:
        kind, *rest = seen.path.strip("/").split("/")
        of_series = [one for one in self.made_up if rest and one.series_uid == rest[0]]
        if kind == "series" and not rest:
            return json(jsons.dumps(self._series_rows()))
        if kind == "series":
            return json(jsons.dumps([self._entry_row(one) for one in of_series]))
        if kind == "bundle" and of_series:
            return multipart([one.content for one in of_series])
        found = next((one for one in of_series if key_of(one) == "/".join(rest)), None)
        if kind != "file" or found is None:
            return answer(b"", status=404)
        return part_of(found.content, seen)

    def _series_rows(self) -> list[dict[str, Any]]:
        by_series: dict[str, list[MadeUp]] = {}
        for one in self.made_up:
            by_series.setdefault(one.series_uid, []).append(one)
        return [
            {
                "series": uid,
                "study": group[0].study_uid,
                "patient": group[0].patient_id,
                "collection": group[0].collection,
                "count": len(group),
                "size": sum(len(one.content) for one in group),
            }
            for uid, group in by_series.items()
        ]

    def _entry_row(self, one: MadeUp) -> dict[str, Any]:
        return {"key": key_of(one), "sop": one.sop_uid, "size": len(one.content)}


def key_of(one: MadeUp) -> str:
    """The key of an instance: its SOP Instance UID is not in it."""
    label = hashlib.sha256(one.sop_uid.encode()).hexdigest()[:32]
    return f"{one.series_uid}/{label}.dcm"


def multipart(contents: Sequence[bytes], *, boundary: str = "b0") -> Action:
    """A response of one part for each content."""
    head = "\r\nContent-Type: application/dicom\r\nContent-Length: {}\r\n\r\n"
    parts = [f"--{boundary}".encode() + head.format(len(content)).encode() + content for content in contents]
    body = b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()])
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return answer(body, headers={"Content-Type": kind})


def part_of(content: bytes, seen: Seen) -> Action:
    """The content, or the range of it that the request asks for."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"Content-Type": "application/dicom", "ETag": tag}
    asked = seen.headers.get("range", "")
    if not asked or seen.headers.get("if-range") != tag:
        return answer(content, headers=headers)
    start = int(asked.removeprefix("bytes=").partition("-")[0])
    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return answer(content[start:], status=206, headers=headers)


@asynccontextmanager
async def plain_server(
    made_up: Sequence[MadeUp], fault: Callable[[Seen], Action | None] = lambda _: None
) -> AsyncIterator[PlainServer]:
    """A running `PlainServer`."""
    plain = PlainServer(made_up, fault)
    async with plain.server:
        yield plain

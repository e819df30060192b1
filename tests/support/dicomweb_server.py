"""A server of DICOMweb over real sockets, as small as the interface allows, with the quirks of others and faults.

It answers searches for Studies, Series and instances, `/metadata`, and retrieves instances and Series. What `fault`
returns for a request is done instead of the right answer.
"""

from __future__ import annotations

import json as jsons
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.dicom_files import MadeUp
from tests.support.faults import Action, Exchange, FaultyServer, Seen, answer, without_body

JSON = {"Content-Type": "application/dicom+json"}


@dataclass
class Quirks:
    """What servers do. The defaults are those of a server without quirks, which serves both types of an instance.

    `serves_bare`: `application/dicom`, else it is refused with 400. `searches_series`: without their Study.
    `most`: of one page, silently. `cut_at`: so many instances and Series plus one are all that a list has.
    `studies_cut_at`: the same of Studies, without the one more. `ignores_offset`, `ignores_criteria`: as if they were
    not there. `largest_limit`: a greater one is refused.
    `closes`: multipart ends where the connection does. `takes_lists`: of UIDs. `has_counts`: in its answers.
    `row`: makes another row of a right one.
    """

    serves_bare: bool = True
    searches_series: bool = True
    most: int | None = None
    cut_at: int | None = None
    studies_cut_at: int | None = None
    ignores_offset: bool = False
    ignores_criteria: bool = False
    largest_limit: int | None = None
    is_empty_204: bool = True
    closes: bool = False
    takes_lists: bool = True
    has_counts: bool = True
    has_metadata: bool = True
    row: Callable[[dict[str, Any]], dict[str, Any]] = lambda row: row


def element(vr: str, *values: object) -> dict[str, Any]:
    """An element of the JSON model."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


class DicomwebServer:
    """Serves instances below `dicom-web/`. `further` are elements of every row."""

    def __init__(
        self, made_up: Sequence[MadeUp], fault: Callable[[Seen], Action | None] = lambda _: None, **quirks: Any
    ) -> None:
        self.made_up = list(made_up)
        self.quirks = Quirks(**quirks)
        studies = enumerate(dict.fromkeys(one.study_uid for one in made_up))
        self.days: dict[str, str] = {uid: f"202001{10 + at // 3:02}" for at, uid in studies}
        self.further: dict[str, Any] = {
            "00180015": element("CS", "CHEST"),
            "00080070": element("LO", "EXAMPLE"),
        }
        self.server = FaultyServer(lambda seen: fault(seen) or self.right(seen))

    @property
    def url(self) -> str:
        """The root of DICOMweb."""
        return f"{self.server.url}dicom-web/"

    def requested(self, kind: str) -> list[Seen]:
        """The requests so far for an instance (`file`) or a Series (`bundle`)."""
        depth = {"file": 7, "bundle": 5}[kind]
        paths = [(seen, seen.path.strip("/").split("/")) for seen in self.server.requests]
        return [seen for seen, parts in paths if len(parts) == depth and "metadata" not in parts and is_whole(parts)]

    def right(self, seen: Seen) -> Action:
        """The right answer."""
        root, *parts = seen.path.strip("/").split("/")
        if root != "dicom-web" or not parts:
            return answer(b"", status=404)
        named = dict(zip(parts[::2], parts[1::2], strict=False))
        found = [one for one in self.made_up if _is_in(one, named)]
        if parts[-1] == "metadata":
            is_there = found and self.quirks.has_metadata
            return self.rows(map(self.instance_row, found)) if is_there else answer(b"", status=404)
        if parts[-1] in {"studies", "series", "instances"}:
            return self.search(parts, found, seen)
        return self.retrieved(parts, found, seen)

    # --- search -------------------------------------------------------------------------------------------------------

    def search(self, parts: list[str], found: list[MadeUp], seen: Seen) -> Action:
        """A page of a search."""
        quirks, query = self.quirks, seen.query
        if parts == ["series"] and not quirks.searches_series:
            return answer(b"", status=404)
        if quirks.largest_limit is not None and int(query.get("limit", 0)) > quirks.largest_limit:
            return answer(b"the limit is too large", status=400)
        if not quirks.ignores_criteria:
            found = [one for one in found if self.matches(one, query)]
        level = parts[-1]
        make = {"studies": self.study_row, "series": self.series_row, "instances": self.instance_row}[level]
        key = {"studies": "study_uid", "series": "series_uid", "instances": "sop_uid"}[level]
        rows = list({getattr(one, key): make(one) for one in found}.values())
        if quirks.cut_at is not None and level != "studies":
            rows = rows[: quirks.cut_at + 1]
        if quirks.studies_cut_at is not None and level == "studies":
            rows = rows[: quirks.studies_cut_at]
        start = 0 if quirks.ignores_offset else int(query.get("offset", 0))
        limits = [int(query["limit"])] if "limit" in query and not quirks.ignores_offset else []
        most = min([*limits, *([quirks.most] if quirks.most is not None else [])], default=len(rows))
        return self.rows(rows[start : start + most])

    def matches(self, one: MadeUp, query: dict[str, str]) -> bool:
        """Whether an instance has what is asked for; unknown keys are ignored."""
        values = {
            "StudyInstanceUID": one.study_uid,
            "SeriesInstanceUID": one.series_uid,
            "PatientID": one.patient_id,
            "ClinicalTrialProtocolID": one.collection,
            "ModalitiesInStudy": "CT",
        }
        wanted = {
            name: text.split(",") if self.quirks.takes_lists else [text]
            for name, text in query.items()
            if name in values
        }
        first, _, last = query.get("StudyDate", "-").partition("-")
        is_in_time = (first or "0") <= self.day_of(one) <= (last or "9")
        return is_in_time and all(values[name] in texts for name, texts in wanted.items())

    def day_of(self, one: MadeUp) -> str:
        """The day of a Study: three of them are of one day."""
        return self.days[one.study_uid]

    def rows(self, rows: Iterable[dict[str, Any]]) -> Action:
        """An answer of rows."""
        found = [self.quirks.row(row) for row in rows]
        if not found and self.quirks.is_empty_204:
            return without_body(204)
        return answer(jsons.dumps(found).encode(), headers=JSON)

    def study_row(self, one: MadeUp) -> dict[str, Any]:
        """The row of a Study."""
        series = {each.series_uid for each in self.made_up if each.study_uid == one.study_uid}
        return {
            "00080020": element("DA", self.day_of(one)),
            "00081190": element("UR", "http://192.0.2.1/elsewhere"),
            "00100010": element("PN", {"Alphabetic": "Someone^Else"}),
            "00100020": element("LO", one.patient_id),
            "00120020": element("LO", one.collection),
            "0020000D": element("UI", one.study_uid),
            **({"00201206": element("IS", len(series))} if self.quirks.has_counts else {}),
        }

    def series_row(self, one: MadeUp) -> dict[str, Any]:
        """The row of a Series."""
        count = sum(each.series_uid == one.series_uid for each in self.made_up)
        return {
            **self.further,
            "00080060": element("CS", "CT"),
            "00100020": element("LO", one.patient_id),
            "0020000D": element("UI", one.study_uid),
            "0020000E": element("UI", one.series_uid),
            **({"00201209": element("IS", count)} if self.quirks.has_counts else {}),
        }

    def instance_row(self, one: MadeUp) -> dict[str, Any]:
        """The row of an instance, and its metadata."""
        row = {name: value for name, value in self.series_row(one).items() if name != "00201209"}
        return {**row, "00080018": element("UI", one.sop_uid), "00080016": element("UI", "1.2.840.10008.5.1.4.1.1.2")}

    # --- retrieve -----------------------------------------------------------------------------------------------------

    def retrieved(self, parts: list[str], found: list[MadeUp], seen: Seen) -> Action:
        """An instance or a Series."""
        if not found:
            return answer(b'{"Message": "not found"}', status=404)
        accept = seen.headers.get("accept", "")
        if accept.startswith("application/dicom") and len(parts) == 6 and self.quirks.serves_bare:
            return answer(found[0].content, headers={"Content-Type": "application/dicom"})
        if not accept.startswith('multipart/related; type="application/dicom"'):
            return answer(b"not acceptable", status=400)
        return parts_of([one.content for one in found], closes=self.quirks.closes)


def is_whole(parts: list[str]) -> bool:
    """Whether a path names one thing, not a list."""
    return parts[-2] in {"series", "instances"}


def parts_of(contents: Sequence[bytes], *, boundary: str = "b0", closes: bool = False, has_end: bool = True) -> Action:
    """A multipart response. With `closes` its end is that of the connection."""
    head = "\r\nContent-Type: application/dicom\r\nContent-Length: {}\r\n\r\n"
    parts = [f"--{boundary}".encode() + head.format(len(content)).encode() + content for content in contents]
    body = b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()][: None if has_end else -1])
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'}
    if not closes:
        return answer(body, headers=headers)

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Connection": "close", **headers})
        await exchange.send(body)
        exchange.drop()

    return act


def _is_in(one: MadeUp, named: dict[str, str]) -> bool:
    values = {"studies": one.study_uid, "series": one.series_uid, "instances": one.sop_uid}
    return all(values.get(level) == uid for level, uid in named.items())


@asynccontextmanager
async def dicomweb_server(
    made_up: Sequence[MadeUp], fault: Callable[[Seen], Action | None] = lambda _: None, **quirks: Any
) -> AsyncIterator[DicomwebServer]:
    """A running `DicomwebServer`."""
    server = DicomwebServer(made_up, fault, **quirks)
    async with server.server:
        yield server

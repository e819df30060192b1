"""A small NBIA archive (v1 and v4, and TCIA v3) on plain sockets that answers well until a test makes it hostile.

    def attack(seen: Seen) -> Action | None:
        return endless(b"x" * 65536) if asks_for(seen, "getSingleImage", victim.sop_uid) else None

    async with HostileArchive(made_up, attack) as archive:
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"))

`attack` decides for each request; where it gives None, the right answer goes out. Nothing here imports bulkdl.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from tests.support import variants
from tests.support.dicom_files import MadeUp
from tests.support.faults import Action, Exchange, FaultyServer, Seen, answer

Value = TypeVar("Value")
Attack: TypeAlias = "Callable[[Seen], Action | None]"

JSON = {"Content-Type": "application/json"}
DICOM = {"Content-Type": "application/dicom"}
PAGE = {"Content-Type": "text/html"}
OBJECTS = frozenset({"getSingleImage", "getImage", "getImageWithMD5Hash"})
CHECKSUMS = frozenset({"getM5HashForImage", "getMD5HashForImage"})
_ONE_BY_ONE = ("--transport", "single", "--workers", str(variants.WORKERS))
QUICK = ("--progress", "none", "--json", "--yes", "--max-attempts", "2", *_ONE_BY_ONE)


def endpoint_of(seen: Seen) -> str:
    """The name of the endpoint that a request is for."""
    return seen.path.rpartition("/")[2]


def asks_for(seen: Seen, endpoint: str, uid: str | None = None) -> bool:
    """Whether a request is for this endpoint, and where a UID is given, for that instance or Series."""
    uids = {seen.query.get("SOPInstanceUID"), seen.query.get("SOPInstanceUid"), seen.query.get("SeriesInstanceUID")}
    return endpoint_of(seen) == endpoint and (uid is None or uid in uids)


def no_attack(_: Seen) -> Action | None:
    """Answer every request correctly."""
    return None


class HostileArchive:
    """Serves `made_up`. `image_counts` and `more_rows` change what getSeries says."""

    def __init__(self, made_up: Sequence[MadeUp], attack: Attack = no_attack) -> None:
        self.made_up = list(made_up)
        self.attack = attack
        self.row_changes: Mapping[str, Any] = {}
        self.server = FaultyServer(self._script)

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.server.__aexit__(kind, error, trace)

    def address(self, kind: str = "nbia-v1") -> str:
        """Its address, as `--archive` takes it."""
        return f"{kind}+{self.server.url}"

    def series_uids(self) -> list[str]:
        """All Series, in order."""
        return list(dict.fromkeys(one.series_uid for one in self.made_up))

    def mirror_everything(self, mirror: Path, *more: str | Path, kind: str = "nbia-v1") -> tuple[str | Path, ...]:
        """The command that mirrors its Collections, quickly, with one document at the end. `more` overrules."""
        collections = dict.fromkeys(one.collection for one in self.made_up)
        named = [word for name in collections for word in ("--collection", name)]
        return ("mirror", "--archive", self.address(kind), *named, "--to", mirror, *QUICK, *more)

    def mirror_series(self, mirror: Path, *more: str | Path, kind: str = "nbia-v1") -> tuple[str | Path, ...]:
        """The same with every Series by its name."""
        named = [word for uid in self.series_uids() for word in ("--series", uid)]
        return ("mirror", "--archive", self.address(kind), *named, "--to", mirror, *QUICK, *more)

    def asked(self, endpoint: str, uid: str | None = None) -> list[Seen]:
        """The requests for an endpoint so far."""
        return [seen for seen in self.server.requests if asks_for(seen, endpoint, uid)]

    def object_requests(self) -> list[Seen]:
        """The requests for instances and zips so far."""
        return [seen for seen in self.server.requests if endpoint_of(seen) in OBJECTS]

    # --- the right answers --------------------------------------------------------------------------------------------

    def _script(self, seen: Seen) -> Action:
        return self.attack(seen) or self.right(seen)

    def right(self, seen: Seen) -> Action:
        """What an honest archive answers."""
        name = endpoint_of(seen)
        of_series = [one for one in self.made_up if one.series_uid == seen.query.get("SeriesInstanceUID")]
        if name in OBJECTS | CHECKSUMS:
            return self._object(name, seen.query, of_series)
        rows = self._rows(name, seen, of_series)
        if rows is None:
            return answer(b"<html>404</html>", status=404, headers=PAGE)
        return answer(json.dumps(rows).encode() if rows else b"", headers=JSON)

    def _object(self, name: str, query: Mapping[str, str], of_series: list[MadeUp]) -> Action:
        found = self.find(query.get("SOPInstanceUID") or query.get("SOPInstanceUid") or "")
        if name in CHECKSUMS:
            return answer(hashlib.md5(found.content, usedforsecurity=False).hexdigest().encode() if found else b"")
        if name == "getSingleImage" and found:
            return answer(found.content, headers=DICOM)
        if name != "getSingleImage" and of_series:
            return answer(zip_of(of_series), headers={"Content-Type": "application/octet-stream"})
        return answer(b"Server was not able to process your request\nnull", status=500)

    def find(self, sop_uid: str) -> MadeUp | None:
        """The instance of that UID."""
        return next((one for one in self.made_up if one.sop_uid == sop_uid), None)

    def _rows(self, name: str, seen: Seen, of_series: list[MadeUp]) -> Any:  # noqa: PLR0911 - a table
        match name:
            case "getCollectionValues":
                return [{"Collection": name} for name in dict.fromkeys(one.collection for one in self.made_up)]
            case "getSeries":
                return [row for row in self.rows() if is_meant(row, seen.query)]
            case "getSeriesMetadata":
                form = dict(item.split("=", 1) for item in seen.body.decode().split("&") if "=" in item)
                wanted = re.split(r"[^0-9.]+", form.get("list", "").replace("%2C", ","))
                return [row for row in self.rows() if row["SeriesInstanceUID"] in wanted]
            case "getSOPInstanceUIDs":
                return [{"SOPInstanceUID": one.sop_uid} for one in of_series]
            case "getSeriesSize":
                size = sum(len(one.content) for one in of_series)
                return [{"TotalSizeInBytes": size, "ObjectCount": len(of_series)}] if of_series else []
            case "token":
                return {"access_token": "a-token", "refresh_token": "r-token", "expires_in": 7200}
            case _:
                return None

    def rows(self) -> list[dict[str, Any]]:
        """What getSeries says of every Series."""
        found = []
        for uid in self.series_uids():
            of_series = [one for one in self.made_up if one.series_uid == uid]
            row = {
                "SeriesInstanceUID": uid,
                "StudyInstanceUID": of_series[0].study_uid,
                "PatientID": of_series[0].patient_id,
                "Collection": of_series[0].collection,
                "Modality": "CT",
                "ImageCount": len(of_series),
                "FileSize": sum(len(one.content) for one in of_series),
            }
            found.append({**row, **self.row_changes.get(uid, {})})
        return found


def given(uids: Iterable[str], values: Iterable[Value]) -> dict[str, Value]:
    """One value for each of the first UIDs."""
    return dict(zip(uids, values, strict=False))


def is_meant(row: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Whether a row meets every criterion of a query."""
    return all(str(row[name]).upper() == value.upper() for name, value in query.items() if name in row)


def zip_of(of_series: Sequence[MadeUp]) -> bytes:
    """The zip of a Series, with its md5hashes.csv."""
    buffer = io.BytesIO()
    lines = ["Filename,MD5Hash"]
    with zipfile.ZipFile(buffer, "w") as made:
        for number, one in enumerate(of_series, start=1):
            made.writestr(f"{number:08}.dcm", one.content)
            lines.append(f"{number:08}.dcm,{hashlib.md5(one.content, usedforsecurity=False).hexdigest()}")
        made.writestr("md5hashes.csv", "\n".join(lines))
    return buffer.getvalue()


# --- hostile answers --------------------------------------------------------------------------------------------------


def endless(
    piece: bytes,
    *,
    first: bytes = b"",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    most: int = 1 << 30,
) -> Action:
    """A chunked answer without an end; after `most` bytes nothing more is sent."""

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(status, {"Transfer-Encoding": "chunked", **(headers or {})})
        if first:
            await exchange.send_chunk(first)
        sent = 0
        while sent < most:
            await exchange.send_chunk(piece)
            sent += len(piece)
        await asyncio.Event().wait()

    return act


def silent(*, head: bool = False, body: bytes = b"", length: int | None = None) -> Action:
    """Send nothing, without an end: no header, or with `head` nothing after the headers and these bytes of the body."""

    async def act(exchange: Exchange) -> None:
        if head:
            await exchange.send_head(200, {**DICOM, "Content-Length": str(length or len(body) + 1000)})
            await exchange.send(body)
        await asyncio.Event().wait()

    return act


def in_pieces(content: bytes, size: int, *, headers: Mapping[str, str] | None = None) -> Action:
    """A chunked answer whose chunks are of this size."""

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Transfer-Encoding": "chunked", **(headers or {})})
        wire = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces_of(content, size)]
        for start in range(0, len(wire), 4096):
            await exchange.send(b"".join(wire[start : start + 4096]))
        await exchange.send_chunk(b"")

    return act


def pieces_of(content: bytes, size: int) -> list[bytes]:
    """The content in pieces of this size."""
    return [content[start : start + size] for start in range(0, len(content), size)]

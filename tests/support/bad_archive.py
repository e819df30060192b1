"""A small NBIA v1 archive of made-up instances. It answers correctly, except where a test makes it fail.

def fault(seen: Seen) -> Action | None:
    return drop() if seen.query.get("SOPInstanceUID") == victim and seen.ordinal == 1 else None

async with BadArchive(made_up, fault) as archive:
    report = await archive.mirror(tmp_path)
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from bulkdl.model.access import Access, ArchiveChoice
from bulkdl.model.events import Sink, ignore
from bulkdl.model.reports.run import RunReport
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.resume import resume_async
from tests.support import variants
from tests.support.commands import AsyncProcess, Finished, async_process_of, environment
from tests.support.dicom_files import MadeUp
from tests.support.faults import Action, FaultyServer, Seen, answer

Fault: TypeAlias = "Callable[[Seen], Action | None]"

DICOM = {"Content-Type": "application/dicom"}
ZIP = {"Content-Type": "application/zip"}
JSON = {"Content-Type": "application/json"}
OBJECTS = frozenset({"getSingleImage", "getImage", "getImageWithMD5Hash"})
QUICK = FetchSettings(
    transport=Transport.SINGLE,
    workers=variants.WORKERS,
    concurrency=4,
    max_attempts=3,
    wait_scale=0.01,
    give_up_after_seconds=20.0,
)


def no_fault(_: Seen) -> Action | None:
    """Answer every request correctly."""
    return None


def endpoint_of(seen: Seen) -> str:
    """The name of the requested endpoint."""
    return seen.path.rpartition("/")[2]


def zip_of(members: Sequence[tuple[str, bytes]], *, hashes: bool = True) -> bytes:
    """A zip of named contents, with an md5hashes.csv."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in members:
            made.writestr(name, content)
        if hashes:
            lines = [f"{name},{hashlib.md5(content).hexdigest()}" for name, content in members]  # noqa: S324 - no secret
            made.writestr("md5hashes.csv", "\n".join(lines))
    return buffer.getvalue()


class BadArchive:
    """Serves `made_up`. Where `fault` returns an action for a request, it replaces the correct answer."""

    def __init__(self, made_up: Sequence[MadeUp], fault: Fault = no_fault) -> None:
        self.made_up = list(made_up)
        self.fault = fault
        self.knows_checksums = True
        self.licenses: dict[str, str] = {}  # by Series UID
        self.server = FaultyServer(self._script)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.server)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def address(self) -> str:
        """The address of the archive, as `--archive` takes it."""
        return f"nbia-v1+{self.server.url}"

    def asked(self, endpoint: str) -> list[Seen]:
        """The requests for one endpoint so far."""
        return [seen for seen in self.server.requests if endpoint_of(seen) == endpoint]

    def object_requests(self) -> int:
        """The number of requests for instances and zips so far."""
        return sum(endpoint_of(seen) in OBJECTS for seen in self.server.requests)

    def choice(self, folder: Path, **access: Any) -> ArchiveChoice:
        """The archive choice for `bulkdl.verbs`; `access` changes `Access`."""
        return ArchiveChoice(cache=folder / "cache", name=self.address, access=Access(**access))

    async def mirror(self, folder: Path, *, sink: Sink = ignore, access: Any = None, **settings: Any) -> RunReport:
        """Mirror everything into `folder`/mirror with the settings `QUICK`, changed by `settings`."""
        wanted = Selection(series=tuple(dict.fromkeys(one.series_uid for one in self.made_up)))
        return await mirror_async(
            wanted,
            to=folder / "mirror",
            archive=self.choice(folder, **(access or {})),
            settings=replace(QUICK, **settings),
            sink=sink,
        )

    async def resume(self, folder: Path, *, access: Any = None, **settings: Any) -> RunReport:
        """Resume what `mirror` did not finish."""
        return await resume_async(
            folder / "mirror", archive=self.choice(folder, **(access or {})), settings=replace(QUICK, **settings)
        )

    # --- correct answers ----------------------------------------------------------------------------------------------

    def _script(self, seen: Seen) -> Action:
        return self.fault(seen) or self.right(seen)

    def right(self, seen: Seen) -> Action:  # noqa: PLR0911 - a table
        """The correct answer to a request."""
        query = seen.query
        of_series = [one for one in self.made_up if one.series_uid == query.get("SeriesInstanceUID")]
        match endpoint_of(seen):
            case "getCollectionValues":
                names = sorted({one.collection for one in self.made_up})
                return answer(json.dumps([{"Collection": name} for name in names]).encode(), headers=JSON)
            case "getSeries":
                return answer(json.dumps(self.rows_of(query)).encode(), headers=JSON)
            case "getSOPInstanceUIDs":
                return answer(json.dumps([{"SOPInstanceUID": one.sop_uid} for one in of_series]).encode(), headers=JSON)
            case "getSingleImage":
                found = self.find(query["SOPInstanceUID"])
                return answer(found.content, headers=DICOM) if found else answer(b"", status=500)
            case "getImageWithMD5Hash" if of_series:
                return answer(zip_of(self.members(of_series)), headers=ZIP)
            case "getM5HashForImage" if self.knows_checksums and (found := self.find(query["SOPInstanceUid"])):
                return answer(hashlib.md5(found.content).hexdigest().encode(), headers={"Content-Type": "text/plain"})  # noqa: S324 - no secret
            case _:
                return answer(b"", status=404)

    def find(self, sop_uid: str) -> MadeUp | None:
        """The instance with this UID, or None."""
        return next((one for one in self.made_up if one.sop_uid == sop_uid), None)

    def rows_of(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The answer of getSeries: a row for each Series of the UID or the Collection that `query` names."""
        by_series: dict[str, list[MadeUp]] = {}
        for one in self.made_up:
            is_wanted = query.get("SeriesInstanceUID", one.series_uid) == one.series_uid
            if is_wanted and query.get("Collection", one.collection) == one.collection:
                by_series.setdefault(one.series_uid, []).append(one)
        return [row for of_series in by_series.values() for row in self.rows(of_series)]

    def rows(self, of_series: Sequence[MadeUp]) -> list[dict[str, Any]]:
        """The row of one Series."""
        if not of_series:
            return []
        first = of_series[0]
        return [
            {
                "SeriesInstanceUID": first.series_uid,
                "StudyInstanceUID": first.study_uid,
                "PatientID": first.patient_id,
                "Collection": first.collection,
                "Modality": "CT",
                "ImageCount": len(of_series),
                "FileSize": sum(len(one.content) for one in of_series),
                **({"LicenseName": name} if (name := self.licenses.get(first.series_uid)) else {}),
            }
        ]

    def members(self, of_series: Sequence[MadeUp]) -> list[tuple[str, bytes]]:
        """The names and contents in the zip of a Series."""
        return [(f"{number:04}.dcm", one.content) for number, one in enumerate(of_series, start=1)]


async def command(*arguments: str | Path, cache: Path) -> Finished:
    """Run `bulkdl` until it exits, while archives in this process answer its requests."""
    process = await start_command(*arguments, cache=cache)
    out, err = await process.communicate()
    return Finished(process.returncode or 0, out.decode(), err.decode())


async def start_command(*arguments: str | Path, cache: Path) -> AsyncProcess:
    """Start `bulkdl`."""
    return await async_process_of(arguments, environment(cache))

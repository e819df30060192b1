"""A mirror of an archive without UIDs, and of one that sends multipart: whole, killed, damaged, adopted again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from bulkdl.journal.journal import Journal
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import RunReport
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.side_names import is_side_file
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.resume import resume_async
from bulkdl.verbs.verify import verify_async
from tests.contract.archives import PlainServer, choice, plain_server
from tests.contract.run import SETTINGS
from tests.support.bucket_server import BucketServer, bucket_server, write_index_of
from tests.support.dicom_files import MadeUp, instances
from tests.support.dicomweb_server import DicomwebServer, dicomweb_server
from tests.support.faults import Action, Seen, answer, stall
from tests.support.pathdb_server import PathDbServer, pathdb_server, slides

AnyServer: TypeAlias = PlainServer | BucketServer | PathDbServer | DicomwebServer
KINDS = ("keys", "multipart", "idc", "pathdb", "dicomweb")
SERIES, PER_SERIES = 4, 5

every_kind = pytest.mark.parametrize("kind", KINDS)
every_kind_of_dicom = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pathdb"])


@asynccontextmanager
async def serving(
    kind: str,
    folder: Path,
    fault: Callable[[Seen], Action | None] = lambda _: None,
    *,
    series: int = SERIES,
    per_series: int = PER_SERIES,
) -> AsyncIterator[AnyServer]:
    made_up = list(instances(series=series, per_series=per_series))
    if kind == "idc":
        write_index_of(folder / "index", made_up)
        async with bucket_server(made_up, fault=fault) as bucket:
            yield bucket
        return
    if kind == "pathdb":
        async with pathdb_server(slides(series * per_series), fault) as pathdb:
            yield pathdb
        return
    if kind == "dicomweb":
        async with dicomweb_server(made_up, fault) as web:
            yield web
        return
    async with plain_server(made_up, fault) as server:
        yield server


async def mirrored(kind: str, server: AnyServer, to: Path, *, settings: FetchSettings = SETTINGS) -> RunReport:
    archive = choice(kind, server.url, to.with_name("cache"))
    return await mirror_async(Selection(everything=True), to=to, archive=archive, settings=settings)


def files_of(mirror: Path) -> dict[str, bytes]:
    """The bytes of every file of the mirror, by name."""
    return {path.name: path.read_bytes() for path in paths_of(mirror)}


def paths_of(mirror: Path) -> list[Path]:
    return sorted(
        path
        for path in mirror.rglob("*.*")
        if path.is_file() and ".bulkdl" not in path.parts and not is_side_file(path.relative_to(mirror).as_posix())
    )


def expected(made_up: Sequence[MadeUp]) -> dict[str, bytes]:
    return {name_of(one): one.content for one in made_up}


def name_of(one: MadeUp) -> str:
    """The name of its file: a slide, which has the path of the archive in the place of a Study UID, keeps it."""
    return one.study_uid.rpartition("/")[2] if "/" in one.study_uid else f"{one.sop_uid}.dcm"


def journalled(mirror: Path) -> tuple[int, int]:
    """How many instances the journal has as held, and how many in all."""
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        counts = journal.counts(None)
        return counts.held, counts.held + counts.owed + counts.failed + counts.quarantined


@every_kind
async def test_a_mirror_is_complete(kind: str, tmp_path: Path) -> None:
    async with serving(kind, tmp_path) as server:
        report = await mirrored(kind, server, tmp_path / "mirror")
        assert report.outcome is RunOutcome.COMPLETE
        assert report.instances.fetched == SERIES * PER_SERIES
        assert files_of(tmp_path / "mirror") == expected(server.made_up)
        assert journalled(tmp_path / "mirror") == (SERIES * PER_SERIES, SERIES * PER_SERIES)


async def test_bundles_arrive_as_multipart(tmp_path: Path) -> None:
    async with serving("multipart", tmp_path) as server:
        settings = replace(SETTINGS, transport=Transport.ZIP)
        report = await mirrored("multipart", server, tmp_path / "mirror", settings=settings)
        assert report.outcome is RunOutcome.COMPLETE
        assert files_of(tmp_path / "mirror") == expected(server.made_up)
        assert (len(server.requested("bundle")), len(server.requested("file"))) == (SERIES, 0)


@every_kind
async def test_two_workers_make_a_complete_mirror(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # where a process finds the form
    async with serving(kind, tmp_path) as server:
        report = await mirrored(kind, server, tmp_path / "mirror", settings=replace(SETTINGS, workers=2))
        assert report.outcome is RunOutcome.COMPLETE
        assert files_of(tmp_path / "mirror") == expected(server.made_up)


@every_kind
async def test_a_second_mirror_downloads_nothing(kind: str, tmp_path: Path) -> None:
    async with serving(kind, tmp_path) as server:
        await mirrored(kind, server, tmp_path / "mirror")
        before = len(server.requested("file")) + len(server.requested("bundle"))
        report = await mirrored(kind, server, tmp_path / "mirror")
        assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 0)
        assert len(server.requested("file")) + len(server.requested("bundle")) == before


@pytest.mark.parametrize(
    ("kind", "before"),
    [*((kind, SERIES * PER_SERIES // 2) for kind in ("keys", "idc", "pathdb")), ("multipart", SERIES // 2)],
)
async def test_a_killed_mirror_resumes(kind: str, before: int, tmp_path: Path) -> None:
    to = tmp_path / "mirror"
    reached, released = asyncio.Event(), asyncio.Event()

    def fault(_: Seen) -> Action | None:
        if len(server.requested("file")) + len(server.requested("bundle")) <= before:
            return None
        reached.set()
        return None if released.is_set() else stall(released, b"", after=0)

    async with serving(kind, tmp_path, fault) as server:
        made_up = server.made_up
        command = (sys.executable, "-m", "tests.contract.run", kind, server.url, str(to))
        process = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2], start_new_session=True)
        await reached.wait()
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        released.set()

        archive = choice(kind, server.url, tmp_path / "cache")
        report = await resume_async(to, archive=archive, settings=SETTINGS)
        assert report.outcome is RunOutcome.COMPLETE
        assert files_of(to) == expected(made_up)
        assert journalled(to) == (len(made_up), len(made_up))
        assert (await verify_async(to)).problems == ()


@every_kind
async def test_damage_is_found_and_repaired(kind: str, tmp_path: Path) -> None:
    to = tmp_path / "mirror"
    async with serving(kind, tmp_path) as server:
        await mirrored(kind, server, to)
        damaged, missing = paths_of(to)[:2]
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
        missing.unlink()
        archive = choice(kind, server.url, tmp_path / "cache")
        report = await verify_async(to, repair=True, archive=archive, settings=SETTINGS)
        assert len(report.problems) == 2
        assert report.repair is not None
        assert report.repair.outcome is RunOutcome.COMPLETE
        assert files_of(to) == expected(server.made_up)
        assert (await verify_async(to)).problems == ()
        assert journalled(to) == (SERIES * PER_SERIES, SERIES * PER_SERIES)


@every_kind_of_dicom
async def test_a_mirror_without_its_journal_is_adopted_and_complete(kind: str, tmp_path: Path) -> None:
    to = tmp_path / "mirror"
    async with serving(kind, tmp_path) as server:
        await mirrored(kind, server, to)
        for path in to.glob(f"{JOURNAL}*"):
            path.unlink()
        archive = choice(kind, server.url, tmp_path / "cache")
        adopted = await adopt_async(to, archive=archive, rebuild=True)
        assert (adopted.adopted + adopted.already, adopted.refused) == (SERIES * PER_SERIES, 0)
        assert journalled(to) == (SERIES * PER_SERIES, SERIES * PER_SERIES)
        assert (await verify_async(to)).problems == ()

        report = await mirrored(kind, server, to)
        assert report.outcome is RunOutcome.COMPLETE
        assert files_of(to) == expected(server.made_up)
        assert journalled(to) == (SERIES * PER_SERIES, SERIES * PER_SERIES)


@every_kind
async def test_an_entry_that_fails_is_one_failure(kind: str, tmp_path: Path) -> None:
    refused: list[str] = []

    def fault(seen: Seen) -> Action | None:
        if not ("/file/" in seen.path or "/instances/" in seen.path) and not seen.path.endswith((".dcm", ".svs")):
            return None
        refused[:] = refused or [seen.path]
        return answer(b"", status=404) if seen.path == refused[0] else None

    async with serving(kind, tmp_path, fault, series=1, per_series=3) as server:
        settings = replace(SETTINGS, transport=Transport.SINGLE)
        report = await mirrored(kind, server, tmp_path / "mirror", settings=settings)
        assert report.outcome is RunOutcome.PARTIAL
        assert (report.instances.fetched, report.instances.failed) == (2, 1)
        assert journalled(tmp_path / "mirror") == (2, 3)

        refused[0] = "none"
        report = await resume_async(
            tmp_path / "mirror", archive=choice(kind, server.url, tmp_path / "cache"), settings=settings
        )
        assert report.outcome is RunOutcome.COMPLETE
        assert files_of(tmp_path / "mirror") == expected(server.made_up)

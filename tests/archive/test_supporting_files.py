"""Supporting data: the files that a Collection Manager links come with the images, by the same engine, or are named."""

from __future__ import annotations

import json as jsons
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bulkdl.errors import ConfigurationError, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.selection import Selection
from bulkdl.runtime.disk import JOURNAL
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.plan import plan_async
from bulkdl.verbs.resume import resume_async
from bulkdl.verbs.sync import sync_async
from bulkdl.verbs.verify import verify_async
from tests.contract.archives import choice
from tests.contract.run import SETTINGS
from tests.support.faults import Action, FaultyServer, Seen, answer, json
from tests.support.pathdb_server import part_of, pathdb_server, slides

WANTED = Selection(collections=("MADE-UP",), with_supporting_data=True)
CLINICAL, MASKS = b"patient,age\nP0,60\n", b"PK\5\6" + bytes(18)


@dataclass
class Setting:
    """An archive with a Collection Manager, whose files are at another server."""

    archive: ArchiveChoice
    files: dict[str, bytes]
    downloads: list[dict[str, Any]]
    server: FaultyServer

    def requested(self, name: str) -> list[Seen]:
        """The requests for a file, without those for its size."""
        return [
            seen
            for seen in self.server.requests
            if seen.path.endswith(name) and seen.headers.get("range") != "bytes=0-0"
        ]


@asynccontextmanager
async def setting(folder: Path, fault: Callable[[Seen], Action | None] = lambda _: None) -> AsyncIterator[Setting]:
    files = {"/clinical.csv": CLINICAL, "/masks/all.nii.gz": MASKS, "/masks/clinical.csv": b"patient\nP1\n"}
    downloads: list[dict[str, Any]] = []

    def script(seen: Seen) -> Action:
        if (action := fault(seen)) is not None:
            return action
        if seen.path.startswith("/api/v2/"):
            records = [{"collection_short_title": "Made_Up", "collection_downloads": downloads}]
            results = records if "/collections/" in seen.path else []
            return json(jsons.dumps({"results": results, "page": 1, "total_pages": 1}))
        return part_of(files[seen.path], seen) if seen.path in files else answer(b"", status=404)

    async with FaultyServer(script) as server, pathdb_server(slides(2)) as pathdb:
        host = server.url.replace("127.0.0.1", "localhost")
        downloads += [
            *({"download_title": path, "download_url": f"{host}{path[1:]}", "license": "CC BY 4.0"} for path in files),
            {"download_title": "Package", "download_url": "https://faspex.example.org/a?context=x"},
            {"download_title": "Faces", "download_url": f"{host}faces.zip", "license": "NIH Controlled Data Access"},
            {"download_title": "Images", "download_url": f"{host}images.tcia", "license": "CC BY 4.0"},
        ]
        chosen = choice("pathdb", pathdb.url, folder / "cache")
        profiles = {"collection-manager": f"{server.url}api/"}
        yield Setting(replace(chosen, profiles=profiles), files, downloads, server)


def supporting(mirror: Path) -> dict[str, bytes]:
    folder = mirror / "MADE-UP/_supporting"
    return {path.name.partition("~")[0]: path.read_bytes() for path in sorted(folder.glob("*"))}


async def test_plain_files_come_below_the_folder_of_their_collection(tmp_path: Path) -> None:
    to, events = tmp_path / "mirror", list[object]()
    async with setting(tmp_path) as it:
        report = await mirror_async(WANTED, to=to, archive=it.archive, settings=SETTINGS, sink=events.append)
        assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 5)
        contents = sorted(path.read_bytes() for path in (to / "MADE-UP/_supporting").iterdir())
        assert contents == sorted(it.files.values())
        assert (to / "MADE-UP/_supporting/clinical.csv").read_bytes() == CLINICAL
        assert (to / "MADE-UP/_supporting/all.nii.gz").read_bytes() == MASKS
        assert len(list((to / "MADE-UP/_supporting").glob("clinical~*.csv"))) == 1
        notes = [event.message for event in events if isinstance(event, Noted)]
        named = [note for note in notes if note.startswith("not downloaded for MADE-UP")]
        assert [("Package" in note, "https://faspex.example.org/a?context=x" in note) for note in named] == [
            *[(True, True), (False, False)],
        ]
        assert "Faces" in named[1]
        assert not it.requested("faces.zip")
        assert all("authorization" not in seen.headers for seen in it.server.requests)
        with Journal.open_readonly(to / JOURNAL) as journal:
            held = [one for row in journal.all_series() for one in journal.held_of_series(row.series.series_uid)]
        assert all(one.sha256 is not None for one in held)
        assert (await verify_async(to)).problems == ()


async def test_a_second_run_resume_and_repair_know_the_files(tmp_path: Path) -> None:
    to = tmp_path / "mirror"
    is_down = True

    def fault(seen: Seen) -> Action | None:
        return answer(status=404) if is_down and seen.path == "/masks/all.nii.gz" else None

    async with setting(tmp_path, fault) as it:
        report = await mirror_async(WANTED, to=to, archive=it.archive, settings=SETTINGS)
        assert (report.outcome, report.instances.failed) == (RunOutcome.PARTIAL, 1)
        is_down = False
        resumed = await resume_async(to, archive=it.archive, settings=SETTINGS)
        assert (resumed.outcome, resumed.instances.fetched) == (RunOutcome.COMPLETE, 1)
        (to / "MADE-UP/_supporting/clinical.csv").write_bytes(b"damaged")
        found = await verify_async(to, repair=True, archive=it.archive, settings=SETTINGS)
        assert found.repair is not None
        assert found.repair.outcome is RunOutcome.COMPLETE
        assert supporting(to)["clinical.csv"] == CLINICAL
        again = await mirror_async(WANTED, to=to, archive=it.archive, settings=SETTINGS)
        assert (again.outcome, again.instances.fetched, again.instances.reused) == (RunOutcome.COMPLETE, 0, 5)


async def test_sync_brings_files_that_are_new(tmp_path: Path) -> None:
    to = tmp_path / "mirror"
    async with setting(tmp_path) as it:
        await mirror_async(WANTED, to=to, archive=it.archive, settings=SETTINGS)
        it.files["/new.xlsx"] = b"new"
        address = it.downloads[0]["download_url"].replace("clinical.csv", "new.xlsx")
        it.downloads.append({"download_title": "New", "download_url": address, "license": "CC BY 4.0"})
        report = await sync_async(to, archive=it.archive, settings=SETTINGS)
        assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 1)
        assert (to / "MADE-UP/_supporting/new.xlsx").read_bytes() == b"new"


async def test_a_plan_counts_them(tmp_path: Path) -> None:
    async with setting(tmp_path) as it:
        plan = await plan_async(WANTED, archive=it.archive, settings=SETTINGS)
        assert plan.instances_selected == 5


async def test_a_page_in_the_place_of_a_file_is_a_failure(tmp_path: Path) -> None:
    page = answer(b"<html>log in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    async with setting(tmp_path, lambda seen: page if seen.path == "/clinical.csv" else None) as it:
        report = await mirror_async(WANTED, to=tmp_path / "m", archive=it.archive, settings=SETTINGS)
        assert [failure.message for failure in report.failures] == ["the response is a page, expected a file"]


async def test_a_collection_manager_that_fails_leaves_the_images(tmp_path: Path) -> None:
    async with setting(tmp_path, lambda seen: answer(status=500) if "/api/" in seen.path else None) as it:
        report = await mirror_async(WANTED, to=tmp_path / "m", archive=it.archive, settings=SETTINGS)
        assert (report.outcome, report.instances.fetched) == (RunOutcome.PARTIAL, 2)
        assert "the supporting data of MADE-UP" in report.failures[0].message


async def test_without_a_known_collection_manager_nothing_is_begun(tmp_path: Path) -> None:
    async with setting(tmp_path) as it:
        with pytest.raises(ConfigurationError, match="no Collection Manager is known"):
            await mirror_async(WANTED, to=tmp_path / "m", archive=replace(it.archive, profiles={}), settings=SETTINGS)
        assert not (tmp_path / "m").exists()


def test_samples_and_limits_are_of_series() -> None:
    with pytest.raises(SelectionError, match="--sample or --limit-bytes"):
        replace(WANTED, limit_bytes=1).check()

"""`status` says what was begun and did not end, and the command that it names finishes it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ArchiveError, DiskError
from bulkdl.journal.journal import Journal
from bulkdl.model.reports.base import RunOutcome
from bulkdl.runtime.disk import JOURNAL
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.runs.recorded_run import recorded_run
from bulkdl.verbs.status import read_status
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of, no_fault
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer
from tests.support.layouts import mirror_of
from tests.support.syncing import mirrored, synced

MADE_UP = list(instances(series=4, per_series=2))


async def test_a_relayout_that_was_stopped(tmp_path: Path) -> None:
    mirror, stop = await mirror_of(MADE_UP, tmp_path), asyncio.Event()
    assert read_status(mirror).unfinished == ()
    stop.set()
    await bulkdl.relayout_async(mirror, layout="flat", stop=stop)
    (found,) = read_status(mirror).unfinished
    assert (found.verb, found.command) == ("relayout", f"bulkdl relayout {mirror}")
    assert f"to finish it: {found.command}" in str(read_status(mirror))
    assert read_status(mirror).as_json()["unfinished"] == [
        {"verb": "relayout", "message": found.message, "command": found.command}
    ]
    await bulkdl.relayout_async(mirror)
    assert read_status(mirror).unfinished == ()


async def test_a_run_that_did_not_get_to_know_all_series(tmp_path: Path) -> None:
    def fails(seen: Seen) -> Action | None:
        return answer(b"", status=500) if endpoint_of(seen) == "getSeries" else None

    async with BadArchive(MADE_UP, fails) as archive:
        choice, mirror = archive.choice(tmp_path), tmp_path / "mirror"
        with suppress(ArchiveError):
            await bulkdl.mirror_async("MADE-UP", to=mirror, archive=choice, settings=QUICK)
        (found,) = read_status(mirror).unfinished
        assert (found.verb, found.command) == ("mirror", f"bulkdl resume {mirror}")
        assert "not all series of 1 selection are known yet" in str(read_status(mirror))
        archive.fault = no_fault
        await bulkdl.resume_async(mirror, archive=choice, settings=QUICK)
    assert read_status(mirror).unfinished == ()
    assert read_status(mirror).held == len(MADE_UP)


async def test_merges_that_were_stopped_until_a_later_one_has_joined_the_same_mirrors(tmp_path: Path) -> None:
    one, other = await mirror_of(MADE_UP[:4], tmp_path / "a"), await mirror_of(MADE_UP[4:], tmp_path / "b")
    stop, both = asyncio.Event(), tmp_path / "both"
    stop.set()
    await bulkdl.merge_async(one, other, to=both, stop=stop)
    (found,) = read_status(both).unfinished
    assert (found.verb, found.command) == ("merge", f"bulkdl merge {one} {other} --to {both}")
    await bulkdl.merge_async(one, to=both)
    assert len(read_status(both).unfinished) == 1
    verified = await bulkdl.verify_async(both)
    assert verified.ending is RunOutcome.PARTIAL
    assert verified.complaint() == f"{found.message}; to finish it: {found.command}"
    await bulkdl.merge_async(one, other, to=both)
    assert read_status(both).unfinished == ()
    assert "merge" not in ((await bulkdl.verify_async(both)).complaint() or "")


async def test_a_sync_that_was_stopped_is_continued_by_a_sync(tmp_path: Path) -> None:
    stop = asyncio.Event()
    new = list(instances(series=1, per_series=2, seed="new"))

    def stops(seen: Seen) -> Action | None:
        if endpoint_of(seen) == "getSOPInstanceUIDs":
            stop.set()
        return None

    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        archive.fault = stops
        report = await synced(archive, mirror, [*MADE_UP, *new], stop=stop)
        assert report.outcome is RunOutcome.INTERRUPTED
        assert report.complaint() == f"interrupted; what was finished is kept; to continue: bulkdl sync {mirror}"
        (found,) = read_status(mirror).unfinished
        assert (found.verb, found.command) == ("sync", f"bulkdl sync {mirror}")
        archive.fault = no_fault
        await synced(archive, mirror, [*MADE_UP, *new])
    assert read_status(mirror).unfinished == ()


async def test_a_prune_that_could_not_remove_a_file(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
    folder = next(mirror.rglob(MADE_UP[0].sop_uid + ".dcm")).parent
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)  # behind a link nothing is removed
    with pytest.raises(DiskError):
        await bulkdl.prune_async(mirror)
    (found,) = read_status(mirror).unfinished
    assert (found.verb, found.command) == ("prune", f"bulkdl sync {mirror} --prune")
    folder.unlink()
    elsewhere.rename(folder)
    assert await bulkdl.prune_async(mirror) == 2
    assert read_status(mirror).unfinished == ()
    last = bulkdl.log(mirror).runs[-1]
    assert (last.verb, last.outcome, last.changes) == ("prune", "complete", {"removed_files": 2})


async def test_a_prune_that_was_killed_behind_its_last_file(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    async with open_mirror(mirror, "prune") as opened:
        with suppress(RuntimeError):
            async with recorded_run(opened, "prune", {}):
                raise RuntimeError
    assert [each.verb for each in read_status(mirror).unfinished] == ["prune"]
    assert await bulkdl.prune_async(mirror) == 0
    assert read_status(mirror).unfinished == ()


async def test_nothing_is_unfinished_in_a_mirror_that_was_only_mirrored(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        assert [run.outcome for run in journal.runs_of("mirror") + journal.runs_of("adopt")] == [RunOutcome.COMPLETE]
        assert journal.runs_of("merge") == []

"""`resume` downloads what is owed, from the archive of the last run unless another one is named."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable, LayoutError, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.model.events import Event, Noted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings, ValidationLevel, go_on_with
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.files import MirrorFiles
from bulkdl.verbs.status import read_status
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of, no_fault
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer
from tests.support.journals import NOW
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=2, per_series=3))


def fail_the_first(seen: Seen) -> Action | None:
    is_it = endpoint_of(seen) == "getSingleImage" and seen.query.get("SOPInstanceUID") == MADE_UP[0].sop_uid
    return answer(b"", status=500) if is_it else None


async def test_downloads_what_failed_from_the_archive_of_the_last_run(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, fail_the_first) as archive:
        assert (await archive.mirror(tmp_path)).outcome is RunOutcome.PARTIAL
        archive.fault = no_fault
        asked = len(archive.asked("getSeries"))
        report = await bulkdl.resume_async(tmp_path / "mirror", settings=QUICK)
        assert len(archive.asked("getSeries")) == asked
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 1)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_asks_the_list_for_an_instance_that_it_did_not_have(tmp_path: Path) -> None:
    """NBIA answers a request for an instance that it does not have with a server error, after which it is repeated."""
    named, *rest = MADE_UP[:3]
    wanted = Selection(series=(named.series_uid,), instances=((named.series_uid, (named.sop_uid, rest[0].sop_uid)),))
    mirror = tmp_path / "mirror"
    async with BadArchive(rest) as archive:
        choice = archive.choice(tmp_path)
        report = await bulkdl.mirror_async(wanted, to=mirror, archive=choice, settings=QUICK)
        for verb in (report, await bulkdl.resume_async(mirror, archive=choice, settings=QUICK)):
            (failure,) = verb.failures
            assert (failure.instance, failure.error) == (named.sop_uid, "not-found")
        assert [seen.query["SOPInstanceUID"] for seen in archive.asked("getSingleImage")] == [rest[0].sop_uid]
        archive.made_up.append(named)
        report = await bulkdl.resume_async(mirror, archive=choice, settings=QUICK)
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 1)
    assert checksums_on_disk(mirror) == checksums_of([named, rest[0]])


async def test_does_not_wait_for_pydicom_where_nothing_is_owed(tmp_path: Path) -> None:
    program = "import bulkdl, sys; print(bulkdl.resume(sys.argv[1]).outcome, 'pydicom' in sys.modules)"
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, tmp_path / "mirror", stdout=asyncio.subprocess.PIPE
        )
        assert (await done.communicate())[0] == b"complete False\n"


async def test_downloads_from_another_archive_that_is_named(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, fail_the_first) as first, BadArchive(MADE_UP) as second:
        await first.mirror(tmp_path)
        report = await bulkdl.resume_async(tmp_path / "mirror", archive=second.address, settings=QUICK)
        assert second.object_requests() == 1
    assert report.outcome is RunOutcome.COMPLETE


async def settings_of(mirror: Path) -> dict[str, object]:
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        _, settings = journal.last_settings("resume") or (0, {})
    return settings


async def test_goes_on_with_the_settings_of_the_last_mirror_run_and_says_so(tmp_path: Path) -> None:
    said: list[Event] = []
    async with BadArchive(MADE_UP, fail_the_first) as archive:
        await archive.mirror(tmp_path, rate_limit_bytes=5e6, validation=ValidationLevel.HEADER, private=True)
        archive.fault = no_fault
        await bulkdl.resume_async(tmp_path / "mirror", sink=said.append)
    kept = await settings_of(tmp_path / "mirror")
    assert (kept["rate_limit_bytes"], kept["validation"], kept["private"]) == (5e6, "header", True)
    notes = [event.message for event in said if isinstance(event, Noted)]
    (note,) = [note for note in notes if note.startswith("as in run 1: ")]
    assert {"--rate-limit 5.0MB/s", "--validate header", "--private"} <= set(note[13:].split(", "))


@pytest.mark.parametrize(
    "kept",
    [
        {"timeout_seconds": []},
        {"concurrency": -5},
        {"workers": 1.5},
        {"max_attempts": 0},
        {"rate_limit_bytes": {}},
        {"give_up_after_seconds": "soon"},
        {"validation": 7},
        {"transport": "ftp"},
        {"nothing": 1},
    ],
    ids=str,
)
def test_a_kept_setting_that_is_invalid_is_left_out(kept: dict[str, object]) -> None:
    assert go_on_with({**kept, "private": True}, FetchSettings(), ()) == (FetchSettings(private=True), ["private"])


def test_every_setting_comes_back_as_it_was_kept() -> None:
    settings = FetchSettings(
        concurrency=7, workers=2, rate_limit_bytes=1_234_567.0, max_attempts=3, timeout_seconds=2.5, accept_unsound=True
    )
    kept = json.loads(json.dumps(asdict(settings)))
    assert go_on_with(kept, FetchSettings(), ())[0] == settings


async def test_a_setting_that_is_given_counts_and_the_others_are_kept(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, fail_the_first) as archive:
        await archive.mirror(tmp_path, rate_limit_bytes=5e6, validation=ValidationLevel.HEADER)
        archive.fault = no_fault
        given = FetchSettings(rate_limit_bytes=7e6)
        await bulkdl.resume_async(tmp_path / "mirror", settings=given, given=("rate_limit_bytes",))
    kept = await settings_of(tmp_path / "mirror")
    assert (kept["rate_limit_bytes"], kept["validation"]) == (7e6, "header")


async def test_another_layout_is_refused(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        with pytest.raises(LayoutError, match="keeps it"):
            await bulkdl.resume_async(tmp_path / "mirror", layout="flat", settings=QUICK)


async def test_a_mirror_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    MirrorFiles(tmp_path).prepare()
    with Journal.create_or_open(tmp_path / JOURNAL):
        pass
    with pytest.raises(JournalUnreadable, match="no run to resume"):
        await bulkdl.resume_async(tmp_path)


async def test_a_folder_without_a_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="is not a mirror"):
        await bulkdl.resume_async(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "empty",
    [
        Selection(collections=("NOPE",)),
        Selection(patients=("NOBODY",)),
        Selection(series=(SeriesUid("1.2.3.4"),)),
    ],
    ids=["collection", "patient", "series"],
)
async def test_a_selection_that_found_nothing_is_said_and_not_kept(empty: Selection, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP, fail_the_first) as archive:
        await archive.mirror(tmp_path)
        archive.fault = no_fault
        with suppress(SelectionError):
            await bulkdl.mirror_async(empty, to=mirror, archive=archive.address, settings=QUICK)
        assert len(read_status(mirror).unanswered) == (not empty.series)
        report = await bulkdl.resume_async(mirror, settings=QUICK)
    assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        assert len(journal.selections()) == 1
        assert journal.counts(None).series_selected == 2


async def test_what_a_selection_did_not_find_among_others_is_in_the_status(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.mirror_async(
            to=tmp_path, archive=archive.address, settings=QUICK, collection=[MADE_UP[0].collection, "NOPE"]
        )
    assert report.outcome is RunOutcome.PARTIAL
    assert read_status(tmp_path).unanswered == (report.failures[0].message,)
    assert "NOPE" in report.failures[0].message


async def test_an_empty_selection_of_an_earlier_version_does_not_end_a_resume(tmp_path: Path) -> None:
    """It was kept, and every resume ended with it."""
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP, fail_the_first) as archive:
        await archive.mirror(tmp_path)
        archive.fault = no_fault
        with Journal.create_or_open(mirror / JOURNAL) as journal:
            last = journal.last_run()
            assert last is not None
            journal.begin_run(
                verb="mirror",
                archive_name=last.archive_name,
                archive_url=last.archive_url,
                selection=Selection(collections=("NOPE",)),
                settings={},
                now=NOW,
            )
        first = await bulkdl.resume_async(mirror, settings=QUICK)
        again = await bulkdl.resume_async(mirror, settings=QUICK)
    assert (first.outcome, first.instances.fetched) == (RunOutcome.PARTIAL, 1)
    assert "NOPE" in first.failures[0].message
    assert again.outcome is RunOutcome.COMPLETE

"""A mirror of an archive that lists keys alone: complete, repaired, rebuilt, and duplicates reported."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulkdl.archive.http import HttpClient
from bulkdl.archive.profiles import Profile
from bulkdl.errors import NotFound
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Event, Noted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, Series
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import RunReport
from bulkdl.model.selection import Selection
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.resume import resume_async
from bulkdl.verbs.verify import verify_async
from tests.support.bad_archive import QUICK
from tests.support.dicom_files import instances
from tests.support.memory_archive import MemoryArchive
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

ALONE = replace(QUICK, workers=1)  # this archive exists in this process alone
MADE_UP = list(instances(series=1, per_series=12))
KEYS = [f"a-series/{number:04d}.dcm" for number in range(len(MADE_UP))]
UID = SeriesUid(MADE_UP[0].series_uid)


class Archive:
    """The archive of the runs of a test: a new `MemoryArchive` for each, all with the same entries."""

    def __init__(self, *, lists_md5: bool) -> None:
        self.bodies = {key: [one.content] for key, one in zip(KEYS, MADE_UP, strict=True)}
        self.lists_md5 = lists_md5
        self.last: MemoryArchive | None = None
        self.fails_after: int | None = None

    def form(self, profile: Profile, http: HttpClient) -> MemoryArchive:
        """Open it."""
        del profile
        self.last = archive = MemoryArchive(self.bodies)
        archive.retrier = http.retrier
        one = MADE_UP[0]
        archive.series = [
            Series(
                series_uid=UID,
                study_uid=one.study_uid,
                collection=one.collection,
                patient_id=one.patient_id,
                image_count=len(self.bodies),
            )
        ]
        archive.entries = [
            Entry(key, None, len(content), hashlib.md5(content, usedforsecurity=False).digest())
            if self.lists_md5
            else Entry(key)
            for key, (content,) in self.bodies.items()
        ]

        def change(_: str, body: Any) -> None:
            if self.fails_after is not None and archive.requests > self.fails_after:
                body.cut = (10, NotFound("not here now"))

        archive.change = change
        return archive

    def choice(self, folder: Path) -> ArchiveChoice:
        return ArchiveChoice(cache=folder / "cache", name="memory+https://memory.example", forms={"memory": self.form})

    @property
    def requests(self) -> int:
        """The number of entries that the last run requested."""
        return self.last.requests if self.last is not None else 0

    async def mirror(self, folder: Path, *, notes: list[str] | None = None) -> RunReport:
        def sink(event: Event) -> None:
            if isinstance(event, Noted) and notes is not None:
                notes.append(event.message)

        wanted = Selection(series=(UID,))
        return await mirror_async(wanted, to=folder / "mirror", archive=self.choice(folder), settings=ALONE, sink=sink)


@pytest.fixture(params=["md5", "keys-alone"])
def archive(request: pytest.FixtureRequest) -> Archive:
    return Archive(lists_md5=request.param == "md5")


async def test_a_mirror_is_complete_and_needs_no_second_request(tmp_path: Path, archive: Archive) -> None:
    report = await archive.mirror(tmp_path)
    assert (report.outcome, report.instances.fetched, report.failures) == (RunOutcome.COMPLETE, len(MADE_UP), ())
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)
    again = await archive.mirror(tmp_path)
    assert (again.outcome, again.instances.reused, archive.requests) == (RunOutcome.COMPLETE, len(MADE_UP), 0)


async def test_failed_entries_are_resumed(tmp_path: Path, archive: Archive) -> None:
    archive.fails_after = 5
    report = await archive.mirror(tmp_path)
    assert 0 < report.instances.failed < len(MADE_UP)
    assert {failure.key for failure in report.failures} < set(KEYS)
    assert {failure.instance for failure in report.failures} == {None}
    archive.fails_after = None
    resumed = await resume_async(tmp_path / "mirror", archive=archive.choice(tmp_path), settings=ALONE)
    assert resumed.outcome is RunOutcome.COMPLETE
    assert archive.requests == report.instances.failed
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_damage_is_repaired_by_key(tmp_path: Path, archive: Archive) -> None:
    await archive.mirror(tmp_path)
    victim, lost = sorted((tmp_path / "mirror").rglob("*.dcm"))[:2]
    victim.write_bytes(b"damaged")
    lost.unlink()
    report = await verify_async(tmp_path / "mirror", archive=archive.choice(tmp_path), settings=ALONE, repair=True)
    assert len(report.problems) == 2
    assert archive.requests == 2
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_a_mirror_without_its_journal_is_adopted_and_goes_on(tmp_path: Path, archive: Archive) -> None:
    await archive.mirror(tmp_path)
    for path in (tmp_path / "mirror" / ".bulkdl").glob("journal.sqlite*"):
        path.unlink()
    adopted = await adopt_async(tmp_path / "mirror", rebuild=True)
    assert adopted.adopted == len(MADE_UP)
    report = await archive.mirror(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    assert archive.requests == (0 if archive.lists_md5 else len(MADE_UP))
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_files_whose_outcomes_were_lost_are_found_again(tmp_path: Path, archive: Archive) -> None:
    """The process died after it renamed the files, and before it recorded them."""
    archive.fails_after = 0
    await archive.mirror(tmp_path)
    with Journal.open_readonly(tmp_path / "mirror" / ".bulkdl" / "journal.sqlite") as journal:
        (row,) = journal.series(limit=5)
    folder = tmp_path / "mirror" / (row.folder or "")
    folder.mkdir(parents=True)
    for one in MADE_UP[:4]:
        (folder / f"{one.sop_uid}.dcm").write_bytes(one.content)
    archive.fails_after = None
    report = await resume_async(tmp_path / "mirror", archive=archive.choice(tmp_path), settings=ALONE)
    assert report.outcome is RunOutcome.COMPLETE
    assert archive.requests == len(MADE_UP) - (4 if archive.lists_md5 else 0)
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)


@pytest.mark.parametrize("bytes_are", ["the same", "other"])
async def test_two_entries_of_one_instance_are_both_kept_and_named(
    tmp_path: Path, archive: Archive, bytes_are: str
) -> None:
    content = MADE_UP[0].content
    copy = content if bytes_are == "the same" else content.replace(b"CHEST", b"KNEE ")
    archive.bodies["z/copy.dcm"] = [copy]
    notes: list[str] = []
    report = await archive.mirror(tmp_path, notes=notes)
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, len(MADE_UP) + 1)
    assert len([note for note in notes if MADE_UP[0].sop_uid in note and "kept beside" in note]) == 1
    beside = files_of(tmp_path, MADE_UP[0].sop_uid)
    assert sorted(path.read_bytes() for path in beside) == sorted([content, copy])
    assert (await verify_async(tmp_path / "mirror")).problems == ()

    again = await archive.mirror(tmp_path)
    assert (again.outcome, again.instances.fetched, archive.requests) == (RunOutcome.COMPLETE, 0, 0)


@pytest.mark.parametrize("which", [0, 1])
async def test_each_of_two_entries_of_one_instance_is_repaired(tmp_path: Path, archive: Archive, which: int) -> None:
    copy = MADE_UP[0].content.replace(b"CHEST", b"KNEE ")
    archive.bodies["z/copy.dcm"] = [copy]
    await archive.mirror(tmp_path)
    beside = files_of(tmp_path, MADE_UP[0].sop_uid)
    before = {path: path.read_bytes() for path in beside}
    beside[which].write_bytes(b"damaged")
    report = await verify_async(tmp_path / "mirror", repair=True, archive=archive.choice(tmp_path), settings=ALONE)
    assert report.repair is not None
    assert report.repair.outcome is RunOutcome.COMPLETE
    assert {path: path.read_bytes() for path in files_of(tmp_path, MADE_UP[0].sop_uid)} == before
    beside[which].unlink()
    report_of_resume = await resume_async(tmp_path / "mirror", archive=archive.choice(tmp_path), settings=ALONE)
    assert report_of_resume.outcome is RunOutcome.COMPLETE
    assert {path: path.read_bytes() for path in files_of(tmp_path, MADE_UP[0].sop_uid)} == before
    assert (await verify_async(tmp_path / "mirror")).problems == ()


def files_of(folder: Path, sop_uid: str) -> list[Path]:
    """The files of an instance in the mirror."""
    return sorted(path for path in (folder / "mirror").rglob(f"{sop_uid}.*dcm") if ".bulkdl" not in path.parts)

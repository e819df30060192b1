"""`merge`: mirrors that were made in shards become one, which can be resumed and synced like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ConfigurationError, JournalUnreadable, MirrorLocked
from bulkdl.journal.journal import Journal
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.importing import ImportMode
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.verbs.mirrors.folders import archive_of
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer
from tests.support.layouts import NUMBERED, assert_holds, mirror_of
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=6, per_series=3))
LATER = list(instances(series=2, per_series=3, seed="later"))


async def shards(archive: BadArchive, folder: Path, *, layout: str | None = None) -> list[Path]:
    """Two mirrors, each of one half of the Series."""
    places = [folder / f"shard-{number}" for number in (1, 2)]
    for number, place in enumerate(places, start=1):
        selection = bulkdl.select(collection="MADE-UP", shard=f"{number}/2")
        await bulkdl.mirror_async(selection, to=place, archive=archive.choice(folder), settings=QUICK, layout=layout)
    return places


@pytest.mark.parametrize(
    ("by", "layout"), [(ImportMode.LINK, None), (ImportMode.COPY, NUMBERED), (ImportMode.MOVE, "idc")]
)
async def test_the_result_is_as_if_it_was_made_at_once(tmp_path: Path, by: ImportMode, layout: str | None) -> None:
    whole = tmp_path / "whole"
    async with BadArchive(MADE_UP) as archive:
        one, other = await shards(archive, tmp_path)
        report = await bulkdl.merge_async(one, other, to=whole, by=by, layout=layout)
        assert (report.outcome, report.series, report.brought, report.already) == ("complete", 6, 18, 0)
        assert (report.linked, report.copied) == ((0, 18) if by is ImportMode.COPY else (18, 0))
        assert_holds(whole, MADE_UP)
        assert len(checksums_on_disk(one)) + len(checksums_on_disk(other)) == (0 if by is ImportMode.MOVE else 18)
        assert (await bulkdl.verify_async(whole)).problems == ()
        asked = archive.object_requests()
        resumed = await bulkdl.resume_async(whole, archive=archive.choice(tmp_path), settings=QUICK)
        assert (resumed.outcome, resumed.instances.reused, archive.object_requests()) == ("complete", 18, asked)
        archive.made_up = [*MADE_UP[3:], *LATER]
        synced = await bulkdl.sync_async(whole, archive=archive.choice(tmp_path), settings=QUICK)
        assert synced.changes is not None
        assert (synced.changes.new_series, synced.changes.withdrawn_series) == (2, 1)
    assert sorted(checksums_on_disk(whole).values()) == sorted(checksums_of([*MADE_UP, *LATER]).values())
    runs = bulkdl.log(whole).runs
    assert [run.verb for run in runs] == ["mirror", "mirror", "merge", "resume", "sync"]
    assert runs[2].instances == {"adopted": 18}


async def test_again_it_brings_only_what_is_new(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        one, other = await shards(archive, tmp_path)
        await bulkdl.merge_async(one, to=tmp_path / "whole")
        report = await bulkdl.merge_async(one, other, tmp_path / "whole", to=tmp_path / "whole")
        assert (report.brought, report.already) == (18 - report.already, report.already)
        assert report.already == len(checksums_on_disk(one))
        again = await bulkdl.merge_async(one, other, to=tmp_path / "whole")
    assert (again.brought, again.already, again.outcome) == (0, 18, "complete")
    assert_holds(tmp_path / "whole", MADE_UP)
    with Journal.open_readonly(tmp_path / "whole" / JOURNAL) as journal:
        assert len(journal.selections()) == 2
        assert [run.verb for run in journal.runs()].count("mirror") == 2


async def test_one_mirror_takes_in_the_other(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        one, other = await shards(archive, tmp_path)
    report = await bulkdl.merge_async(other, to=one, move=True)
    assert (report.outcome, report.by, report.sources) == ("complete", "move", (str(other),))
    assert checksums_on_disk(one) == journalled_checksums(one) == checksums_of(MADE_UP)
    assert checksums_on_disk(other) == journalled_checksums(other) == {}
    assert not list(other.rglob("*.dcm"))
    for mirror, rows in ((one, 6), (other, 0)):
        lines = (mirror / "metadata.csv").read_text().splitlines()
        assert len(lines) == rows + 1


async def test_a_mirror_that_takes_in_one_of_another_archive_goes_on_with_its_first_one(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        one, _ = await shards(archive, tmp_path)
    other = await mirror_of(LATER, tmp_path)
    name = archive_of(one)
    await bulkdl.merge_async(other, to=one)
    assert archive_of(one) == name != archive_of(other)


async def test_what_is_owed_or_failed_is_joined_too(tmp_path: Path) -> None:
    def fault(seen: Seen) -> Action | None:
        is_broken = seen.query.get("SOPInstanceUID") == MADE_UP[4].sop_uid and endpoint_of(seen) == "getSingleImage"
        return answer(b"", status=404) if is_broken else None

    async with BadArchive(MADE_UP, fault) as archive:
        one, other = await shards(archive, tmp_path)
        lost = next(path for path in other.rglob("*.dcm"))
        lost.unlink()
        report = await bulkdl.merge_async(one, other, to=tmp_path / "whole")
        assert (report.outcome, report.missing, report.brought) == ("partial", 1, 16)
        status = bulkdl.status(tmp_path / "whole")
        assert (status.owed, status.failed, status.held) == (1, 1, 16)
        archive.fault = lambda _: None
        resumed = await bulkdl.resume_async(tmp_path / "whole", archive=archive.choice(tmp_path), settings=QUICK)
    assert (resumed.outcome, resumed.instances.fetched) == ("complete", 2)
    assert_holds(tmp_path / "whole", MADE_UP)


async def test_quarantine_superseded_and_lock_files_come_along(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        one, other = await shards(archive, tmp_path)
    for path in ("quarantine/1.2.1.dcm", "quarantine/1.2.1.json", "superseded/1/a/b.dcm", "locks/x.lock"):
        (one / ".bulkdl" / path).parent.mkdir(parents=True, exist_ok=True)
        (one / ".bulkdl" / path).write_text(path)
    await bulkdl.merge_async(one, other, to=tmp_path / "whole")
    found = {path.name for path in (tmp_path / "whole" / ".bulkdl").rglob("*") if path.is_file()}
    assert {"1.2.1.dcm", "1.2.1.json", "b.dcm", "x.lock"} <= found


async def test_mirrors_that_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    one = await mirror_of(MADE_UP[:3], tmp_path)
    with pytest.raises(JournalUnreadable, match="not a mirror"):
        await bulkdl.merge_async(tmp_path / "nothing", to=tmp_path / "whole")
    with pytest.raises(ConfigurationError, match="inside the other"):
        await bulkdl.merge_async(one, to=one / "whole")
    assert not (tmp_path / "whole").exists()
    with lock_mirror(one), pytest.raises(MirrorLocked, match="nothing was changed"):
        await bulkdl.merge_async(one, to=tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    damaged = tmp_path / "damaged"
    (damaged / ".bulkdl").mkdir(parents=True)
    (damaged / JOURNAL).write_bytes((one / JOURNAL).read_bytes()[:4096])
    with pytest.raises(JournalUnreadable, match="damaged"):
        await bulkdl.merge_async(one, damaged, to=tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    place = tmp_path / "foreign"
    report = await bulkdl.merge_async(one, to=place, layout="flat", by=ImportMode.COPY)
    assert report.outcome == "complete"

"""`sync` of a mirror that was made from a lock keeps to the lock, and says what the archive has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bulkdl
from bulkdl.model.reports.run import RunReport
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.bucket_server import BUCKET, Stored, bucket_server, key_of, rows_of, uuid_of, write_index_of
from tests.support.dicom_files import MadeUp, instances, padded
from tests.support.idc_index import write_index
from tests.support.mirrors import checksums_of, checksums_on_disk
from tests.support.syncing import mirrored, synced

MADE_UP = list(instances(series=3, per_series=4))
FURTHER = list(instances(series=1, per_series=5))[4]
NOW = [padded(MADE_UP[0]), *MADE_UP[2:], FURTHER]  # one replaced, one withdrawn, one added


async def locked(folder: Path, made_up: Sequence[MadeUp]) -> Path:
    """A mirror that was made from a lock of `made_up`."""
    async with BadArchive(made_up) as archive:
        first, lock, mirror = await mirrored(archive, folder / "first"), folder / "cohort.lock", folder / "mirror"
        with lock.open("w", newline="") as file:
            bulkdl.manifest_lock(first, file)
        report = await bulkdl.mirror_async(str(lock), to=mirror, archive=archive.choice(folder), settings=QUICK)
    assert report.outcome == "complete"
    return mirror


def changes_of(report: RunReport) -> tuple[int, int, int, int]:
    assert report.changes is not None
    found = report.changes
    return found.changed_series, found.replaced_instances, found.withdrawn_instances, found.withdrawn_series


async def test_what_was_replaced_withdrawn_and_added_is_said_and_not_followed(tmp_path: Path) -> None:
    mirror = await locked(tmp_path, MADE_UP)
    async with BadArchive(NOW) as archive:
        for _ in range(2):  # it is said again, as long as it is so
            report = await synced(archive, mirror, NOW)
            assert (report.outcome, report.instances.fetched, changes_of(report)) == ("complete", 0, (1, 1, 1, 0))
            (note,) = [each for each in report.notes if "has changed" in each]
            assert f"1 instance replaced ({MADE_UP[0].sop_uid}), 1 instance withdrawn ({MADE_UP[1].sop_uid})" in note
            assert "1 instance added, which the lock does not have" in note
            assert "held to the lock: 12 instances by SHA-256" in report.notes
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)
    assert not (mirror / ".bulkdl" / "superseded").exists()


async def test_a_later_release_of_an_index_is_said_and_not_followed(tmp_path: Path) -> None:
    made_up = sorted(MADE_UP, key=lambda one: one.series_uid)
    gone, revised, rest = made_up[:4], made_up[4:8], made_up[8:]
    now = padded(revised[0])
    folder = uuid_of("revised")
    async with bucket_server(made_up) as server:
        server.buckets[BUCKET][f"{folder}/{uuid_of(now.content)}.dcm"] = Stored(now.content)
        for one in revised[1:]:  # whose objects keep their names
            server.buckets[BUCKET][f"{folder}/{key_of(one).rpartition('/')[2]}"] = Stored(one.content)
        row = rows_of([now, *revised[1:]])[0] | {"crdc_series_uuid": folder}
        write_index(tmp_path / "b", [row, *rows_of(rest)], names={"made_up": "MADE-UP"}, version="26.0.0")
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=write_index_of(tmp_path / "a", made_up), cache=tmp_path)
        await bulkdl.mirror_async("MADE-UP", to=tmp_path / "first", archive=choice, settings=QUICK)
        with (tmp_path / "a.lock").open("w", newline="") as file:
            bulkdl.manifest_lock(tmp_path / "first", file)
        mirror = tmp_path / "mirror"
        await bulkdl.mirror_async(tmp_path / "a.lock", to=mirror, archive=choice, settings=QUICK)
        gets = len(server.gets)
        later = replace(choice, idc_index=str(tmp_path / "b"))
        for _ in range(2):
            report = await bulkdl.sync_async(mirror, archive=later, settings=QUICK)
            assert (report.instances.fetched, changes_of(report)) == (0, (1, 1, 0, 1))
            said = "\n".join(report.notes)
            assert f"has changed series {now.series_uid} of the lock: 1 instance replaced ({now.sop_uid})" in said
            assert f"has withdrawn series {gone[0].series_uid} of the lock; its files are kept" in said
            assert "held to the lock: 12 instances by SHA-256" in said
        assert len(server.gets) == gets
    assert checksums_on_disk(mirror) == checksums_of(made_up)
    assert not (mirror / ".bulkdl" / "superseded").exists()


async def test_a_withdrawn_series_is_said_and_stays(tmp_path: Path) -> None:
    mirror = await locked(tmp_path, MADE_UP)
    async with BadArchive(MADE_UP[4:]) as archive:
        report = await synced(archive, mirror, MADE_UP[4:])
    assert changes_of(report) == (0, 0, 0, 1)
    assert f"the archive has withdrawn series {MADE_UP[0].series_uid} of the lock; its files are kept" in report.notes
    assert bulkdl.status(mirror).held == 12
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)


async def test_a_series_that_no_lock_names_is_followed(tmp_path: Path) -> None:
    mirror = await locked(tmp_path, MADE_UP[:8])
    async with BadArchive(MADE_UP) as archive:
        choice = archive.choice(tmp_path)
        await bulkdl.mirror_async(series=MADE_UP[8].series_uid, to=mirror, archive=choice, settings=QUICK)
        report = await synced(archive, mirror, [*MADE_UP[:8], padded(MADE_UP[8]), *MADE_UP[9:]])
    assert (report.instances.fetched, changes_of(report)) == (1, (1, 1, 0, 0))

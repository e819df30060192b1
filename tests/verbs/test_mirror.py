"""`mirror` where the archive does not answer one request of the resolver: the other Series are downloaded."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import bulkdl
from bulkdl.errors import SelectionError
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import Changes
from bulkdl.runtime.disk import JOURNAL
from tests.support.bad_archive import JSON, QUICK, BadArchive, endpoint_of, no_fault
from tests.support.bucket_server import BUCKET, Stored, bucket_server, key_of, rows_of, series_uuid, write_index_of
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer
from tests.support.idc_index import prior_row, write_index
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=3, per_series=4))
VICTIM = MADE_UP[0].series_uid


def refuse_to_find_the_victim(seen: Seen) -> Action | None:
    is_it = endpoint_of(seen) == "getSeries" and seen.query.get("SeriesInstanceUID") == VICTIM
    return answer(b"", status=500) if is_it else None


async def test_a_question_that_stays_unanswered_is_named_and_takes_no_neighbour_along(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, refuse_to_find_the_victim) as archive:
        report = await archive.mirror(tmp_path, max_attempts=3)
        asked = sum(refuse_to_find_the_victim(seen) is not None for seen in archive.asked("getSeries"))
    (failure,) = report.failures
    assert (failure.series, failure.instance, failure.error, failure.attempts) == (VICTIM, None, "server-error", 3)
    assert asked == 3
    assert report.outcome is RunOutcome.PARTIAL
    assert report.series.selected == report.series.complete + report.series.failed == 3
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP[4:])


async def test_a_question_that_stayed_unanswered_is_asked_again_by_resume(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, refuse_to_find_the_victim) as archive:
        await archive.mirror(tmp_path, max_attempts=2)
        archive.fault = no_fault
        report = await archive.resume(tmp_path)
    assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_a_mirror_of_idc_comes_from_the_bucket_and_remembers_the_release(tmp_path: Path) -> None:
    names = {MADE_UP[0].collection.lower().replace("-", "_"): MADE_UP[0].collection}
    index = write_index(tmp_path / "index", rows_of(MADE_UP), names=names)
    async with bucket_server(MADE_UP) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path / "cache")
        report = await bulkdl.mirror_async(everything=True, to=tmp_path / "mirror", archive=choice)
    assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)
    folders = {path.name for path in (tmp_path / "mirror").iterdir() if path.is_dir()}
    assert folders == {".bulkdl", MADE_UP[0].collection}
    with closing(sqlite3.connect(tmp_path / "mirror" / JOURNAL)) as journal:
        assert journal.execute("SELECT catalogue FROM v_runs").fetchall() == [("IDC release 25 (index 25.0.5)",)]
        places = {place for (place,) in journal.execute("SELECT location FROM v_series")}
    assert places == {f"{BUCKET}/{series_uuid(one.series_uid)}" for one in MADE_UP}


@pytest.mark.parametrize("archive", ["idc", "tcia"])
async def test_an_s5cmd_manifest_is_mirrored_by_folders_and_objects(tmp_path: Path, archive: str) -> None:
    whole, single = MADE_UP[:4], MADE_UP[5]
    index = write_index_of(tmp_path / "index", MADE_UP)
    lines = [f"cp s3://{BUCKET}/{series_uuid(whole[0].series_uid)}/* .", f"cp s3://{BUCKET}/{key_of(single)} ."]
    (tmp_path / "m.s5cmd").write_text("\n".join(lines))
    async with bucket_server(MADE_UP) as server:
        profiles = {"idc": f"idc+{server.url}", "nbia": "nbia-v1+http://127.0.0.1:9"}
        choice = bulkdl.reach(archive, profiles=profiles, idc_index=index, cache=tmp_path / "cache")
        plan = await bulkdl.plan_async(manifest=tmp_path / "m.s5cmd", archive=choice)
        report = await bulkdl.mirror_async(manifest=tmp_path / "m.s5cmd", to=tmp_path / "m", archive=choice)
        again = await bulkdl.mirror_async(manifest=tmp_path / "m.s5cmd", to=tmp_path / "m", archive=choice)
        assert len(server.gets) == 5
        every = await bulkdl.mirror_async(series=[single.series_uid], to=tmp_path / "m", archive=choice)
    assert (plan.series.selected, plan.instances_selected, plan.exact) == (2, 5, False)
    assert (report.outcome, report.failures, report.instances.fetched) == (RunOutcome.COMPLETE, (), 5)
    assert (again.outcome, again.instances.reused) == (RunOutcome.COMPLETE, 5)
    assert (every.outcome, every.instances.fetched, every.instances.reused) == (RunOutcome.COMPLETE, 3, 1)
    assert checksums_on_disk(tmp_path / "m") == checksums_of(MADE_UP[:8])


async def test_folders_and_objects_that_are_not_there_are_named(tmp_path: Path) -> None:
    index = write_index_of(tmp_path / "index", MADE_UP)
    none, missing = (
        "00000000-0000-4000-8000-000000000000",
        f"{series_uuid(VICTIM)}/00000000-0000-4000-8000-000000000001.dcm",
    )
    lines = [f"s3://{BUCKET}/{place}" for place in (f"{none}/*", missing, key_of(MADE_UP[0]))]
    (tmp_path / "m.s5cmd").write_text("\n".join(lines))
    async with bucket_server(MADE_UP) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path / "cache")
        report = await bulkdl.mirror_async(manifest=tmp_path / "m.s5cmd", to=tmp_path / "m", archive=choice)
    assert (report.outcome, report.instances.fetched) == (RunOutcome.PARTIAL, 1)
    said = {failure.series: failure.message for failure in report.failures}
    assert said[""] == (
        f"IDC has no series in the folder {BUCKET}/{none}, up to release 25; if the manifest is later, run bulkdl "
        "archives --update-index; there are no files in it"
    )
    assert said[VICTIM].startswith("the archive lists 1 instances and counts 2")


async def test_a_folder_that_no_index_knows_is_downloaded_by_what_its_files_say(tmp_path: Path) -> None:
    known = [one for one in MADE_UP if one.series_uid != VICTIM]
    index = write_index_of(tmp_path / "index", known)
    (tmp_path / "m.s5cmd").write_text(f"cp s3://{BUCKET}/{series_uuid(VICTIM)}/* .\n")
    async with bucket_server(MADE_UP) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path / "cache")
        report = await bulkdl.mirror_async(manifest=tmp_path / "m.s5cmd", to=tmp_path / "m", archive=choice)
        again = await bulkdl.mirror_async(manifest=tmp_path / "m.s5cmd", to=tmp_path / "m", archive=choice)
    wanted = [one for one in MADE_UP if one.series_uid == VICTIM]
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, len(wanted))
    assert any("no index knows the folder" in note and VICTIM in note for note in report.notes)
    found = checksums_on_disk(tmp_path / "m")
    assert sorted(found.values()) == sorted(checksums_of(wanted).values())
    assert (again.outcome, again.instances.reused) == (RunOutcome.COMPLETE, len(wanted))


@pytest.mark.parametrize("content", [b"not a DICOM file", b""], ids=["a text", "an empty file"])
async def test_a_folder_that_no_index_knows_and_that_has_other_files_is_a_failure(
    tmp_path: Path, content: bytes
) -> None:
    index = write_index_of(tmp_path / "index", MADE_UP)
    folder = "00000000-0000-4000-8000-000000000000"
    (tmp_path / "m.s5cmd").write_text(f"s3://{BUCKET}/{folder}/*\ns3://{BUCKET}/{key_of(MADE_UP[0])}")
    async with bucket_server(MADE_UP) as server:
        server.buckets[BUCKET][f"{folder}/{folder}.dcm"] = Stored(content)
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path / "cache")
        report = await bulkdl.mirror_async(manifest=tmp_path / "m.s5cmd", to=tmp_path / "m", archive=choice)
    assert (report.outcome, report.instances.fetched) == (RunOutcome.PARTIAL, 1)
    (failure,) = report.failures
    assert folder in failure.message
    assert "not DICOM files" in failure.message


async def test_an_archive_without_buckets_refuses_an_s5cmd_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.s5cmd").write_text(f"s3://{BUCKET}/{series_uuid(VICTIM)}/*")
    async with BadArchive(MADE_UP) as archive:
        with pytest.raises(SelectionError, match="no buckets"):
            await bulkdl.plan_async(manifest=tmp_path / "m.s5cmd", archive=archive.choice(tmp_path))


async def test_a_withdrawn_series_is_mirrored_from_its_last_folder_and_counted(tmp_path: Path) -> None:
    wanted = [one for one in MADE_UP if one.series_uid == VICTIM]
    uids = {"SeriesInstanceUID": VICTIM, "StudyInstanceUID": wanted[0].study_uid}
    others = [row for row in rows_of(MADE_UP) if row["SeriesInstanceUID"] != VICTIM]
    index = write_index(
        tmp_path / "index", others, prior=[prior_row(1, 24, **uids, crdc_series_uuid=series_uuid(VICTIM))]
    )
    async with bucket_server(MADE_UP) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path / "cache")
        report = await bulkdl.mirror_async(series=[VICTIM], to=tmp_path / "m", archive=choice)
    assert (report.outcome, report.instances.fetched, report.withdrawn) == (RunOutcome.COMPLETE, len(wanted), 1)
    assert report.as_json()["withdrawn"] == 1
    assert "1 series of earlier releases" in str(report)


@pytest.mark.parametrize("archive", ["idc", "tcia"])
async def test_worker_processes_know_the_bucket(tmp_path: Path, archive: str) -> None:
    index = write_index_of(tmp_path / "index", MADE_UP)
    async with bucket_server(MADE_UP) as server:
        profiles = {"idc": f"idc+{server.url}", "nbia": "nbia-v1+http://127.0.0.1:9"}
        choice = bulkdl.reach(archive, profiles=profiles, idc_index=index, cache=tmp_path / "cache")
        uids = sorted({one.series_uid for one in MADE_UP})
        settings = bulkdl.FetchSettings(workers=2, concurrency=2)
        report = await bulkdl.mirror_async(series=uids, to=tmp_path / "m", archive=choice, settings=settings)
    assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
    assert checksums_on_disk(tmp_path / "m") == checksums_of(MADE_UP)


async def test_a_sample_stays_the_same_in_later_runs_though_the_archive_grows(tmp_path: Path) -> None:
    first = list(instances(series=6, per_series=2))
    later = list(instances(series=6, per_series=2, seed="later"))
    wanted: dict[str, Any] = {"collection": first[0].collection, "sample": "2", "seed": 5}
    async with BadArchive(first) as archive:
        choice = archive.choice(tmp_path)
        report = await bulkdl.mirror_async(**wanted, to=tmp_path / "m", archive=choice, settings=QUICK)
        held = checksums_on_disk(tmp_path / "m")
        assert (report.outcome, report.instances.fetched, len(held)) == (RunOutcome.COMPLETE, 4, 4)
        assert report.notes == ("a sample: 2 of 6 series, at most 2 of each collection, with the seed 5",)
        archive.made_up += later
        plan = await bulkdl.plan_async(**wanted, to=tmp_path / "m", archive=choice)
        assert (plan.series.selected, plan.series.complete) == (2, 2)
        again = await bulkdl.mirror_async(**wanted, to=tmp_path / "m", archive=choice, settings=QUICK)
        synced = await bulkdl.sync_async(tmp_path / "m", archive=choice, settings=QUICK)
    for each in again, synced:
        assert (each.outcome, each.instances.fetched, each.instances.reused) == (RunOutcome.COMPLETE, 0, 4)
    assert synced.changes == Changes()
    assert checksums_on_disk(tmp_path / "m") == held


async def test_the_smallest_series_come_first_up_to_the_limit(tmp_path: Path) -> None:
    counts = enumerate((3, 1, 2))
    made_up = [one for number, count in counts for one in instances(series=1, per_series=count, seed=str(number))]
    by_size = sorted({one.series_uid for one in made_up}, key=lambda uid: sum(o.series_uid == uid for o in made_up))
    size = len(made_up[0].content)
    async with BadArchive(made_up) as archive:
        report = await bulkdl.mirror_async(
            made_up[0].collection,
            order="smallest-first",
            limit_bytes=4 * size,
            to=tmp_path / "m",
            archive=archive.choice(tmp_path),
            settings=QUICK,
        )
        listed = [seen.query["SeriesInstanceUID"] for seen in archive.asked("getSOPInstanceUIDs")]
    assert (report.outcome, report.instances.fetched, listed) == (RunOutcome.COMPLETE, 3, by_size[:2])
    assert report.bytes_mirror == 3 * size


class UnsizedArchive(BadArchive):
    """It never says how large anything is."""

    def rows(self, of_series: Sequence[MadeUp]) -> list[dict[str, Any]]:
        return [{**row, "FileSize": None} for row in super().rows(of_series)]

    def right(self, seen: Seen) -> Action:
        return answer(b"[{}]", headers=JSON) if endpoint_of(seen) == "getSeriesSize" else super().right(seen)


async def test_a_limit_on_estimates_ends_the_download_between_series(tmp_path: Path) -> None:
    made_up = list(instances(series=4, per_series=1, rows=800))  # more than twice the estimate of 500 kB
    async with UnsizedArchive(made_up) as archive:
        report = await bulkdl.mirror_async(
            "MADE-UP", limit_bytes="2MB", to=tmp_path / "m", archive=archive.choice(tmp_path), settings=QUICK
        )
        again = await bulkdl.resume_async(tmp_path / "m", archive=archive.choice(tmp_path), settings=QUICK)
    for each, fetched in (report, 2), (again, 0):
        assert (each.outcome, each.series.selected, each.series.complete) == (RunOutcome.COMPLETE, 2, 2)
        assert each.instances.fetched == fetched
    assert "sizes of 4 of them, which are estimates" in report.notes[0]
    assert report.notes[1].startswith("the limit is reached, because series are larger than estimated: 2 series, ")
    assert bulkdl.status(tmp_path / "m").owed == 0

"""`sync`: a mirror follows its archive, keeps what the archive withdraws or replaces, and marks nothing on an error."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.model.events import Event, Noted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.reports.base import RunOutcome, SeriesCounts
from bulkdl.model.reports.run import Changes, RunReport
from bulkdl.model.selection import Selection
from bulkdl.runtime.disk import JOURNAL
from tests.support.bad_archive import JSON, QUICK, BadArchive, endpoint_of, no_fault
from tests.support.bucket_server import BUCKET, Stored, bucket_server, rows_of, uuid_of, write_index_of
from tests.support.dicom_files import instances, padded
from tests.support.faults import Action, Exchange, Seen, answer
from tests.support.idc_index import prior_row, write_index
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.syncing import mirrored, synced
from tests.support.waiting import until

MADE_UP = list(instances(series=6, per_series=2))
BY_SERIES = [MADE_UP[at : at + 2] for at in range(0, len(MADE_UP), 2)]
NEW = list(instances(series=1, per_series=3, seed="new"))


def changes_of(report: RunReport) -> dict[str, int]:
    assert report.changes is not None
    return {name: count for name in Changes.__slots__ if (count := getattr(report.changes, name))}


async def test_nothing_changes_where_nothing_changed(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        asked = len(archive.server.requests)
        report = await synced(archive, mirror, MADE_UP)
        assert [endpoint_of(seen) for seen in archive.server.requests[asked:]] == ["getSeries"]
    assert (report.outcome, changes_of(report)) == (RunOutcome.COMPLETE, {})
    assert report.instances.reused == len(MADE_UP)


async def test_new_series_and_new_instances_are_downloaded(tmp_path: Path) -> None:
    further = replace(NEW[0], series_uid=MADE_UP[0].series_uid, content=NEW[0].content)
    grown = replace(
        further, content=further.content.replace(NEW[0].series_uid.encode(), MADE_UP[0].series_uid.encode())
    )
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        report = await synced(archive, mirror, [*MADE_UP, *NEW[1:], grown])
    assert changes_of(report) == {"new_series": 1, "changed_series": 1}
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 3)
    assert checksums_on_disk(mirror).keys() >= checksums_of([*MADE_UP, *NEW[1:]]).keys()


async def test_an_instance_with_other_bytes_is_downloaded_and_the_old_one_is_kept(tmp_path: Path) -> None:
    now = [padded(MADE_UP[0]), *MADE_UP[1:]]
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        report = await synced(archive, mirror, now)
    assert changes_of(report) == {"changed_series": 1, "replaced_instances": 1}
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(now)
    (kept,) = [path for path in (mirror / ".bulkdl" / "superseded").rglob("*") if path.is_file()]
    assert kept.read_bytes() == MADE_UP[0].content


async def test_what_changed_before_another_mirror_run_is_found_by_the_next_sync(tmp_path: Path) -> None:
    """That run lists the Series anew, so their records are those of the archive now; their files are not."""
    now = [padded(MADE_UP[0]), *MADE_UP[1:3], *MADE_UP[4:]]
    async with BadArchive(MADE_UP) as archive:
        mirror, choice = await mirrored(archive, tmp_path), archive.choice(tmp_path)
        archive.made_up = now
        again = await bulkdl.mirror_async("MADE-UP", to=mirror, archive=choice, settings=QUICK)
        assert (again.instances.fetched, checksums_on_disk(mirror)) == (0, checksums_of(MADE_UP))
        await bulkdl.merge_async(mirror, to=tmp_path / "merged")
        mirror = tmp_path / "merged"
        plan = await bulkdl.sync_plan_async(mirror, archive=choice, settings=QUICK)
        assert plan.changes.changed_series == 2
        report = await synced(archive, mirror, now)
        assert changes_of(report) == {"changed_series": 2, "replaced_instances": 1, "withdrawn_instances": 1}
        assert journalled_checksums(mirror) == checksums_of(now)
        plan = await bulkdl.sync_plan_async(mirror, archive=choice, settings=QUICK)
        assert plan.changes.changed_series == 0
        asked = len(archive.server.requests)
        assert changes_of(await synced(archive, mirror, now)) == {}
        assert [endpoint_of(seen) for seen in archive.server.requests[asked:]] == ["getSeries"]


async def test_what_was_withdrawn_is_marked_and_kept(tmp_path: Path) -> None:
    now = [one for one in MADE_UP if one not in BY_SERIES[0] and one is not BY_SERIES[1][0]]
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        report = await synced(archive, mirror, now)
        assert changes_of(report) == {"changed_series": 1, "withdrawn_series": 1, "withdrawn_instances": 3}
        assert report.outcome is RunOutcome.COMPLETE
        series = len({one.series_uid for one in now})
        assert report.series == bulkdl.status(mirror).series == SeriesCounts(series, series)
        assert sum(each.series for each in bulkdl.status(mirror).collections) == series
        assert checksums_on_disk(mirror) == checksums_of(MADE_UP)
        assert journalled_checksums(mirror) == checksums_of(now)
        assert not (await bulkdl.verify_async(mirror)).problems
        again = await synced(archive, mirror, now)
        assert (again.outcome, changes_of(again)) == (RunOutcome.COMPLETE, {})
        back = await synced(archive, mirror, MADE_UP)
        assert archive.object_requests() == len(MADE_UP)
    assert back.outcome is RunOutcome.COMPLETE
    assert journalled_checksums(mirror) == checksums_of(MADE_UP)


def fails(seen: Seen) -> Action | None:
    return answer(b"", status=400) if endpoint_of(seen) == "getSeries" else None


def fails_by_uid(seen: Seen) -> Action | None:
    asks = endpoint_of(seen) == "getSeries" and "SeriesInstanceUID" in seen.query
    return answer(b"<html>", headers={"Content-Type": "text/html"}) if asks else None


def cut(seen: Seen) -> Action | None:
    return answer(b'[{"SeriesInstanceUID": "1.2', headers=JSON) if endpoint_of(seen) == "getSeries" else None


@pytest.mark.parametrize("fault", [fails, fails_by_uid, cut])
async def test_an_answer_that_is_broken_marks_nothing(fault: object, tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        archive.fault = fault  # type: ignore[assignment] # a function of this module
        try:
            report = await synced(archive, mirror, MADE_UP[2:])
        except bulkdl.BulkdlError:
            pass
        else:
            assert (report.outcome, changes_of(report)) == (RunOutcome.PARTIAL, {})
    assert journalled_checksums(mirror) == checksums_on_disk(mirror) == checksums_of(MADE_UP)


@pytest.mark.parametrize("left", [0, 2])
async def test_a_list_that_is_empty_or_shrank_by_half_marks_nothing_unless_max_delete_allows_it(
    left: int, tmp_path: Path
) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        report = await synced(archive, mirror, MADE_UP[:left])
        assert (report.outcome, changes_of(report)) == (RunOutcome.PARTIAL, {})
        assert journalled_checksums(mirror) == checksums_of(MADE_UP)
        if left:
            allowed = await synced(archive, mirror, MADE_UP[:left], max_delete=len(MADE_UP))
            assert allowed.outcome is RunOutcome.COMPLETE
            assert journalled_checksums(mirror) == checksums_of(MADE_UP[:left])
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)


async def test_a_series_that_is_under_another_collection_now_is_not_withdrawn(tmp_path: Path) -> None:
    moved = [replace(one, collection="OTHER") for one in BY_SERIES[0]]
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        report = await synced(archive, mirror, [*moved, *MADE_UP[2:]])
    assert (report.outcome, changes_of(report)) == (RunOutcome.COMPLETE, {})
    assert journalled_checksums(mirror) == checksums_of(MADE_UP)


async def test_selections_of_another_archive_are_not_repeated_which_is_said(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive, BadArchive(NEW) as other:
        mirror = await mirrored(archive, tmp_path)
        choice = other.choice(tmp_path)
        await bulkdl.mirror_async(series=NEW[0].series_uid, to=mirror, archive=choice, settings=QUICK)
        report = await bulkdl.sync_async(mirror, settings=QUICK)
        plan = await bulkdl.sync_plan_async(mirror, settings=QUICK)
    said = f"1 selection of {archive.address} is not repeated, because the last run was with {other.address}"
    assert report.notes == plan.notes == (said,)
    assert report.outcome is RunOutcome.COMPLETE


async def test_a_mirror_without_a_selection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable):
        await bulkdl.sync_async(tmp_path, settings=QUICK)


async def test_what_only_an_earlier_release_of_idc_has_is_withdrawn(tmp_path: Path) -> None:
    """A withdrawn Series is found by its UID, for a manifest that names it; that does not mean that it is there."""
    made_up = sorted(MADE_UP, key=lambda one: one.series_uid)
    rows, index, names = rows_of(made_up), tmp_path / "index", {"made_up": "MADE-UP"}
    gone = rows[-1]
    write_index(index, rows, names=names)
    async with bucket_server(made_up) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path)
        await bulkdl.mirror_async(everything=True, to=tmp_path / "m", archive=choice, settings=QUICK)
        same = {"SeriesInstanceUID": gone["SeriesInstanceUID"], "crdc_series_uuid": gone["crdc_series_uuid"]}
        write_index(index, rows[:-1], prior=[prior_row(1, 24, **same)])
        report = await bulkdl.sync_async(tmp_path / "m", archive=choice, settings=QUICK)
    assert changes_of(report) == {"withdrawn_series": 1, "withdrawn_instances": 2}
    assert checksums_on_disk(tmp_path / "m") == checksums_of(made_up)


async def test_nothing_is_withdrawn_while_the_index_cannot_be_downloaded(tmp_path: Path) -> None:
    made_up = sorted(MADE_UP, key=lambda one: one.series_uid)
    at_nbia = [one for one in made_up if one.series_uid != made_up[0].series_uid]
    index = write_index_of(tmp_path / "index", made_up)
    async with bucket_server(made_up) as server, BadArchive(at_nbia) as nbia:
        profiles = {"idc": f"idc+{server.url}", "nbia": nbia.address}
        choice = bulkdl.reach("tcia", profiles=profiles, idc_index=index, cache=tmp_path)
        await bulkdl.mirror_async(collection="MADE-UP", to=tmp_path / "m", archive=choice, settings=QUICK)
        without = replace(choice, idc_index="http://127.0.0.1:9/")
        settings = replace(QUICK, give_up_after_seconds=0.2)
        report = await bulkdl.sync_async(tmp_path / "m", archive=without, settings=settings)
    assert report.outcome is RunOutcome.PARTIAL
    assert changes_of(report).get("withdrawn_series", 0) == 0
    assert checksums_on_disk(tmp_path / "m") == checksums_of(made_up)


async def test_an_index_of_an_earlier_release_withdraws_nothing(tmp_path: Path) -> None:
    made_up = sorted(MADE_UP, key=lambda one: one.series_uid)
    index = write_index_of(tmp_path / "index", made_up)
    write_index(tmp_path / "old", rows_of(made_up)[1:], names={"made_up": "MADE-UP"}, version="24.1.0")
    async with bucket_server(made_up) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path)
        await bulkdl.mirror_async(everything=True, to=tmp_path / "m", archive=choice, settings=QUICK)
        old = replace(choice, idc_index=str(tmp_path / "old"))
        report = await bulkdl.sync_async(tmp_path / "m", archive=old, settings=QUICK)
    assert (report.outcome, changes_of(report)) == (RunOutcome.PARTIAL, {})
    (failure,) = report.failures
    assert "is of IDC release 24 (index 24.1.0), and the mirror was made with IDC release 25" in failure.message
    assert checksums_on_disk(tmp_path / "m") == checksums_of(made_up)


async def test_a_comparison_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    """The journal must not call a Series listed before its files were compared with the list."""
    now, reached = [padded(MADE_UP[0]), *MADE_UP[1:]], asyncio.Event()

    def silent(seen: Seen) -> Action | None:
        async def act(_: Exchange) -> None:
            reached.set()
            await asyncio.Event().wait()

        return act if endpoint_of(seen) == "getM5HashForImage" else None

    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        archive.fault = silent
        first = asyncio.create_task(synced(archive, mirror, now))
        await reached.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        archive.fault = no_fault
        report = await synced(archive, mirror, now)
    assert changes_of(report) == {"changed_series": 1, "replaced_instances": 1}
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(now)


@pytest.mark.parametrize("endpoint", ["getSOPInstanceUIDs", "getSingleImage"])
@pytest.mark.parametrize("late_answer", ["as before", "nothing"])
async def test_what_is_withdrawn_while_it_is_listed_or_downloaded_is_withdrawn(
    endpoint: str, late_answer: str, tmp_path: Path
) -> None:
    """The mirror owes it from an interrupted run, so `sync` begins with it before it knows that it is withdrawn."""
    gone, reached, withdrawn = BY_SERIES[0], asyncio.Event(), asyncio.Event()
    archive = BadArchive(MADE_UP)

    def concerns_gone(seen: Seen) -> bool:
        return endpoint_of(seen) == endpoint and seen.query["SeriesInstanceUID"] == gone[0].series_uid

    def silent(seen: Seen) -> Action | None:
        async def act(_: Exchange) -> None:
            reached.set()
            await asyncio.Event().wait()

        return act if concerns_gone(seen) else None

    def late(seen: Seen) -> Action | None:
        archive.made_up = MADE_UP if late_answer == "as before" else MADE_UP[2:]
        answer_of_then = archive.right(seen)
        archive.made_up = MADE_UP[2:]

        async def act(exchange: Exchange) -> None:
            reached.set()
            await withdrawn.wait()
            await answer_of_then(exchange)

        return act if concerns_gone(seen) else None

    def listen(event: Event) -> None:
        if isinstance(event, Noted) and "has withdrawn 1 series" in event.message:
            withdrawn.set()

    async with archive:
        stop = asyncio.Event()
        choice, mirror = archive.choice(tmp_path), tmp_path / "mirror"
        archive.fault = silent
        first = asyncio.create_task(
            bulkdl.mirror_async("MADE-UP", to=mirror, archive=choice, settings=QUICK, stop=stop)
        )
        await reached.wait()
        stop.set()
        await first
        reached.clear()
        archive.fault = late
        report = await synced(archive, mirror, MADE_UP[2:], sink=listen)
        archive.fault = no_fault
        again = await synced(archive, mirror, MADE_UP[2:])
    assert reached.is_set()
    assert changes_of(report)["withdrawn_series"] == 1
    for each in (report, again):
        assert (each.outcome, each.series, each.failures) == (RunOutcome.COMPLETE, SeriesCounts(5, 5), ())
    assert changes_of(again) == {}
    assert journalled_checksums(mirror) == checksums_of(MADE_UP[2:])
    assert not (await bulkdl.verify_async(mirror)).problems
    assert bulkdl.status(mirror).series == SeriesCounts(5, 5)


async def test_a_list_is_compared_with_the_count_that_the_archive_has_now(tmp_path: Path) -> None:
    """The mirror owes the list from an interrupted run, so `sync` asks for it before it knows the new count."""
    (first, _), reached, stop = BY_SERIES[0], asyncio.Event(), asyncio.Event()

    def lists_first(seen: Seen) -> bool:
        return endpoint_of(seen) == "getSOPInstanceUIDs" and seen.query["SeriesInstanceUID"] == first.series_uid

    def silent(seen: Seen) -> Action | None:
        async def act(_: Exchange) -> None:
            reached.set()
            await asyncio.Event().wait()

        return act if lists_first(seen) else None

    def is_known() -> bool:
        with Journal.open_readonly(tmp_path / "mirror" / JOURNAL) as journal:
            row = journal.find_series(SeriesUid(first.series_uid))
            return row is not None and row.series.image_count == 1

    async with BadArchive(MADE_UP) as archive:

        def late(seen: Seen) -> Action | None:
            async def act(exchange: Exchange) -> None:
                await until(is_known)
                await archive.right(seen)(exchange)

            return act if lists_first(seen) else None

        choice, mirror = archive.choice(tmp_path), tmp_path / "mirror"
        archive.fault = silent
        run = asyncio.create_task(bulkdl.mirror_async("MADE-UP", to=mirror, archive=choice, settings=QUICK, stop=stop))
        await reached.wait()
        stop.set()
        await run
        archive.fault = late
        report = await synced(archive, mirror, MADE_UP[1:])
    assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
    assert journalled_checksums(mirror) == checksums_of(MADE_UP[1:])


async def test_an_index_of_an_earlier_release_withdraws_nothing_a_second_time_either(tmp_path: Path) -> None:
    made_up = sorted(MADE_UP, key=lambda one: one.series_uid)
    index = write_index_of(tmp_path / "index", made_up)
    write_index(tmp_path / "old", rows_of(made_up)[1:], names={"made_up": "MADE-UP"}, version="24.1.0")
    async with bucket_server(made_up) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path)
        await bulkdl.mirror_async(everything=True, to=tmp_path / "m", archive=choice, settings=QUICK)
        old = replace(choice, idc_index=str(tmp_path / "old"))
        reports = [await bulkdl.sync_async(tmp_path / "m", archive=old, settings=QUICK) for _ in range(2)]
    assert [(report.outcome, changes_of(report)) for report in reports] == [(RunOutcome.PARTIAL, {})] * 2


async def test_a_later_release_of_an_index_adds_revises_and_withdraws_and_the_next_sync_asks_nothing(
    tmp_path: Path,
) -> None:
    made_up = sorted([*MADE_UP, *NEW], key=lambda one: one.series_uid)
    uids = dict.fromkeys(one.series_uid for one in made_up)
    gone, revised, new = [[one for one in made_up if one.series_uid == uid] for uid in uids][:3]
    now, rest = padded(revised[0]), [one for one in made_up if one not in gone and one not in revised]
    row = rows_of([now, *revised[1:]])[0] | {"crdc_series_uuid": uuid_of("revised")}
    async with bucket_server(made_up) as server:
        for one in (now, *revised[1:]):
            server.buckets[BUCKET][f"{uuid_of('revised')}/{uuid_of(one.content)}.dcm"] = Stored(one.content)
        first = write_index_of(tmp_path / "a", [one for one in made_up if one not in new])
        write_index(tmp_path / "b", [row, *rows_of(rest)], names={"made_up": "MADE-UP"}, version="26.0.0")
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=first, cache=tmp_path)
        await bulkdl.mirror_async("MADE-UP", to=tmp_path / "m", archive=choice, settings=QUICK)
        later = replace(choice, idc_index=str(tmp_path / "b"))
        report = await bulkdl.sync_async(tmp_path / "m", archive=later, settings=QUICK)
        again = await bulkdl.sync_async(tmp_path / "m", archive=later, settings=QUICK)
    series = {"new_series": 1, "changed_series": 1, "withdrawn_series": 1}
    assert report.outcome is RunOutcome.COMPLETE
    assert changes_of(report) == {**series, "replaced_instances": 1, "withdrawn_instances": len(gone)}
    assert (again.outcome, changes_of(again), again.requests) == (RunOutcome.COMPLETE, {}, 0)
    assert checksums_on_disk(tmp_path / "m") == checksums_of([*gone, now, *revised[1:], *rest])


async def test_a_withdrawn_series_of_several_selections_counts_once_and_is_not_listed_again(tmp_path: Path) -> None:
    gone = BY_SERIES[0][0]
    async with BadArchive(MADE_UP) as archive:
        mirror, choice = await mirrored(archive, tmp_path), archive.choice(tmp_path)
        for other, _ in BY_SERIES[1:3]:
            selection = Selection(series=(gone.series_uid, other.series_uid))
            await bulkdl.mirror_async(selection, to=mirror, archive=choice, settings=QUICK)
        report = await synced(archive, mirror, MADE_UP[2:])
        asked = len(archive.server.requests)
        again = [await synced(archive, mirror, MADE_UP[2:]) for _ in range(2)]
        endpoints = [endpoint_of(seen) for seen in archive.server.requests[asked:]]
    assert changes_of(report) == {"withdrawn_series": 1, "withdrawn_instances": 2}
    for each in (report, *again):
        assert [(failure.series, failure.error) for failure in each.failures] == [(gone.series_uid, "not-found")] * 2
        for failure in each.failures:
            assert failure.message.startswith(
                "the archive does not have this series any more; the mirror keeps its files"
            )
    assert set(endpoints) == {"getSeries"}
    assert (
        len(endpoints) == 2 * 7
    )  # one for the collection, one for each UID, and whether one is that of a Study, twice

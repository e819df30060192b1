"""`--with-annotations`: what refers to a selection, and what it refers to, from NBIA, from IDC, and from the files."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import duckdb
import pytest

import bulkdl
from bulkdl.archive.base import FoundSeries, SeriesQuestion
from bulkdl.errors import ServerFailed
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import RunReport
from bulkdl.model.selection import Selection
from bulkdl.resolve.annotations import AnnotationClosure
from bulkdl.runtime.disk import JOURNAL
from tests.support.annotation_files import annotation
from tests.support.bad_archive import QUICK
from tests.support.bucket_server import BUCKET, bucket_server, series_uuid
from tests.support.dicom_files import MadeUp, instances
from tests.support.idc_index import series_row, write_index
from tests.support.memory_archive import MemoryArchive
from tests.support.mirrors import checksums_of, checksums_on_disk

IMAGES: Final = list(instances(series=4, per_series=2))
ONE, OTHER, ELSEWHERE = IMAGES[0], IMAGES[2], IMAGES[4]  # the first two have a Patient and a Study in common
STRUCTURES = annotation("RTSTRUCT", ONE, series=[ONE.series_uid])
PLAN = annotation("RTPLAN", ONE, structures=STRUCTURES)
STATE = annotation("PR", ONE, series=[OTHER.series_uid])
DANGLING = annotation("PR", ELSEWHERE, series=["1.9.9"], name="dangling")
MODALITIES: Final[dict[str, str]] = {
    STRUCTURES.series_uid: "RTSTRUCT",
    PLAN.series_uid: "RTPLAN",
    STATE.series_uid: "PR",
    DANGLING.series_uid: "PR",
}
ALL: Final = [*IMAGES, STRUCTURES, PLAN, STATE, DANGLING]
DENIED: Final = (STRUCTURES.series_uid, PLAN.series_uid)  # where a test denies licences
CONNECTED: Final = [*IMAGES[:2], STRUCTURES, PLAN]

Opened: TypeAlias = Callable[[Path], AbstractAsyncContextManager[str | ArchiveChoice]]


@asynccontextmanager
async def served(folder: Path, kind: str) -> AsyncIterator[str]:
    for one in ALL:
        path = folder / "files" / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
    async with bulkdl.serve_async(folder / "files", cache=folder / "served") as running:
        yield f"{kind}+{running.url}"


def nbia_v4(folder: Path) -> AbstractAsyncContextManager[str]:
    return served(folder, "nbia")


def nbia_v1(folder: Path) -> AbstractAsyncContextManager[str]:
    return served(folder, "nbia-v1")


@asynccontextmanager
async def idc(folder: Path) -> AsyncIterator[ArchiveChoice]:
    rows = [row_of(number, uid) for number, uid in enumerate(dict.fromkeys(one.series_uid for one in ALL))]
    index = write_index(folder / "index", rows, names={"made_up": "MADE-UP"})
    async with bucket_server(ALL) as server:
        yield bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=folder / "cache")


def row_of(number: int, series_uid: str) -> dict[str, Any]:
    of_series = [one for one in ALL if one.series_uid == series_uid]
    values = {
        "collection_id": "made_up",
        "PatientID": of_series[0].patient_id,
        "StudyInstanceUID": of_series[0].study_uid,
        "SeriesInstanceUID": series_uid,
        "Modality": MODALITIES.get(series_uid, "CT"),
        "instanceCount": len(of_series),
        "series_size_MB": sum(len(one.content) for one in of_series) / 1e6,
        "aws_bucket": BUCKET,
        "crdc_series_uuid": series_uuid(series_uid),
    }
    return series_row(number, **values)


async def mirrored(archive: Any, to: Path, *wanted: MadeUp) -> RunReport:
    series = [one.series_uid for one in wanted]
    return await bulkdl.mirror_async(series=series, with_annotations=True, to=to, archive=archive, settings=QUICK)


@pytest.mark.parametrize("archive", [nbia_v4, nbia_v1, idc])
async def test_annotations_come_with_their_images_and_images_with_them(tmp_path: Path, archive: Opened) -> None:
    async with archive(tmp_path) as choice:
        for wanted in ONE, STRUCTURES, PLAN:
            report = await mirrored(choice, tmp_path / wanted.sop_uid, wanted)
            assert (report.outcome, report.failures, report.series.selected) == (RunOutcome.COMPLETE, (), 3)
            assert checksums_on_disk(tmp_path / wanted.sop_uid) == checksums_of(CONNECTED)
        wanted, mirror = PLAN, tmp_path / PLAN.sop_uid
        held = checksums_on_disk(mirror)
        again = await mirrored(choice, mirror, wanted)
        synced = await bulkdl.sync_async(mirror, archive=choice, settings=QUICK)
        for each in again, synced:
            assert (each.outcome, each.series.selected, each.instances.fetched) == (RunOutcome.COMPLETE, 3, 0)
        assert synced.changes is not None
        assert (synced.changes.withdrawn_series, synced.changes.new_series) == (0, 0)
        assert (await bulkdl.sync_plan_async(mirror, archive=choice)).changes.withdrawn_series == 0
        plan = await bulkdl.plan_async(series=wanted.series_uid, with_annotations=True, to=mirror, archive=choice)
        assert (plan.series.selected, plan.series.complete) == (3, 3)
    assert checksums_on_disk(mirror) == held


async def test_a_plan_has_what_the_archive_tells_and_says_what_it_does_not(tmp_path: Path) -> None:
    async with nbia_v4(tmp_path) as choice:
        plan = await bulkdl.plan_async(series=ONE.series_uid, with_annotations=True, archive=choice)
        assert sorted(plan.series_uids) == sorted({one.series_uid for one in CONNECTED})
        assert plan.notes == ("with annotations: 2 more series (1 RTPLAN, 1 RTSTRUCT)",)
        silent = choice.replace("nbia+", "nbia-v1+")
        plan = await bulkdl.plan_async(series=ONE.series_uid, with_annotations=True, archive=silent)
        assert plan.series_uids == (ONE.series_uid,)
        (note,) = plan.notes
        assert note.startswith("the archive does not state what 3 annotation series of these patients refer to; mirror")


async def test_the_tables_beside_the_index_tell_before_a_byte_is_downloaded(tmp_path: Path) -> None:
    async with idc(tmp_path) as choice:
        with duckdb.connect() as database:
            question = f"COPY (SELECT '{STRUCTURES.series_uid}' AS SeriesInstanceUID, '{ONE.series_uid}' AS referenced"
            database.execute(f"{question}_SeriesInstanceUID) TO '{tmp_path / 'index' / 'rtstruct_index.parquet'}'")
        for wanted in ONE, STRUCTURES:
            plan = await bulkdl.plan_async(series=wanted.series_uid, with_annotations=True, archive=choice)
            assert sorted(plan.series_uids) == sorted([ONE.series_uid, STRUCTURES.series_uid])


async def test_a_reference_to_what_does_not_exist_is_named_and_is_not_a_failure(tmp_path: Path) -> None:
    async with nbia_v1(tmp_path) as choice:
        report = await mirrored(choice, tmp_path / "m", DANGLING)
    note = f"series {DANGLING.series_uid} refers to series 1.9.9, which the archive does not have"
    assert (report.outcome, report.failures, report.notes) == (RunOutcome.COMPLETE, (), (note,))


@pytest.mark.parametrize("by", ["mirror", "sync"])
async def test_nothing_is_requested_of_an_annotation_under_a_denied_licence(tmp_path: Path, by: str) -> None:
    uids = dict.fromkeys(one.series_uid for one in ALL)
    rows = [row_of(n, uid) | ({"license_short_name": "NC"} if uid in DENIED else {}) for n, uid in enumerate(uids)]
    write_index(tmp_path / "all", rows, names={"made_up": "MADE-UP"})
    images = [row for row in rows if row["Modality"] == "CT"]
    before = rows if by == "mirror" else images
    write_index(tmp_path / "index", before, names={"made_up": "MADE-UP"})
    wanted = Selection(series=(ONE.series_uid,), with_annotations=True)
    async with bucket_server(ALL) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=str(tmp_path / "index"), cache=tmp_path / "cache")
        if by == "mirror":
            wanted = replace(wanted, denied_licenses=("NC",))
        await bulkdl.mirror_async(wanted, to=tmp_path / "m", archive=choice, settings=QUICK)
        if by == "sync":
            choice = replace(choice, idc_index=str(tmp_path / "all"))
            report = await bulkdl.sync_async(tmp_path / "m", archive=choice, settings=QUICK, deny_license=("N*",))
            assert report.outcome is RunOutcome.COMPLETE
        requested = [seen.path + seen.query.get("prefix", "") for seen in server.server.requests]
    assert any(series_uuid(ONE.series_uid) in text for text in requested)
    assert not any(series_uuid(uid) in text for uid in DENIED for text in requested)
    assert checksums_on_disk(tmp_path / "m") == checksums_of(IMAGES[:2])


async def test_a_series_that_is_referred_to_under_a_denied_licence_is_left_out(tmp_path: Path) -> None:
    rows = [row_of(n, uid) for n, uid in enumerate(dict.fromkeys(one.series_uid for one in ALL))]
    for row in rows:
        row["license_short_name"] = "NC" if row["Modality"] == "CT" else "BY"
    index = write_index(tmp_path / "index", rows, names={"made_up": "MADE-UP"})
    wanted = Selection(series=(PLAN.series_uid,), with_annotations=True, denied_licenses=("NC",))
    async with bucket_server(ALL) as server:
        choice = bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=tmp_path / "cache")
        await bulkdl.mirror_async(wanted, to=tmp_path / "m", archive=choice, settings=QUICK)
    assert checksums_on_disk(tmp_path / "m") == checksums_of([STRUCTURES, PLAN])


async def test_a_run_that_was_stopped_before_it_knew_all_is_completed_by_resume(tmp_path: Path) -> None:
    async with nbia_v1(tmp_path) as choice:
        await mirrored(choice, tmp_path / "m", PLAN)
        for one in (*IMAGES[:2], STRUCTURES):
            (path,) = (tmp_path / "m").rglob(f"{one.sop_uid}.dcm")
            path.unlink()
        with Journal.create_or_open(tmp_path / "m" / JOURNAL) as journal:
            for one in (ONE, STRUCTURES):
                journal.forget_series(one.series_uid)
        with closing(sqlite3.connect(tmp_path / "m" / JOURNAL)) as database:
            database.execute("UPDATE selection SET resolved_run_id = NULL")
            database.commit()
        report = await bulkdl.resume_async(tmp_path / "m", archive=choice, settings=QUICK)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "m") == checksums_of(CONNECTED)


class FailingArchive(MemoryArchive):
    async def find(self, selection: Selection) -> Any:
        assert selection.patients == ("P",)
        yield FoundSeries(failed=((SeriesQuestion({}), ServerFailed("no answer")),))


async def test_a_question_that_fails_is_not_an_answer() -> None:
    closure = AnnotationClosure(FailingArchive({}))
    closure.take([Series(series_uid=SeriesUid("1.2"), collection="A", patient_id="P", modality="CT")])
    assert [batch async for batch in closure.extend()] == []
    assert [str(error) for error in closure.failures] == ["no answer"]


async def test_many_patients_of_a_collection_are_one_question() -> None:
    asked: list[Selection] = []

    class Asked(MemoryArchive):
        async def find(self, selection: Selection) -> Any:
            asked.append(selection)
            yield FoundSeries()

    closure = AnnotationClosure(Asked({}))
    many = [
        Series(series_uid=SeriesUid(f"1.{n}"), collection="A", patient_id=f"P{n}", modality="CT") for n in range(30)
    ]
    few = [Series(series_uid=SeriesUid(f"2.{n}"), collection="B", patient_id=f"P{n}", modality="CT") for n in range(2)]
    closure.take([*many, *few])
    assert [batch async for batch in closure.extend()] == []
    assert [(each.collections, each.patients) for each in asked] == [(("A",), ()), (("B",), ("P0", "P1"))]

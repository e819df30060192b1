"""`mirror` where a question of the resolver cannot be answered: its neighbours come all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import bulkdl
from bulkdl.model.reports import RunOutcome
from bulkdl.runtime.disk import JOURNAL
from tests.support.bad_archive import BadArchive, endpoint_of, no_fault
from tests.support.bucket_server import BUCKET, bucket_server, rows_of, series_uuid
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer
from tests.support.idc_index import write_index
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
    assert {path.name for path in (tmp_path / "mirror").iterdir()} == {".bulkdl", MADE_UP[0].collection}
    with closing(sqlite3.connect(tmp_path / "mirror" / JOURNAL)) as journal:
        assert journal.execute("SELECT catalogue FROM v_runs").fetchall() == [("IDC release 25 (index 25.0.5)",)]
        places = {place for (place,) in journal.execute("SELECT location FROM v_series")}
    assert places == {f"{BUCKET}/{series_uuid(one.series_uid)}" for one in MADE_UP}

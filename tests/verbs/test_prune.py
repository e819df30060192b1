"""`prune` removes what was withdrawn or replaced, and nothing else."""

from __future__ import annotations

import asyncio
import csv
import sqlite3
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import bulkdl
from bulkdl.errors import Interrupted, JournalUnreadable, MirrorUnwritable
from bulkdl.model.reports.base import SeriesCounts
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances, padded
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.syncing import mirrored, synced

MADE_UP = list(instances(series=6, per_series=2))


async def test_prune_removes_what_was_withdrawn_and_replaced(tmp_path: Path) -> None:
    now = [padded(MADE_UP[2]), *MADE_UP[3:]]
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, now)
        with pytest.raises(MirrorUnwritable, match=r"2 withdrawn and 1 superseded files, .*, more than --max-delete 2"):
            await bulkdl.prune_async(mirror, max_delete=2)
        assert len(checksums_on_disk(mirror)) == len(MADE_UP)
        assert await bulkdl.prune_async(mirror, max_delete=3) == 3
        assert await bulkdl.prune_async(mirror) == 0
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(now)
    assert not (mirror / ".bulkdl" / "superseded").exists()
    verified = await bulkdl.verify_async(mirror)
    assert not verified.problems
    assert verified.series == SeriesCounts(5, 5)


async def test_prune_ends_what_was_interrupted_between_a_file_and_the_journal(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
    (first, *_) = sorted(set(checksums_on_disk(mirror)) - set(journalled_checksums(mirror)))
    (mirror / first).unlink()
    assert await bulkdl.prune_async(mirror) == 2
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(MADE_UP[2:])


async def test_prune_that_is_stopped_removes_nothing_more_and_the_next_one_ends_it(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
    with pytest.raises(Interrupted, match=r"0 of 2 files were removed"):
        await bulkdl.prune_async(mirror, stop=stop)
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)
    assert [each.verb for each in bulkdl.status(mirror).unfinished] == ["prune"]
    assert (bulkdl.log(mirror).runs[-1].outcome, bulkdl.log(mirror).runs[-1].changes) == (
        "interrupted",
        {"removed_files": 0},
    )
    assert await bulkdl.prune_async(mirror) == 2
    assert bulkdl.status(mirror).unfinished == ()


async def test_prune_removes_nothing_behind_a_link(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
    (first, *_) = sorted(set(checksums_on_disk(mirror)) - set(journalled_checksums(mirror)))
    folder = (mirror / first).parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MirrorUnwritable, match="behind a link"):
        await bulkdl.prune_async(mirror)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


async def test_prune_refuses_a_folder_that_is_not_a_mirror(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable):
        await bulkdl.prune_async(tmp_path)
    assert not any(path.exists() for path in (tmp_path / ".bulkdl",))


def lists_of(mirror: Path, page: Path) -> dict[str, Any]:
    """What each list of a mirror says of its Series: their number, or their UIDs with the files held and withdrawn."""
    table = StringIO(newline="")
    bulkdl.export(mirror, table, table="series")
    rows = list(csv.DictReader(StringIO(table.getvalue())))
    with closing(sqlite3.connect(f"{(mirror / '.bulkdl' / 'journal.sqlite').as_uri()}?mode=ro", uri=True)) as database:
        collections = database.execute("SELECT series, held, withdrawn FROM v_collections").fetchall()
        series = database.execute("SELECT series_uid, held, withdrawn FROM v_series ORDER BY 1").fetchall()
    report, status = bulkdl.report(mirror, to=page, quick=True), bulkdl.status(mirror)
    return {
        "export": sorted((row["series_uid"], int(row["held"]), int(row["withdrawn"])) for row in rows),
        "v_series": series,
        "v_collections": collections,
        "status": (status.series.selected, sum(each.series for each in status.collections)),
        "report": {name: sum(group.series for group in groups) for name, groups in report.groups.items()},
        "cite": sum(each.series for each in bulkdl.cite(mirror).data_sets),
    }


async def test_lists_mark_a_withdrawn_series_and_leave_it_out_once_it_is_pruned(tmp_path: Path) -> None:
    uids = sorted({one.series_uid for one in MADE_UP})
    gone, kept = MADE_UP[0].series_uid, 5
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
        marked = await asyncio.to_thread(lists_of, mirror, tmp_path / "page.html")
        await bulkdl.prune_async(mirror)
        pruned = await asyncio.to_thread(lists_of, mirror, tmp_path / "page.html")
        relaid = await bulkdl.relayout_async(mirror, layout="flat")
        back = await synced(archive, mirror, MADE_UP)
    rows = [(uid, 0, 2) if uid == gone else (uid, 2, 0) for uid in uids]
    assert marked["export"] == marked["v_series"] == rows
    assert pruned["export"] == pruned["v_series"] == [row for row in rows if row[0] != gone]
    assert (marked["v_collections"], pruned["v_collections"]) == ([(kept, 10, 2)], [(kept, 10, 0)])
    for found in (marked, pruned):
        assert (found["status"], found["cite"]) == ((kept, kept), kept)
        assert set(found["report"].values()) == {kept}
    assert relaid.series == kept
    assert back.changes is not None
    assert (back.changes.new_series, back.instances.fetched) == (1, 2)

"""Layouts that count the files of a Series: the names are those of the NBIA Data Retriever, whatever came before."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import LayoutError
from bulkdl.journal.journal import Journal
from bulkdl.journal.moves import FileMove, SeriesMove
from bulkdl.model.events import Event, Noted
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.layout import FORMER_LAYOUTS, parse_layout
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import MadeUp, instances
from tests.support.layouts import assert_holds, mirror_of
from tests.support.mirrors import checksums_on_disk
from tests.support.syncing import synced

CLASSIC = "nbia-classic"


def numbered(*numbers: int) -> list[MadeUp]:
    """Instances of one Series with these Instance Numbers."""
    made_up = instances(series=1, per_series=len(numbers))
    return [
        replace(one, content=one.content.replace(b" \0\x13\0IS\2\0001 ", b" \0\x13\0IS\2\0%d " % number))
        for one, number in zip(made_up, numbers, strict=True)
    ]


MADE_UP = numbered(4, 2, 3, 1)


def names(mirror: Path) -> dict[str, str]:
    """The file name of each instance, by its SOP Instance UID."""
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        (row,) = journal.series_in_order(limit=2)
        return {each.sop_uid: each.name for each in journal.placed_files(row.id)}


def counted(*order: MadeUp) -> dict[str, str]:
    return {one.sop_uid: f"1-{at}.dcm" for at, one in enumerate(order, start=1)}


async def test_a_download_ends_with_names_that_are_counted_in_the_whole_series(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    command = "import json, os, sys; print(*os.listdir(json.load(sys.stdin)['folder']), file=open(sys.argv[1], 'w'))"
    async with BadArchive(MADE_UP) as archive:
        choice, mirror = archive.choice(tmp_path), tmp_path / "m"
        await bulkdl.mirror_async(
            series=MADE_UP[0].series_uid,
            to=mirror,
            layout=CLASSIC,
            archive=choice,
            settings=QUICK,
            on_series=[sys.executable, "-c", command, str(kept)],
        )
        assert names(mirror) == counted(MADE_UP[3], MADE_UP[1], MADE_UP[2], MADE_UP[0])
        assert sorted(kept.read_text().split()) == [f"1-{at}.dcm" for at in (1, 2, 3, 4)]
        before = checksums_on_disk(mirror)
        (mirror / next(iter(before))).unlink()
        again = await bulkdl.resume_async(mirror, archive=choice, settings=QUICK)
        assert again.instances.fetched == 1
    assert checksums_on_disk(mirror) == before
    assert_holds(mirror, MADE_UP)


async def test_what_comes_later_is_counted_in(tmp_path: Path) -> None:
    rest = [*MADE_UP[:3]]
    async with BadArchive(rest) as archive:
        choice, mirror = archive.choice(tmp_path), tmp_path / "m"
        wanted = {"series": MADE_UP[0].series_uid, "to": mirror, "archive": choice, "settings": QUICK}
        await bulkdl.mirror_async(**wanted, layout=CLASSIC)  # type: ignore[arg-type]
        assert names(mirror) == counted(MADE_UP[1], MADE_UP[2], MADE_UP[0])
        report = await synced(archive, mirror, MADE_UP)
        assert (report.outcome, report.instances.fetched) == ("complete", 1)
    assert names(mirror) == counted(MADE_UP[3], MADE_UP[1], MADE_UP[2], MADE_UP[0])
    assert_holds(mirror, MADE_UP)


async def test_a_merge_and_a_relayout_count_in_the_whole_series(tmp_path: Path) -> None:
    one = await mirror_of(MADE_UP[:2], tmp_path / "a", CLASSIC)
    other = await mirror_of(MADE_UP[2:], tmp_path / "b")
    assert names(one) == counted(MADE_UP[1], MADE_UP[0])
    whole = counted(MADE_UP[3], MADE_UP[1], MADE_UP[2], MADE_UP[0])
    await bulkdl.merge_async(one, other, to=tmp_path / "both")
    assert names(tmp_path / "both") == whole
    assert_holds(tmp_path / "both", MADE_UP)
    await bulkdl.relayout_async(tmp_path / "both", layout="bulkdl")
    await bulkdl.relayout_async(tmp_path / "both", layout="nbia-descriptive")
    assert names(tmp_path / "both") == whole
    assert_holds(tmp_path / "both", MADE_UP)


@pytest.mark.parametrize("renamed", [0, 1, 3])
async def test_a_crash_between_two_names_is_finished_by_the_next_run(tmp_path: Path, renamed: int) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path, CLASSIC)
    before = names(mirror)
    async with open_mirror(mirror, "test") as opened:
        (row,) = await opened.journal(Journal.series_in_order, limit=2)
        folder = row.folder or ""
        files = [FileMove(uid, name, f"{at}~moving.dcm") for at, (uid, name) in enumerate(before.items())]
        await opened.journal(Journal.begin_moves, [SeriesMove(row.id, folder, folder, tuple(files))])
        for each in files[:renamed]:
            (mirror / folder / str(each.before)).rename(mirror / folder / str(each.after))
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.resume_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
    assert (report.outcome, report.instances.fetched) == ("complete", 0)
    assert names(mirror) == before
    assert_holds(mirror, MADE_UP)


async def test_a_mirror_of_an_earlier_version_keeps_its_names_until_they_are_changed(tmp_path: Path) -> None:
    heard: list[Event] = []
    mirror = await mirror_of(MADE_UP, tmp_path, FORMER_LAYOUTS[CLASSIC])
    before = checksums_on_disk(mirror)
    async with BadArchive(MADE_UP) as archive:
        choice = archive.choice(tmp_path)
        wanted = {"series": MADE_UP[0].series_uid, "to": mirror, "archive": choice, "settings": QUICK}
        report = await bulkdl.mirror_async(**wanted, layout=CLASSIC, sink=heard.append)  # type: ignore[arg-type]
        assert (report.outcome, report.instances.fetched) == ("complete", 0)
        assert checksums_on_disk(mirror) == before
        (note,) = [each.message for each in heard if isinstance(each, Noted) and "earlier" in each.message]
        assert note.endswith(f"run bulkdl relayout {mirror} --layout {CLASSIC}")
        await bulkdl.relayout_async(mirror, layout=CLASSIC)
        assert names(mirror) == counted(MADE_UP[3], MADE_UP[1], MADE_UP[2], MADE_UP[0])
        report = await bulkdl.mirror_async(**wanted, layout=CLASSIC)  # type: ignore[arg-type]
        assert (report.outcome, report.instances.fetched) == ("complete", 0)
    assert_holds(mirror, MADE_UP)


def test_a_counted_name_stands_by_itself() -> None:
    with pytest.raises(LayoutError, match="a file name by itself"):
        parse_layout("{PatientID}/x-{nbia_image}.dcm")

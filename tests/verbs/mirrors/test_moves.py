"""Moves that a crash interrupted, Series that exchange their places, and files that were never recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalError, MirrorUnwritable
from bulkdl.journal.journal import Journal
from bulkdl.journal.moves import SeriesMove
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import InstanceKey
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.layout import parse_layout
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import MadeUp, instances
from tests.support.journals import NOW, begin
from tests.support.layouts import NUMBERED, assert_holds, mirror_of, numbered_instances

MADE_UP = numbered_instances()


def journal_of(mirror: Path) -> Journal:
    return Journal.create_or_open(mirror / JOURNAL)


async def interrupted(folder: Path, moved_files: int) -> Path:
    """A mirror whose relayout to `flat` was killed when so many files of the first Series were renamed."""
    mirror = await mirror_of(MADE_UP, folder)
    with journal_of(mirror) as journal:
        journal.begin_relayout(parse_layout("flat").template)
        row = journal.series_in_order(limit=1)[0]
        move = SeriesMove(row.id, str(row.folder), row.series.series_uid)
        journal.begin_moves([move])
    (mirror / move.after).mkdir()
    for path in sorted((mirror / move.before).iterdir())[:moved_files]:
        path.rename(mirror / move.after / path.name)
    if moved_files == 4:
        (mirror / move.before).rmdir()
    return mirror


async def relayout(mirror: Path) -> None:
    await bulkdl.relayout_async(mirror)


async def adopt(mirror: Path) -> None:
    await bulkdl.adopt_async(mirror.parent / "source", to=mirror, archive="nbia")


async def prune(mirror: Path) -> None:
    await bulkdl.prune_async(mirror)


@pytest.mark.parametrize("verb", [relayout, adopt, prune])
@pytest.mark.parametrize("moved_files", [0, 2, 4])
async def test_the_next_run_of_any_verb_finishes_what_a_crash_left(
    tmp_path: Path, verb: Callable[[Path], object], moved_files: int
) -> None:
    mirror = await interrupted(tmp_path, moved_files)
    await verb(mirror)  # type: ignore[misc]
    assert_holds(mirror, MADE_UP)
    folders = {path.name for path in mirror.iterdir() if path.is_dir()} - {".bulkdl", "_collections"}
    assert folders == {one.series_uid for one in MADE_UP}
    assert (await bulkdl.verify_async(mirror)).problems == ()


async def test_a_verb_that_only_reads_says_what_to_do(tmp_path: Path) -> None:
    mirror = await interrupted(tmp_path, 2)
    with pytest.raises(JournalError, match="to finish it, run bulkdl relayout"):
        await bulkdl.verify_async(mirror)


async def test_a_file_that_came_into_the_way_since_is_named_and_kept(tmp_path: Path) -> None:
    mirror = await interrupted(tmp_path, 2)
    first = min(one.series_uid for one in MADE_UP)
    left = sorted(one.sop_uid for one in MADE_UP if one.series_uid == first)[3]
    foreign = mirror / first / f"{left}.dcm"
    foreign.write_text("mine")
    with pytest.raises(MirrorUnwritable, match=r"is in the way of .* move it away"):
        await relayout(mirror)
    assert foreign.read_text() == "mine"
    foreign.unlink()
    await relayout(mirror)
    assert_holds(mirror, MADE_UP)


def described(mirror: Path, descriptions: Sequence[str]) -> None:
    """Give the Series of a mirror these descriptions, by UID."""
    with journal_of(mirror) as journal:
        for row, text in zip(journal.series_in_order(limit=9), descriptions, strict=True):
            journal.complete_series(replace(row.series, description=text, protocol=text[::-1]), "unused", now=NOW)


async def test_series_exchange_their_folders(tmp_path: Path) -> None:
    made_up = list(instances(series=3, per_series=2))
    mirror = await mirror_of(made_up, tmp_path)
    described(mirror, ["ab", "ba", "xx"])
    await bulkdl.relayout_async(mirror, layout="{SeriesDescription}")
    before = {folder: sorted(path.name for path in (mirror / folder).iterdir()) for folder in ("ab", "ba", "xx")}
    report = await bulkdl.relayout_async(mirror, layout="{ProtocolName}")
    assert (report.outcome, report.series_moved, report.series_failed) == ("complete", 2, 0)
    after = {folder: sorted(path.name for path in (mirror / folder).iterdir()) for folder in ("ab", "ba", "xx")}
    assert after == {"ab": before["ba"], "ba": before["ab"], "xx": before["xx"]}
    assert_holds(mirror, made_up)


@pytest.mark.parametrize(("before", "after"), [(NUMBERED, "bulkdl"), ("nbia-classic", NUMBERED), ("bulkdl", "idc")])
async def test_files_that_a_crash_left_unrecorded_are_not_downloaded_again(
    tmp_path: Path, before: str, after: str
) -> None:
    made_up: list[MadeUp] = MADE_UP
    mirror = await mirror_of(made_up, tmp_path, before)
    with journal_of(mirror) as journal:
        keys = [InstanceKey(SeriesUid(one.series_uid), SopInstanceUid(one.sop_uid)) for one in made_up[:6]]
        journal.owe(begin(journal), keys)
    await bulkdl.relayout_async(mirror, layout=after)
    async with BadArchive(made_up) as archive:
        report = await bulkdl.resume_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
    assert (report.outcome, report.instances.fetched) == ("complete", 0)
    assert_holds(mirror, made_up)
